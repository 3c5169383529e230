/**
 * <lg-recharge-sheet>: buy coins without leaving the room.
 *
 * The checkout opens in a tab of its own; here the order is watched until its coins are in the
 * wallet. Closing the sheet changes nothing of that. Tells by `lg-recharged` that the viewer goes
 * back to the gift he had chosen; nothing is sent for him.
 */

import {html, nothing, render} from "../../vendor/lit/lit-html.js";
import {alert, status} from "../core/announce.js";
import {get, post} from "../core/api.js";
import {t, tn} from "../core/i18n.js";
import {newKey} from "../core/keys.js";
import {formatCoins, formatPrice} from "../core/money.js";
import {closeDialog, closeOutside} from "../room/dialogs.js";
import {coins, coinsText, icon, worthText} from "../room/parts.js";

const ASK_EVERY = 2_000;
const EXACT = "exact";
const ENDS = new Set(["credited", "failed", "refunded", "disputed"]);

class RechargeSheet extends HTMLElement {
  #missing = 0;
  #prices;
  #choice;
  #amount = 0;
  #provider;
  #order = null;
  #isOrdering = false;
  #problem = "";
  #isOpen = false;
  #key = null;
  #timer;

  /** {country, providers: [{id, name}], rate: {coins, amount, currency}}; set by the room. */
  facts = {country: "US", providers: []};
  /** Coins in the wallet; set by the room. */
  balance = 0;

  connectedCallback() {
    document.addEventListener("visibilitychange", this.ask);
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.ask);
    clearTimeout(this.#timer);
  }

  /** `missing` coins are needed; with 0 the viewer only wants more. */
  async open(missing) {
    this.#isOpen = true;
    this.#provider ??= this.facts.providers[0]?.id;
    if (this.#order && ENDS.has(this.#order.status)) this.#order = null;
    this.#missing = missing;
    this.#problem = "";
    this.#draw();
    this.querySelector("dialog").showModal();
    if (!this.#prices) await this.#loadPrices();
    this.#preselect();
    this.#draw();
  }

  async #loadPrices() {
    try {
      this.#prices = await get(`/v1/packages?channel=web&country=${this.facts.country}`);
    } catch (refusal) {
      this.#problem = refusal.message;
    }
  }

  /** The cheapest that is enough, never more; nothing, where all that is sold at once is too little. */
  #preselect() {
    if (!this.#prices) return;
    const {exact, packages} = this.#prices;
    this.#amount = exact ? Math.min(Math.max(this.#missing, exact.minimum_coins), exact.maximum_coins) : 0;
    const enough = packages.find((each) => each.coins + each.bonus_coins >= this.#missing);
    const isExactEnough = exact && this.#missing > 0 && this.#amount >= this.#missing;
    const isExactLess = isExactEnough && !(enough?.price.amount <= this.#exactPrice(exact).amount);
    this.#choose(isExactLess ? EXACT : enough?.id);
  }

  #isTooMuch() {
    const {exact, packages} = this.#prices;
    return this.#missing > Math.max(exact?.maximum_coins ?? 0, ...packages.map((each) => each.coins + each.bonus_coins));
  }

  #choose(choice) {
    this.#choice = choice;
    this.#problem = "";
    this.#key = null;
    this.#draw();
  }

  #typed(event) {
    this.#amount = Math.trunc(Number(event.target.value)) || 0;
    this.#choose(EXACT);
  }

