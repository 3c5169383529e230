/**
 * A whole number with a button for less and one for more, and a few numbers to take at once.
 *
 *     <lg-quantity data-choices="1 5 10"><input class="input" type="number" name="quantity"
 *       min="1" max="99" value="1" aria-label="Quantity"></lg-quantity>
 *
 * The field inside is what counts: it sends `input` and `change`, and forms send it. Property `value`.
 */

import {formatNumber, t} from "../core/i18n.js";
import {icon} from "../core/icons.js";

class Quantity extends HTMLElement {
  #choices = [];

  connectedCallback() {
    if (this.querySelector("button")) return;
    const field = this.field;
    const line = document.createElement("div");
    line.className = "quantity";
    field.before(line);
    this.less = this.#button(t("Less"), "minus", () => this.#step(-1));
    this.more = this.#button(t("More"), "plus", () => this.#step(1));
    line.append(this.less, field, this.more);
    const choices = (this.dataset.choices ?? "").split(/\s+/).filter(Boolean).map(Number);
    if (choices.length) line.after(this.#row(choices));
    field.addEventListener("input", () => this.#mark());
    this.#mark();
  }

  get field() {
    return this.querySelector("input");
  }

  /** The number, within its bounds; what is no number is the least. */
  get value() {
    const typed = Math.trunc(Number(this.field.value));
    return Math.min(this.#max, Math.max(this.#min, Number.isFinite(typed) ? typed : this.#min));
  }

  set value(number) {
    this.field.value = number;
    this.#mark();
  }

  get #min() {
    return Number(this.field.min || 1);
  }

  get #max() {
    return Number(this.field.max || Number.MAX_SAFE_INTEGER);
  }

  #step(by) {
    this.#take(this.value + by);
  }

  #take(number) {
    this.value = Math.min(this.#max, Math.max(this.#min, number));
    for (const name of ["input", "change"]) this.field.dispatchEvent(new Event(name, {bubbles: true, composed: true}));
  }

  #button(label, name, run) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-icon";
    button.setAttribute("aria-label", label);
    button.append(icon(name));
    button.addEventListener("click", run);
    return button;
  }

  #row(choices) {
    const row = document.createElement("div");
    row.className = "segments";
    for (const number of choices) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "segment number";
      button.value = number;
      button.textContent = `× ${formatNumber(number)}`;
      button.addEventListener("click", () => this.#take(number));
      row.append(button);
      this.#choices.push(button);
    }
    return row;
  }

  #mark() {
    const value = this.value;
    for (const button of this.#choices) button.setAttribute("aria-pressed", Number(button.value) === value);
    // Not `disabled`, which would drop the focus of whoever pressed it last.
    this.less.setAttribute("aria-disabled", value <= this.#min);
    this.more.setAttribute("aria-disabled", value >= this.#max);
  }
}

customElements.define("lg-quantity", Quantity);
