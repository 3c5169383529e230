/** Small pieces of markup that the elements of a room share. */

import {html} from "../../vendor/lit/lit-html.js";
import {coinMark, icon} from "../core/icons.js";
import {tn} from "../core/i18n.js";
import {coinsWorth, formatCoins, formatPrice} from "../core/money.js";

export {icon};

/** A number of coins with the gold mark. */
export function coins(amount) {
  return html`<span class="coins">${coinMark()}<span>${formatCoins(amount)}</span><span class="visually-hidden"> ${tn("coin", "coins", amount)}</span></span>`;
}

/** Coins in words: `50 coins`. */
export function coinsText(amount) {
  return tn("%(n)s coin", "%(n)s coins", amount);
}

/** What coins cost, in words: `$0.54`. */
export function worthText(amount, rate) {
  return formatPrice(coinsWorth(amount, rate));
}

/**
 * A sentence with markup in it: `%(name)s` becomes what `facts` has under that name.
 *
 *     words(t("%(name)s sent %(gift)s"), {name: html`<bdi>${name}</bdi>`, gift})
 */
export function words(sentence, facts) {
  return sentence.split(/%\((\w+)\)s/).map((part, index) => (index % 2 ? facts[part] : part));
}

/** Somebody's name, whatever it is written in: held apart from the text around it. */
export function name(text) {
  return html`<bdi class="name">${text}</bdi>`;
}

/** Somebody's picture; the name stands beside it. */
export function avatar(user, size = "s") {
  return html`<img class="avatar avatar-${size}" src=${user.profilePictureUrl} alt="" width="32" height="32">`;
}
