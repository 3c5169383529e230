/**
 * <lg-gift-panel>: what one can send, what it costs in coins and in money, and what is in the wallet.
 *
 * Select, then Send: nothing is sent by a first press, and nothing ever by itself. Tells of a wish by
 * `lg-gift` {item, quantity}, and of too few coins by `lg-recharge` {missing}. On a phone it is a
 * modal sheet over the lower part of the room, on a desk a panel beside it.
 */

import {html, nothing, render} from "../../vendor/lit/lit-html.js";
import {t, tn} from "../core/i18n.js";
import {coinsWorth, formatCoins} from "../core/money.js";
import {closeDialog, closeOutside, ignoreRepeats} from "../room/dialogs.js";
import {coins, coinsText, icon, words, worthText} from "../room/parts.js";

const QUANTITIES = [1, 5, 10];
/** Two presses closer together than this are one that slipped, in ms. */
const PRESS_APART = 90;
/** Coins and money of more letters than this stand in two lines. */
const LINE_LETTERS = 7;
const CONFIRMED = "largesse-confirmed";
const wide = matchMedia("(width >= 64rem)");

class GiftPanel extends HTMLElement {
  #items = [];
  #rate;
  #balance = 0;
  #leaving = 0;
  #selected = null;
  #quantity = 1;
  #isOther = false;
  #tab = 0;
  #isConfirming = false;
  #problem = "";
  #combo = null;
  #comboTimer;
  #pressedAt = 0;
  #confirmFrom;
  #quantityMax;

  /** `confirmFrom` is the price from which a gift is asked about, once in a session. */
  begin({items, rate, confirmFrom, quantityMax}) {
    this.#items = items;
    this.#rate = rate;
    this.#confirmFrom = confirmFrom;
    this.#quantityMax = quantityMax;
    this.#draw();
  }

  connectedCallback() {
    wide.addEventListener("change", this.#reopen);
  }

  disconnectedCallback() {
    wide.removeEventListener("change", this.#reopen);
    clearTimeout(this.#comboTimer);
  }

  /** What is in the wallet, and how much of it is on its way out. */
  know(balance, leaving) {
    this.#balance = balance;
    this.#leaving = leaving;
    this.#draw();
  }

  get isOpen() {
    return this.#dialog.open;
  }

  get #dialog() {
    return this.querySelector("dialog");
  }

  get #available() {
    return this.#balance - this.#leaving;
  }

  get #total() {
    return this.#selected ? this.#selected.coins * this.#quantity : 0;
  }

  get #missing() {
    return Math.max(0, this.#total - this.#available);
  }

  open() {
    if (this.isOpen) return;
    if (wide.matches) this.#dialog.show();
    else this.#dialog.showModal();
    this.querySelector('[role="radio"][tabindex="0"]')?.focus({preventScroll: true});
    this.#tell("lg-panel", {isOpen: true});
  }

  close() {
    this.#dialog.close();
  }

  /** Back from a recharge: what was chosen is still chosen, and the viewer presses Send. */
  resume() {
    this.querySelector(".panel-send")?.focus();
  }

  /** A gift was not sent, for the reason that the refusal tells. */
  refused(refusal) {
    this.#problem = refusal.code === "insufficient_coins" ? "" : refusal.detail;
    this.#endCombo();
  }

