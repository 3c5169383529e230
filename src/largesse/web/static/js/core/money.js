/** Money, coins and diamonds for people: whole numbers come in, text goes out. */

import {formatNumber, locale} from "./i18n.js";

/** Digits of the minor unit, where they are not two; browsers round some currencies as shops do. */
const DIGITS = {CLP: 0, JPY: 0, KRW: 0, KWD: 3, VND: 0};
const writers = new Map();

function writerOf(currency, digits) {
  if (!writers.has(currency)) {
    const options = {style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits};
    writers.set(currency, new Intl.NumberFormat(locale, options));
  }
  return writers.get(currency);
}

/** `{amount: 749, currency: "USD"}` as `$7.49`; the amount is in the minor unit. */
export function formatPrice({amount, currency}) {
  const digits = DIGITS[currency] ?? 2;
  return writerOf(currency, digits).format(decimal(amount, digits));
}

/** A number of coins, without their word or mark. */
export function formatCoins(coins) {
  return formatNumber(coins);
}

/** What so many coins cost at `rate` {coins, amount, currency}; a part of a minor unit is a whole one. */
export function coinsWorth(coins, rate) {
  const of = BigInt(rate.coins);
  const amount = (BigInt(coins) * BigInt(rate.amount) + of - 1n) / of;
  return {amount: Number(amount), currency: rate.currency};
}

// Intl takes a decimal as text and keeps it exact, where a division might not.
function decimal(amount, digits) {
  const sign = amount < 0 ? "-" : "";
  const text = String(Math.abs(amount)).padStart(digits + 1, "0");
  return digits ? `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}` : sign + text;
}