  /** What is chosen: {id, coins, price}, or null where the exact amount is out of bounds. */
  #chosen() {
    const {exact, packages} = this.#prices;
    if (this.#choice !== EXACT) return packages.find((each) => each.id === this.#choice);
    if (!exact || this.#amount < exact.minimum_coins || this.#amount > exact.maximum_coins) return null;
    return {id: `exact:${this.#amount}`, coins: this.#amount, bonus_coins: 0, price: this.#exactPrice(exact)};
  }

  // The seller rounds an exact amount down to the minor unit.
  #exactPrice({coins: of, price: {amount, currency}}) {
    return {amount: Number((BigInt(this.#amount) * BigInt(amount)) / BigInt(of)), currency};
  }

  async #pay(event) {
    event.preventDefault();
    const chosen = this.#chosen();
    if (!chosen || this.#isOrdering) return;
    // Opened now, because a browser trusts only what follows a press at once.
    const tab = window.open("about:blank", "_blank");
    if (tab) tab.opener = null;
    this.#isOrdering = true;
    this.#problem = "";
    this.#key ??= newKey();
    this.#draw();
    try {
      const wish = {package_id: chosen.id, provider: this.#provider, channel: "web"};
      this.#order = await post("/v1/orders", wish, {key: this.#key});
      tab?.location.replace(this.#order.checkout_url);
      this.#key = null;
    } catch (refusal) {
      tab?.close();
      this.#problem = refusal.message;
    }
    this.#isOrdering = false;
    this.#draw();
    this.ask();
  }

  /** Ask now how far the order is: the wallet has just risen, or somebody looks again. */
  ask = async () => {
    clearTimeout(this.#timer);
    const id = this.#order?.id;
    if (!id || ENDS.has(this.#order.status)) return;
    try {
      const order = await get(`/v1/orders/${id}`);
      if (this.#order?.id !== id || ENDS.has(this.#order.status)) return;
      this.#order = order;
      this.#draw();
      this.#tellEnd();
    } catch {
      // Asked again below; the order goes on without us.
    }
    if (this.#order && !ENDS.has(this.#order.status)) this.#timer = setTimeout(this.ask, ASK_EVERY);
  };

  #tellEnd() {
    const {status: found, coins: bought, bonus_coins: bonus} = this.#order;
    if (found === "credited") {
      status(tn("%(n)s coin has arrived.", "%(n)s coins have arrived.", bought + bonus));
      this.querySelector(".recharge-done .button-primary")?.focus();
    } else if (found === "failed") {
      alert(t("The payment did not go through. Nothing was charged."));
    }
  }

  #again() {
    this.#order = null;
    this.#preselect();
  }

  #closed() {
    this.#isOpen = false;
    this.#draw();
    const isBack = this.#order?.status === "credited";
    this.dispatchEvent(new CustomEvent("lg-recharged", {bubbles: true, composed: true, detail: {isBack}}));
  }

  #draw() {
    render(this.#isOpen ? this.#view() : nothing, this, {host: this});
    // Whatever was pressed meanwhile, what is checked is what is chosen.
    for (const radio of this.querySelectorAll("[name=package]")) radio.checked = radio.value === this.#choice;
    for (const radio of this.querySelectorAll("[name=provider]")) radio.checked = radio.value === this.#provider;
    const field = this.querySelector(".recharge-amount");
    if (field && field !== document.activeElement) field.value = this.#amount;
  }

  #view() {
    return html`<dialog class="sheet recharge" aria-labelledby="recharge-title" @close=${this.#closed} @click=${closeOutside}>
      <header class="sheet-header"><h2 id="recharge-title">${t("Recharge")}</h2>
        <button class="button button-icon button-quiet" type="button" aria-label=${t("Close")} @click=${closeDialog}>${icon("close")}</button></header>
      ${this.#order ? this.#progress() : this.#form()}
    </dialog>`;
  }

  #form() {
    if (!this.#prices) return html`<div class="sheet-body"><p class="soft">${this.#problem || t("One moment ...")}</p></div>`;
    const chosen = this.#chosen();
    const pay = chosen ? t("Pay %(price)s", {price: formatPrice(chosen.price)}) : t("Pay");
    return html`<form class="sheet-body recharge-form" id="recharge-form" @submit=${this.#pay}>
        ${this.#missing ? html`<p class="recharge-need">${tn("You need %(n)s more coin (%(price)s)", "You need %(n)s more coins (%(price)s)", this.#missing, {price: worthText(this.#missing, this.facts.rate)})}${this.#isTooMuch() ? html`<span class="soft small">${t("That is more than one recharge buys.")}</span>` : nothing}</p>` : nothing}
        <fieldset class="choices choices-list recharge-packages"><legend class="visually-hidden">${t("How many coins")}</legend>
          ${this.#prices.exact ? this.#exact(this.#prices.exact) : nothing}
          ${this.#prices.packages.map((each) => this.#package(each))}
        </fieldset>
        <fieldset class="recharge-methods"><legend class="field-label">${t("How to pay")}</legend>
          <div class="choices choices-list">${this.facts.providers.map((each) => this.#method(each))}</div></fieldset>
      </form>
      <footer class="sheet-footer">
        ${this.#problem ? html`<p class="field-error" role="alert">${icon("bad")}<span>${this.#problem}</span></p>` : nothing}
        <button class="button button-primary button-block button-large" type="submit" form="recharge-form" ?disabled=${!chosen} aria-busy=${this.#isOrdering ? "true" : nothing}>${pay}</button>
        <p class="soft small center">${t("Tax is included. The payment page opens in a new tab.")}</p>
      </footer>`;
  }

  #exact(exact) {
    const price = this.#amount >= exact.minimum_coins && this.#amount <= exact.maximum_coins ? formatPrice(this.#exactPrice(exact)) : "";
    const bounds = t("%(from)s to %(to)s", {from: formatCoins(exact.minimum_coins), to: coinsText(exact.maximum_coins)});
    return html`<div class="choice recharge-exact">
      <label class="recharge-exactly"><input type="radio" name="package" id="recharge-exact" value=${EXACT} @change=${() => this.#choose(EXACT)}>
        <span class="choice-text"><span class="strong">${t("Exactly")}</span><span class="soft small">${bounds}</span></span></label>
      <input class="input recharge-amount" type="number" inputmode="numeric" step="1" min=${exact.minimum_coins} max=${exact.maximum_coins} aria-label=${t("Coins")} @input=${this.#typed}>
      <span class="strong price recharge-price">${price}</span>
    </div>`;
  }

  #package({id, coins: bought, bonus_coins: bonus, price}) {
    const each = formatPrice({...price, amount: Math.round((100 * price.amount) / bought)});
    return html`<label class="choice"><input type="radio" name="package" value=${id} @change=${() => this.#choose(id)}>
      <span class="choice-text"><span class="strong">${coins(bought)}</span>${bonus ? html`<span class="small">${t("and %(coins)s on top", {coins: coinsText(bonus)})}</span>` : nothing}<span class="soft small">${t("%(price)s per 100", {price: each})}</span></span>
      <span class="strong price recharge-price">${formatPrice(price)}</span></label>`;
  }

  #method({id, name}) {
    return html`<label class="choice"><input type="radio" name="provider" value=${id} @change=${() => (this.#provider = id)}>${icon("card")}<span class="choice-text">${name}</span></label>`;
  }

  #progress() {
    const {status: found, price, coins: bought, bonus_coins: bonus, checkout_url: checkout} = this.#order;
    if (found === "credited") {
      return html`<div class="sheet-body recharge-done">${icon("good", "l")}
        <p class="recharge-big">${tn("%(n)s coin has arrived.", "%(n)s coins have arrived.", bought + bonus)}</p>
        <p class="soft">${t("You have %(coins)s now, about %(price)s.", {coins: coinsText(this.balance), price: worthText(this.balance, this.facts.rate)})}</p>
        <button class="button button-primary button-block" type="button" @click=${closeDialog}>${t("Back to the gift")}</button></div>`;
    }
    if (ENDS.has(found)) {
      return html`<div class="sheet-body recharge-done is-bad">${icon("bad", "l")}
        <p class="recharge-big">${t("The payment did not go through. Nothing was charged.")}</p>
        <button class="button button-primary button-block" type="button" @click=${this.#again}>${t("Try again")}</button></div>`;
    }
    const told = found === "paid" ? t("Paid. Your coins are on their way.") : t("Waiting for your payment of %(price)s", {price: formatPrice(price)});
    return html`<div class="sheet-body recharge-done" aria-busy="true"><span class="recharge-waits" aria-hidden="true"></span>
      <p class="recharge-big" role="status">${told}</p>
      <p class="soft">${t("It goes on in the other tab. This page notices by itself.")}</p>
      <a class="button button-block" href=${checkout} target="_blank" rel="noopener">${icon("external")}${t("Open the payment page")}</a>
      <button class="button button-quiet button-block" type="button" @click=${this.#again}>${t("Choose something else")}</button></div>`;
  }
}

customElements.define("lg-recharge-sheet", RechargeSheet);
