/**
 * An amount of money: `<lg-price amount="749" currency="USD">$7.49</lg-price>`. The server writes it
 * first; whoever changes the attributes (whole numbers of the minor unit) has it written anew.
 */

import {formatPrice} from "../core/money.js";

class PriceText extends HTMLElement {
  static observedAttributes = ["amount", "currency"];

  attributeChangedCallback(name, before) {
    if (before === null && this.textContent) return; // As the server wrote it.
    const amount = Number(this.getAttribute("amount"));
    const currency = this.getAttribute("currency");
    if (currency && Number.isSafeInteger(amount)) this.textContent = formatPrice({amount, currency});
  }
}

customElements.define("lg-price", PriceText);
