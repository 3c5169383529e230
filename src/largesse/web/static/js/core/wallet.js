/**
 * The coins of whoever is signed in, one truth for the whole page.
 *
 * `watch(callback)` opens the feed of one's own wallet with the first watcher and tells each change;
 * whoever learns of a newer balance first (an ack of a gift) tells it by `know`.
 */

import {Live} from "./live.js";

const watchers = new Set();
let coins;
let live;

/** Be told `(coins, before)` of every change; `before` is undefined the first time. */
export function watch(callback) {
  watchers.add(callback);
  if (coins !== undefined) callback(coins, undefined);
  live ??= begin();
  return () => watchers.delete(callback);
}

/** What the wallet holds, undefined as long as nobody said. */
export const coinsNow = () => coins;

/** The wallet holds so many coins: tell everybody, once. */
export function know(now) {
  if (now === undefined || now === coins) return;
  const before = coins;
  coins = now;
  for (const watcher of watchers) watcher(now, before);
}

function begin() {
  const feed = new Live("/v1/me", {
    op: (frame) => know(frame.op === "welcome" ? frame.balance?.coins : frame.op === "balance" ? frame.coins : undefined),
  });
  feed.open();
  return feed;
}
