/**
 * <lg-gift-tray>: the gifts of the moment, two at a time on a phone and three on a desk.
 *
 * For the eye only; what it says is read out in batches from the gifts' own words.
 */

import {html, render} from "../../vendor/lit/lit-html.js";
import {t} from "../core/i18n.js";
import {avatar, name} from "../room/parts.js";
import {Trays, countOf} from "../room/trays.js";

const wide = matchMedia("(width >= 64rem)");

class GiftTray extends HTMLElement {
  #trays = new Trays(2);
  #lines = new Map();
  #timer;

  connectedCallback() {
    this.setAttribute("aria-hidden", "true");
    wide.addEventListener("change", this.#settle);
  }

  disconnectedCallback() {
    wide.removeEventListener("change", this.#settle);
    clearTimeout(this.#timer);
  }

  press(item, quantity, sender) {
    this.#trays.press(item, quantity, sender, Date.now());
    this.#settle();
  }

  takeBack(item, quantity) {
    this.#trays.takeBack(item, quantity);
    this.#settle();
  }

  gift(gift) {
    this.#trays.gift(gift, Date.now());
    this.#settle();
  }

  keepOnly(groupIds) {
    this.#trays.keepOnly(groupIds, Date.now());
    this.#settle();
  }

  #settle = () => {
    clearTimeout(this.#timer);
    this.#trays.places = wide.matches ? 3 : 2;
    const now = Date.now();
    const next = this.#trays.settle(now);
    if (next !== null) this.#timer = setTimeout(this.#settle, Math.max(next - now, 50));
    this.#draw();
  };

  #draw() {
    const {shown} = this.#trays;
    const ids = new Set(shown.map((line) => line.id));
    for (const [id, place] of this.#lines) {
      if (!ids.has(id) && this.#lines.delete(id)) place.remove();
    }
    for (const line of shown) {
      const place = this.#lines.get(line.id) ?? document.createElement("div");
      this.#lines.set(line.id, place);
      if (!place.isConnected) this.append(place);
      this.#line(line, place);
    }
  }

  #line(line, place) {
    const count = countOf(line);
    place.className = `tray tray-${line.item.tier}`;
    place.classList.toggle("is-mine", line.isMine);
    place.classList.toggle("is-sending", line.sent > line.confirmed);
    place.classList.toggle("is-over", line.isOver);
    const isNew = place.dataset.count !== String(count);
    place.dataset.count = count;
    render(
      html`${avatar(line.sender)}
        <span class="tray-words">
          <span class="tray-name">${line.isMine ? t("You") : name(line.sender.nickname)}</span>
          <span class="tray-gift">${line.item.name}</span>
        </span>
        <img class="tray-art" src=${line.item.art} alt="" width="44" height="44">
        <span class="tray-count">×${count}</span>`,
      place,
    );
    // The stylesheet's animation, begun anew for each count.
    if (isNew) place.querySelector(".tray-count").getAnimations().forEach((each) => (each.cancel(), each.play()));
  }
}

customElements.define("lg-gift-tray", GiftTray);
