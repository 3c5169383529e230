/**
 * What the coins of whoever is signed in are worth in money, true while they change.
 *
 *     <lg-worth data-per="350" data-amount="374" data-currency="USD">$7.49</lg-worth>
 *
 * So many coins (`data-per`) cost so much (`data-amount`, in the minor unit).
 */

import {coinsWorth, formatPrice} from "../core/money.js";
import {watch} from "../core/wallet.js";

class Worth extends HTMLElement {
  #unwatch;

  connectedCallback() {
    const {per, amount, currency} = this.dataset;
    const rate = {coins: Number(per), amount: Number(amount), currency};
    this.#unwatch = watch((coins) => (this.textContent = formatPrice(coinsWorth(coins, rate))));
  }

  disconnectedCallback() {
    this.#unwatch?.();
  }
}

customElements.define("lg-worth", Worth);
