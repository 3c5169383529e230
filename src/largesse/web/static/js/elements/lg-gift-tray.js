/**
 * <lg-gift-tray>: the gifts of the moment, two at a time on a phone and three on a desk.
 *
 * For the eye only; what it says is read out in batches from the gifts' own words.
 */

import {LitElement, html} from "../../vendor/lit/lit.js";
import {keyed} from "../../vendor/lit/directives/keyed.js";
import {repeat} from "../../vendor/lit/directives/repeat.js";
import {t} from "../core/i18n.js";
import {avatar, name} from "../room/parts.js";
import {Trays, countOf} from "../room/trays.js";

const wide = matchMedia("(width >= 64rem)");

export class GiftTray extends LitElement {
  #trays = new Trays(2);
  #timer;

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.setAttribute("aria-hidden", "true");
    wide.addEventListener("change", this.#settle);
    this.#settle();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
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
    this.requestUpdate();
  };

  render() {
    return repeat(this.#trays.shown, (line) => line.id, (line) => this.#line(line));
  }

  #line(line) {
    const count = countOf(line);
    const kind = [
      line.isMine && "is-mine",
      line.isOver && "is-over",
      line.sent > line.confirmed && "is-sending",
    ].filter(Boolean);
    return html`<div class="tray tray-${line.item.tier} ${kind.join(" ")}">
      ${avatar(line.sender)}
      <span class="tray-words">
        <span class="tray-name">${line.isMine ? t("You") : name(line.sender.nickname)}</span>
        <span class="tray-gift">${line.item.name}</span>
      </span>
      <img class="tray-art" src=${line.item.art} alt="" width="44" height="44">
      ${keyed(count, html`<span class="tray-count">×${count}</span>`)}
    </div>`;
  }
}

customElements.define("lg-gift-tray", GiftTray);
