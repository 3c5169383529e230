/**
 * What is read out to those who do not look: the three live regions of base.html.
 *
 * `polite` gathers for a few seconds, so that a busy room does not talk without end; `status` is for
 * what one has just done oneself, `alert` for what went wrong with money.
 */

import {tn} from "./i18n.js";
import {announcements} from "./preferences.js";

export const GATHER_MILLISECONDS = 4000;
const LINES_MAX = 3;

const waiting = [];
let timer;

/** Read out with the next batch. `about` is "gift" for gifts, which some want to hear alone. */
export function polite(text, {about = "other"} = {}) {
  const wanted = announcements();
  if (wanted === "off" || (wanted === "gifts" && about !== "gift")) return;
  waiting.push(text);
  timer ??= setTimeout(readOut, GATHER_MILLISECONDS);
}

/** Read out at once: one's own gift has arrived, the balance has changed. */
export function status(text) {
  say("says-status", text);
}

/** Read out at once, over everything else: a payment failed. */
export function alert(text) {
  say("says-alert", text);
}

function readOut() {
  timer = undefined;
  const newest = waiting.slice(-LINES_MAX);
  const rest = waiting.length - newest.length;
  waiting.length = 0;
  if (rest > 0) newest.unshift(tn("%(n)s more message", "%(n)s more messages", rest));
  say("says-politely", newest.join(". "));
}

function say(id, text) {
  const region = document.getElementById(id);
  if (!region) return;
  // A region that says the same twice stays silent, so the second time ends in a space.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}
