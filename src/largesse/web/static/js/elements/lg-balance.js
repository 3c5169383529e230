/**
 * The coins of whoever is signed in, as they are now.
 *
 *     <lg-balance data-coins="240"><span class="coins">... <span class="coins-number">240</span></span></lg-balance>
 *
 * New coins count up and lift once. A change is `lg-balance` {coins, before}.
 */

import {formatCoins} from "../core/money.js";
import {know, watch} from "../core/wallet.js";

const COUNT_MILLISECONDS = 200;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Balance extends HTMLElement {
  #unwatch;
  #frame;

  connectedCallback() {
    if (this.dataset.coins) know(Number(this.dataset.coins));
    this.#unwatch = watch((coins, before) => this.#show(coins, before));
  }

  disconnectedCallback() {
    this.#unwatch?.();
    cancelAnimationFrame(this.#frame);
  }

  #show(coins, before) {
    this.dataset.coins = coins;
    if (before === undefined) return this.#write(coins);
    this.dispatchEvent(new CustomEvent("lg-balance", {bubbles: true, composed: true, detail: {coins, before}}));
    if (coins > before) this.#lift();
    return calm.matches || coins < before ? this.#write(coins) : this.#count(before, coins, performance.now());
  }

  #count(from, to, since) {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame((now) => {
      const part = Math.min(1, (now - since) / COUNT_MILLISECONDS);
      this.#write(Math.round(from + (to - from) * (1 - (1 - part) ** 3)));
      if (part < 1) this.#count(from, to, since);
    });
  }

  #write(coins) {
    cancelAnimationFrame(this.#frame);
    const number = this.querySelector(".coins-number");
    if (number) number.textContent = formatCoins(coins);
  }

  #lift() {
    this.classList.remove("arrived");
    void this.offsetWidth; // Begin the animation anew.
    this.classList.add("arrived");
  }
}

customElements.define("lg-balance", Balance);