  #reopen = () => {
    if (!this.isOpen) return;
    this.close();
    this.open();
  };

  #closed() {
    this.#isConfirming = false;
    this.#draw();
    this.#tell("lg-panel", {isOpen: false});
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {bubbles: true, composed: true, detail}));
  }

  #select(item) {
    if (this.#selected !== item) this.#endCombo();
    this.#selected = item;
    this.#isConfirming = false;
    this.#problem = "";
    this.#drawChoice();
  }

  #choose(quantity) {
    this.#quantity = quantity;
    this.#isOther = false;
    this.#isConfirming = false;
    this.#drawChoice();
  }

  #drawChoice() {
    this.#draw();
    // The footer has grown with the choice, and must not hide it.
    this.querySelector(".gift-tile.is-selected")?.scrollIntoView({block: "nearest"});
  }

  #chooseOther() {
    this.#isOther = true;
    this.#draw();
    this.querySelector(".panel-number").select();
  }

  #other(event) {
    const quantity = Math.trunc(Number(event.target.value));
    this.#quantity = Math.min(Math.max(quantity || 1, 1), this.#quantityMax);
    this.#isConfirming = false;
    this.#draw();
  }

  #send() {
    const now = Date.now();
    if (!this.#selected || this.#missing || now - this.#pressedAt < PRESS_APART) return;
    this.#pressedAt = now;
    if (!this.#asks()) return this.#sendNow();
    this.#isConfirming = true;
    this.#draw();
    this.querySelector(".panel-confirm .button-primary").focus();
  }

  /** Whether this must be confirmed: it is dear, and dearer than what was confirmed before. */
  #asks() {
    const isDear = coinsWorth(this.#total, this.#rate).amount >= this.#confirmFrom.amount;
    return isDear && this.#total > Number(sessionStorage.getItem(CONFIRMED) ?? 0);
  }

  #confirm() {
    sessionStorage.setItem(CONFIRMED, this.#total);
    this.#isConfirming = false;
    this.#pressedAt = Date.now();
    this.#sendNow();
    this.resume();
  }

  #sendNow() {
    const item = this.#selected;
    const quantity = this.#quantity;
    this.#problem = "";
    if (item.streakable) this.#count(item, quantity);
    else this.#draw();
    this.#tell("lg-gift", {item, quantity});
  }

  #count(item, quantity) {
    clearTimeout(this.#comboTimer);
    const before = this.#combo?.item === item ? this.#combo.count : 0;
    this.#combo = {item, count: before + quantity};
    const duration = item.comboSeconds * 1_000;
    this.#comboTimer = setTimeout(() => this.#endCombo(), duration);
    this.#draw();
    for (const circle of this.querySelectorAll(".ring circle")) {
      for (const running of circle.getAnimations()) running.cancel();
      circle.animate([{strokeDashoffset: 0}, {strokeDashoffset: 100}], {duration, fill: "forwards"});
    }
  }

  #endCombo() {
    clearTimeout(this.#comboTimer);
    this.#combo = null;
    this.#draw();
  }

  #keys(event) {
    const radios = [...this.querySelectorAll('[role="radio"]')];
    const at = radios.indexOf(event.target);
    if (event.key === "Enter" && this.#selected?.id === event.target.dataset.id) {
      event.preventDefault();
      this.querySelector(".panel-footer .button-primary")?.focus();
      return;
    }
    const columns = getComputedStyle(event.currentTarget).gridTemplateColumns.split(" ").length;
    const onward = getComputedStyle(this).direction === "rtl" ? -1 : 1;
    const steps = {ArrowRight: onward, ArrowLeft: -onward, ArrowDown: columns, ArrowUp: -columns};
    const next = event.key === "Home" ? 0 : event.key === "End" ? radios.length - 1 : at + (steps[event.key] ?? NaN);
    if (at < 0 || Number.isNaN(next)) return;
    event.preventDefault();
    const radio = radios[next];
    if (!radio) return;
    radio.focus();
    this.#select(this.#items.find((item) => item.id === radio.dataset.id));
  }

  #tabKeys(event) {
    const bands = this.#bands();
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    this.#show((this.#tab + step + bands.length) % bands.length);
    this.querySelector('[role="tab"][aria-selected="true"]').focus();
  }

  #show(tab) {
    this.#tab = tab;
    this.#draw();
  }

  /** All, and by price: each band begins where more is made of a gift. */
  #bands() {
    const starts = [2, 3, 4].map((tier) => this.#items.find((item) => item.tier >= tier)?.start).filter(Boolean);
    const bands = [{text: t("All"), has: () => true}];
    [0, ...starts].forEach((from, index) => {
      const upTo = starts[index] ?? Infinity;
      const facts = {from: formatCoins(from), to: upTo === Infinity ? "" : formatCoins(upTo - 1)};
      const text = !from ? t("Up to %(to)s", facts) : upTo === Infinity ? t("%(from)s+", facts) : t("%(from)s–%(to)s", facts);
      bands.push({text, has: (item) => item.coins >= from && item.coins < upTo});
    });
    return bands;
  }

  #draw() {
    if (!this.#rate) return;
    render(this.#view(), this, {host: this});
    // Whatever was pressed meanwhile, what is checked is what is chosen.
    const chosen = this.#isOther ? "other" : String(this.#quantity);
    for (const radio of this.querySelectorAll("[name=quantity]")) radio.checked = radio.value === chosen;
  }

  #view() {
    return html`<dialog class="panel" aria-labelledby="panel-title" @close=${this.#closed} @click=${closeOutside} @keydown=${this.#escape}>
      <header class="panel-header">
        <h2 class="visually-hidden" id="panel-title">${t("Send a gift")}</h2>
        <p class="panel-balance"><span class="visually-hidden">${t("Balance:")}</span> ${coins(this.#available)} <span class="soft small">${t("about %(price)s", {price: worthText(this.#available, this.#rate)})}</span></p>
        <button class="button panel-recharge" type="button" @click=${() => this.#tell("lg-recharge", {missing: 0})}>${t("Recharge")}</button>
        <button class="button button-icon button-quiet" type="button" aria-label=${t("Close")} @click=${closeDialog}>${icon("close")}</button>
      </header>
      ${this.#tabs()}
      <div class="panel-body" id="panel-gifts" role="tabpanel" aria-labelledby="panel-tab-${this.#tab}">
        <div class="gift-grid" role="radiogroup" aria-label=${t("Gifts")} @keydown=${this.#keys}>${this.#tiles()}</div>
      </div>
      <footer class="panel-footer">${this.#footer()}</footer>
    </dialog>`;
  }

  #escape(event) {
    if (event.key === "Escape" && wide.matches) this.close();
  }

  #tabs() {
    return html`<div class="tabs panel-tabs" role="tablist" aria-label=${t("By price in coins")} @keydown=${this.#tabKeys}>
      ${this.#bands().map(({text}, index) => html`<button class="tab" type="button" role="tab" id="panel-tab-${index}" aria-controls="panel-gifts" aria-selected=${index === this.#tab ? "true" : "false"} tabindex=${index === this.#tab ? 0 : -1} @click=${() => this.#show(index)}>${text}</button>`)}
    </div>`;
  }

  #tiles() {
    const shown = this.#items.filter(this.#bands()[this.#tab].has);
    const stop = shown.includes(this.#selected) ? this.#selected : shown[0];
    return shown.map((item) => this.#tile(item, item === stop));
  }

  #tile(item, isStop) {
    const isSelected = item === this.#selected;
    const price = worthText(item.coins, this.#rate);
    return html`<div class="gift-tile ${isSelected ? "is-selected" : ""}">
      <button class="gift-choice" type="button" role="radio" data-id=${item.id} aria-checked=${isSelected ? "true" : "false"} tabindex=${isStop ? 0 : -1}
        aria-label="${item.name}, ${coinsText(item.coins)}, ${price}" @click=${() => this.#select(item)}>
        <img class="gift-art" src=${item.art} alt="" width="48" height="48" loading="lazy" decoding="async">
        <span class="gift-name">${item.name}</span>
        <span class="gift-price ${formatCoins(item.coins).length + price.length > LINE_LETTERS ? "is-long" : ""}">${coins(item.coins)}<span class="gift-dot"> · </span><span>${price}</span></span>
      </button>
      ${isSelected && !this.#missing ? html`<button class="gift-send" type="button" tabindex="-1" aria-hidden="true" @click=${this.#send}><span>${this.#ring()}${t("Send")}</span></button>` : nothing}
    </div>`;
  }

  #ring() {
    return this.#combo
      ? html`<svg class="ring" viewBox="0 0 36 36" aria-hidden="true" focusable="false"><circle cx="18" cy="18" r="15" pathLength="100"></circle></svg>`
      : nothing;
  }

  #footer() {
    const item = this.#selected;
    if (!item) return html`<p class="panel-hint soft">${t("Choose a gift.")}</p>`;
    if (this.#isConfirming) return this.#question(item);
    const problem = this.#problem ? html`<p class="panel-problem" role="alert">${this.#problem}</p>` : nothing;
    return html`${problem}<div class="panel-line">${this.#quantities()}${this.#sum()}</div>${this.#missing ? this.#low() : this.#button(item)}`;
  }

  #quantities() {
    const radio = (value, text, choose) => html`<label class="segment"><input type="radio" name="quantity" value=${value} @change=${choose}>${text}</label>`;
    return html`<fieldset class="panel-quantities"><legend class="visually-hidden">${t("How many")}</legend>
      <div class="segments">${QUANTITIES.map((n) => radio(n, n, () => this.#choose(n)))}${radio("other", t("Other"), this.#chooseOther)}</div>
      ${this.#isOther ? html`<input class="input panel-number" type="number" inputmode="numeric" min="1" max=${this.#quantityMax} step="1" aria-label=${t("How many")} value=${this.#quantity} @input=${this.#other}>` : nothing}
    </fieldset>`;
  }

  #sum() {
    return html`<p class="panel-total"><strong>${coins(this.#total)}</strong> <span class="soft">· ${worthText(this.#total, this.#rate)}</span></p>`;
  }

  #button(item) {
    const count = this.#combo?.item === item ? html`<span class="panel-combo">×${this.#combo.count}</span>` : nothing;
    const what = `${this.#quantity > 1 ? `${this.#quantity} ` : ""}${item.name}, ${coinsText(this.#total)}, ${worthText(this.#total, this.#rate)}`;
    return html`<button class="button button-primary button-block panel-send" type="button" @click=${this.#send} @keydown=${ignoreRepeats}>${this.#ring()}<span>${t("Send")}<span class="visually-hidden"> ${what}</span></span>${count}</button>`;
  }

  #low() {
    const missing = this.#missing;
    const facts = {price: worthText(missing, this.#rate)};
    const sentence = tn("You need %(n)s more coin (%(price)s)", "You need %(n)s more coins (%(price)s)", missing, facts);
    return html`<div class="panel-line panel-low"><p class="panel-missing" role="status">${icon("warn")}<span>${sentence}</span></p>
      <button class="button button-primary panel-send" type="button" @click=${() => this.#tell("lg-recharge", {missing})}>${t("Recharge")}</button></div>`;
  }

  #question(item) {
    const facts = {
      gift: html`<strong>${this.#quantity > 1 ? `${this.#quantity} × ` : ""}${item.name}</strong>`,
      coins: coinsText(this.#total),
      price: html`<strong>${worthText(this.#total, this.#rate)}</strong>`,
    };
    return html`<div class="panel-confirm" role="group" aria-labelledby="panel-question">
      <p id="panel-question">${words(t("Send %(gift)s for %(coins)s, which is %(price)s?"), facts)}</p>
      <div class="panel-line">
        <button class="button" type="button" @click=${this.#cancel}>${t("Cancel")}</button>
        <button class="button button-primary" type="button" @click=${this.#confirm} @keydown=${ignoreRepeats}>${t("Yes, send")}</button>
      </div>
    </div>`;
  }

  #cancel() {
    this.#isConfirming = false;
    this.#draw();
    this.resume();
  }
}

customElements.define("lg-gift-panel", GiftPanel);
