/**
 * <lg-like-button>: likes, gathered for a moment and sent together.
 *
 * Tells of them by `lg-like` {count}; `total` is what the room counts, to which presses that it has
 * not heard of yet are added.
 */

import {LitElement, html} from "../../vendor/lit/lit.js";
import {formatNumber, locale, t, tn} from "../core/i18n.js";
import {ignoreRepeats} from "../room/dialogs.js";
import {icon} from "../room/parts.js";

const GATHER_MILLISECONDS = 400;
const LIKES_AT_ONCE = 15;

export class LikeButton extends LitElement {
  static properties = {total: {type: Number}, disabled: {type: Boolean}};

  #pressed = 0;
  #timer;

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    this.total ??= 0;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  #press(event) {
    if (this.disabled || this.#pressed >= LIKES_AT_ONCE) return;
    this.#pressed += 1;
    const {left, top, width} = event.currentTarget.getBoundingClientRect();
    this.#tell("lg-liked", {x: left + width / 2, y: top});
    this.#timer ??= setTimeout(() => this.#send(), GATHER_MILLISECONDS);
    this.requestUpdate();
  }

  #send() {
    this.#timer = undefined;
    const count = this.#pressed;
    this.#pressed = 0;
    this.total += count;
    this.#tell("lg-like", {count});
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {bubbles: true, composed: true, detail}));
  }

  render() {
    const total = this.total + this.#pressed;
    return html`<button class="room-button like-button" type="button" aria-label=${t("Like")} title=${t("Like")} ?disabled=${this.disabled} @click=${this.#press} @keydown=${ignoreRepeats}>
      ${icon("heart")}
      ${total ? html`<span class="room-button-number" aria-hidden="true">${short(total)}</span>` : ""}
      <span class="visually-hidden">${tn("%(n)s like", "%(n)s likes", total)}</span>
    </button>`;
  }
}

/** A number that fits on a button: `12.3K`. */
function short(number) {
  return number < 10_000 ? formatNumber(number) : compact.format(number);
}

const compact = new Intl.NumberFormat(locale, {notation: "compact", maximumFractionDigits: 1});

customElements.define("lg-like-button", LikeButton);
