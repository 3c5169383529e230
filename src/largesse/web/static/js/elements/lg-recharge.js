/**
 * The recharge form says at once what an exact amount costs; without it the server does, one press later.
 *
 *     <lg-recharge data-per="17500" data-amount="18749" data-minimum="50" data-maximum="50000" data-currency="USD">
 *       <form>...</form>
 *     </lg-recharge>
 *
 * So many coins (`data-per`) cost so much (`data-amount`), rounded down to the minor unit as the server does.
 */

import {t} from "../core/i18n.js";
import {formatPrice} from "../core/money.js";

class Recharge extends HTMLElement {
  connectedCallback() {
    const field = this.querySelector("#exact");
    if (!field) return;
    field.addEventListener("input", () => this.#typed(field));
    field.addEventListener("click", () => this.#choose());
    this.#show(field);
  }

  #typed(field) {
    this.#choose();
    field.removeAttribute("aria-invalid");
    this.querySelector("#exact-error")?.remove();
    this.#show(field);
  }

  #choose() {
    this.querySelector("#package-exact").checked = true;
  }

  #show(field) {
    const {per, amount, minimum, maximum, currency} = this.dataset;
    const digits = field.value.replace(/[\s,._'’]/g, "");
    const coins = /^\d{1,8}$/.test(digits) ? Number(digits) : 0;
    const isSold = coins >= Number(minimum) && coins <= Number(maximum);
    const cost = isSold ? Number((BigInt(coins) * BigInt(amount)) / BigInt(per)) : 0;
    const price = isSold ? formatPrice({amount: cost, currency}) : "";
    this.querySelector(".exact-costs").textContent = price;
    this.querySelector(".pay-exact").textContent = isSold ? t("Pay %(price)s", {price}) : t("Pay");
    this.querySelector('[name="shown"]').value = isSold ? `${coins}:${cost}:${currency}` : "";
  }
}

customElements.define("lg-recharge", Recharge);
