/**
 * Gifts on their way. Each press of Send is one gift with a key of its own, which is kept until
 * there is an answer and sent again with the same key as often as need be: over the room's socket
 * while it is open, else by a request. However often it arrives, it is one gift.
 */

import {newKey} from "../core/keys.js";

/** So long an answer may take on an open socket before the request is tried beside it, in ms. */
const ANSWER_WITHIN = 4_000;
/** Between two tries of a request that found nobody, in ms. */
const TRY_AGAIN_AFTER = 2_000;

export class Gifting {
  #waiting = new Map();
  #send;
  #post;
  #done;
  #late;
  #isLate = false;

  /**
   * `send(operation)` says whether the socket took it; `post(gift)` answers as the API does or
   * throws a refusal with a `code`, which may be that nobody answered. `done(gift, answer, refusal)`
   * is called once for each gift. `late(isLate)` is called when an answer is not there when it should
   * be, and again when nothing is waited for any more.
   */
  constructor({send, post, done, late = () => {}}) {
    this.#send = send;
    this.#post = post;
    this.#done = done;
    this.#late = late;
  }

  /** Coins that are on their way out and not yet answered for. */
  get coins() {
    let coins = 0;
    for (const gift of this.#waiting.values()) coins += gift.item.coins * gift.quantity;
    return coins;
  }

  give(item, quantity) {
    const gift = {key: newKey(), item, quantity, isPosted: false};
    this.#waiting.set(gift.key, gift);
    this.#carry(gift);
    return gift;
  }

  /** The socket is open (again): everything without an answer goes once more, under its key. */
  resend() {
    for (const gift of this.#waiting.values()) this.#carry(gift);
  }

  /** An `ack` or a `refused` of the socket. False where the key is not one of these. */
  answer(frame) {
    const gift = this.#waiting.get(frame.key);
    if (!gift) return false;
    if (frame.op === "ack") this.#finish(gift, frame);
    else if (!isPassing(frame)) this.#finish(gift, null, frame);
    else this.#later(gift);
    return true;
  }

  #carry(gift) {
    if (!this.#waiting.has(gift.key)) return;
    const {key, item, quantity} = gift;
    clearTimeout(gift.timer);
    if (this.#send({op: "gift", key, item_id: item.id, quantity})) {
      gift.timer = setTimeout(() => (this.#tellLate(gift), this.#request(gift)), ANSWER_WITHIN);
    } else {
      this.#request(gift);
    }
  }

  async #request(gift) {
    if (gift.isPosted || !this.#waiting.has(gift.key)) return;
    gift.isPosted = true;
    try {
      this.#finish(gift, await this.#post(gift));
    } catch (problem) {
      if (problem.code && !isPassing(problem)) this.#finish(gift, null, problem);
      else this.#later(gift);
    } finally {
      gift.isPosted = false;
    }
  }

  #later(gift) {
    clearTimeout(gift.timer);
    gift.timer = setTimeout(() => this.#carry(gift), TRY_AGAIN_AFTER);
    this.#tellLate(gift);
  }

  #tellLate(gift) {
    if (this.#isLate || !this.#waiting.has(gift.key)) return;
    this.#isLate = true;
    this.#late(true);
  }

  #finish(gift, answer, refusal) {
    clearTimeout(gift.timer);
    if (!this.#waiting.delete(gift.key)) return;
    this.#done(gift, answer, refusal);
    if (this.#waiting.size || !this.#isLate) return;
    this.#isLate = false;
    this.#late(false);
  }
}

const PASSING = new Set(["ledger_busy", "ledger_unavailable", "records_unavailable", "internal_error", "no_answer"]);

/** It says nothing of the gift, not even whether it was taken: so it is asked again, by the same key. */
function isPassing({code, status}) {
  return PASSING.has(code) || status >= 500;
}
