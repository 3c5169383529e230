/**
 * An order that is on its way: shows the part for its state as soon as the state changes.
 *
 *     <lg-order order="<id>" status="pending">
 *       <div data-when="created pending paid">...</div> <div data-when="credited" hidden>...</div>
 *     </lg-order>
 *
 * The server shows the right part first. A change of the wallet asks at once, a clock asks besides.
 * What arrives is read out from the part's `data-say`; `lg-order` {status, order} tells the page.
 */

import {alert, status as say} from "../core/announce.js";
import {get} from "../core/api.js";
import {watch} from "../core/wallet.js";

const PAUSES_SECONDS = [1, 1, 1, 2, 2, 3, 5];
const SETTLED = new Set(["credited", "failed", "refunded", "disputed"]);
const UNHAPPY = new Set(["failed", "disputed"]);

class Order extends HTMLElement {
  #timer;
  #unwatch;
  #asked = 0;

  connectedCallback() {
    if (SETTLED.has(this.status)) return;
    this.#unwatch = watch(() => this.#ask());
    this.#later();
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
    this.#unwatch?.();
  }

  get status() {
    return this.getAttribute("status");
  }

  async #ask() {
    clearTimeout(this.#timer);
    try {
      const order = await get(`/v1/orders/${encodeURIComponent(this.getAttribute("order"))}`);
      if (order.status !== this.status) this.#show(order);
    } catch {
      // Asked again below; the page is right as it stands.
    }
    if (this.isConnected && !SETTLED.has(this.status)) this.#later();
    else this.disconnectedCallback();
  }

  #later() {
    clearTimeout(this.#timer);
    const seconds = PAUSES_SECONDS[this.#asked] ?? PAUSES_SECONDS.at(-1);
    this.#asked += 1;
    this.#timer = setTimeout(() => this.#ask(), seconds * 1000);
  }

  #show(order) {
    this.setAttribute("status", order.status);
    for (const part of this.querySelectorAll("[data-when]")) {
      part.hidden = !part.dataset.when.split(/\s+/).includes(order.status);
      if (!part.hidden && part.dataset.say) (UNHAPPY.has(order.status) ? alert : say)(part.dataset.say);
    }
    const detail = {status: order.status, order};
    this.dispatchEvent(new CustomEvent("lg-order", {bubbles: true, composed: true, detail}));
  }
}

customElements.define("lg-order", Order);
