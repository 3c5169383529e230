/**
 * <lg-like-button>: likes, gathered for a moment and sent together.
 *
 * Tells of them by `lg-like` {count}; `total` is what the room counts, to which presses that it has
 * not heard of yet are added.
 */

import {html, render} from "../../vendor/lit/lit-html.js";
import {formatNumber, locale, t, tn} from "../core/i18n.js";
import {ignoreRepeats} from "../room/dialogs.js";
import {icon} from "../room/parts.js";

const GATHER_MILLISECONDS = 400;
const LIKES_AT_ONCE = 15;

class LikeButton extends HTMLElement {
  #total = 0;
  #pressed = 0;
  #timer;

  connectedCallback() {
    this.#draw();
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  /** All likes of the room, as the room counts them. */
  set total(total) {
    if (total === this.#total) return;
    this.#total = total;
    this.#draw();
  }

  get total() {
    return this.#total;
  }

  /** Nobody can like, or nobody any more. */
  set disabled(isDisabled) {
    this.toggleAttribute("disabled", isDisabled);
    this.#draw();
  }

  #press(event) {
    if (this.#pressed >= LIKES_AT_ONCE) return;
    this.#pressed += 1;
    const {left, top, width} = event.currentTarget.getBoundingClientRect();
    this.#tell("lg-liked", {x: left + width / 2, y: top});
    this.#timer ??= setTimeout(() => this.#send(), GATHER_MILLISECONDS);
    this.#draw();
  }

  #send() {
    this.#timer = undefined;
    const count = this.#pressed;
    this.#pressed = 0;
    this.#total += count;
    this.#tell("lg-like", {count});
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {bubbles: true, composed: true, detail}));
  }

  #draw() {
    const total = this.#total + this.#pressed;
    render(html`<button class="room-button like-button" type="button" aria-label=${t("Like")} title=${t("Like")} ?disabled=${this.hasAttribute("disabled")} @click=${this.#press} @keydown=${ignoreRepeats}>
      ${icon("heart")}
      ${total ? html`<span class="room-button-number" aria-hidden="true">${short(total)}</span>` : ""}
      <span class="visually-hidden">${tn("%(n)s like", "%(n)s likes", total)}</span>
    </button>`, this, {host: this});
  }
}

/** A number that fits on a button: `12.3K`. */
function short(number) {
  return number < 10_000 ? formatNumber(number) : compact.format(number);
}

const compact = new Intl.NumberFormat(locale, {notation: "compact", maximumFractionDigits: 1});

customElements.define("lg-like-button", LikeButton);
