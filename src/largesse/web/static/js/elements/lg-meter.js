/**
 * How much of a bound is used: `<lg-meter class="meter"><p class="meter-words">...</p>
 * <progress max="3000" value="1200" aria-label="..."></progress></lg-meter>`.
 *
 * `set(value, max, text)` goes on; from 80 of 100 the class is `is-near`, at the bound `is-full`.
 */

const NEAR = 0.8;

class Meter extends HTMLElement {
  connectedCallback() {
    this.#mark();
  }

  set(value, max = this.bar.max, text = undefined) {
    this.bar.max = max;
    this.bar.value = Math.min(value, max);
    const words = this.querySelector("[data-words]");
    if (words && text !== undefined) words.textContent = text;
    this.#mark();
  }

  get bar() {
    return this.querySelector("progress");
  }

  #mark() {
    const part = this.bar.position;
    this.classList.toggle("is-near", part >= NEAR && part < 1);
    this.classList.toggle("is-full", part >= 1);
  }
}

customElements.define("lg-meter", Meter);
