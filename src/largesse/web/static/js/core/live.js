/**
 * A room, or one's own wallet, as it happens: a WebSocket that comes back by itself.
 *
 *     const live = new Live(`/v1/rooms/${id}`, {snapshot, events, op, state});
 *     live.open();
 *     live.send({op: "like", count: 1});
 *
 * The place is asked for a ticket (`POST <place>/tickets`) before every opening; after a break the
 * hello names the last event that was seen, so none is missed and none comes twice.
 *
 * Callbacks, all optional: `snapshot(frame)` takes the place of everything known; `events(frames)`
 * gets new event frames in order, never one twice; `op(frame)` every other frame (welcome, ack,
 * refused, balance); `state(name, facts)` is "connecting", "open", "waiting" (facts.seconds) or
 * "over" (facts.code, of the last refusal or close).
 */

import {post} from "./api.js";
import {language} from "./i18n.js";

export const HEARTBEAT_SECONDS = 20;
const WAIT_SECONDS_MIN = 0.5;
const WAIT_SECONDS_MAX = 20;
const FINAL = new Set([4404, 4410]);
/** Not there, or over: there is nothing to come back to. */
const AT_ONCE = new Set([4401, 4411, 4413]);
/** A new ticket helps. */
const FINAL_CODES = new Set(["room_not_found", "session_required", "session_expired", "not_found"]);

export class Live {
  #place;
  #on;
  #ticket;
  #batch;
  #socket;
  #timer;
  #heart;
  #heard = 0;
  #asked = 0;
  #waits = 0;
  #isWanted = false;
  #lastRefusal;

  /** `options.lastSeq` resumes behind that event; `options.ticket` takes the place of the POST. */
  constructor(place, callbacks = {}, {lastSeq, batch = true, ticket} = {}) {
    this.#place = place;
    this.#on = callbacks;
    this.#batch = batch;
    this.#ticket = ticket ?? (async () => (await post(`${place}/tickets`, {})).ticket);
    /** The number of the newest event that was seen; undefined before the first. */
    this.lastSeq = lastSeq;
    this.wake = this.wake.bind(this);
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN && this.#heart !== undefined;
  }

  /** Connect, and stay connected until `close`. */
  open() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.#connect();
  }

  /** Leave. What was seen stays known, so `open` goes on from there. */
  close() {
    this.#isWanted = false;
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.#drop();
    this.#socket?.close(1000);
    this.#socket = undefined;
  }

  /** Send a frame; false where there is no connection, and then nothing was sent. */
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Try now, if it waits: the network is back, or somebody looks again. */
  wake() {
    if (!this.#isWanted || document.hidden || this.#socket || this.#timer === undefined) return;
    this.#connect();
  }

  async #connect() {
    this.#drop();
    this.#tell("connecting");
    let ticket;
    try {
      ticket = await this.#ticket();
    } catch (refusal) {
      if (this.#isWanted) this.#missed(refusal.code, FINAL_CODES.has(refusal.code));
      return;
    }
    if (!this.#isWanted || this.#socket) return;
    const address = new URL(`${this.#place}/live`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#lastRefusal = undefined;
    socket.onopen = () => socket.send(JSON.stringify(this.#hello(ticket)));
    socket.onmessage = (message) => socket === this.#socket && this.#take(JSON.parse(message.data));
    socket.onclose = (closed) => socket === this.#socket && this.#closed(closed.code);
  }

  #hello(ticket) {
    const hello = {op: "hello", ticket, batch: this.#batch, lang: language};
    if (this.lastSeq !== undefined) hello.last_seq = this.lastSeq;
    return hello;
  }

  #take(frame) {
    this.#heard = Date.now();
    if (Array.isArray(frame)) this.#events(frame);
    else if (frame.event !== undefined) this.#events([frame]);
    else if (frame.op === "snapshot") {
      this.lastSeq = frame.seq;
      this.#on.snapshot?.(frame);
    } else if (frame.op !== "pong") {
      if (frame.op === "welcome") this.#welcomed(frame);
      if (frame.op === "refused" && !frame.key) this.#lastRefusal = frame.code;
      this.#on.op?.(frame);
    }
  }

  #events(frames) {
    const unseen = frames.filter((frame) => this.lastSeq === undefined || frame.seq > this.lastSeq);
    if (unseen.length === 0) return;
    this.lastSeq = unseen.at(-1).seq;
    this.#on.events?.(unseen);
  }

  #welcomed(welcome) {
    this.#waits = this.#asked = 0;
    const seconds = welcome.heartbeat_seconds ?? HEARTBEAT_SECONDS;
    this.#heart = setInterval(() => this.#beat(), seconds * 1000);
    this.#tell("open");
  }

  #beat() {
    if (this.#heard < this.#asked) {
      // A whole beat without an answer: nobody is there, whatever the socket believes.
      const socket = this.#socket;
      this.#closed(1006);
      socket?.close();
      return;
    }
    this.#asked = Date.now();
    this.send({op: "ping"});
  }

  #closed(code) {
    this.#socket = undefined;
    if (!this.#isWanted) return;
    if (AT_ONCE.has(code)) this.#waits = Math.min(this.#waits, 1);
    this.#missed(this.#lastRefusal ?? code, FINAL.has(code));
  }

  /** Not connected: wait longer each time, each browser a little differently, or give up. */
  #missed(code, isFinal) {
    this.#drop();
    if (isFinal) {
      this.close();
      this.#tell("over", {code});
      return;
    }
    const longest = Math.min(WAIT_SECONDS_MAX, WAIT_SECONDS_MIN * 2 ** this.#waits);
    const seconds = longest * (0.5 + Math.random() / 2);
    this.#waits += 1;
    this.#timer = setTimeout(() => this.#connect(), seconds * 1000);
    this.#tell("waiting", {seconds, code});
  }

  #drop() {
    clearTimeout(this.#timer);
    clearInterval(this.#heart);
    this.#timer = this.#heart = undefined;
  }

  #tell(name, facts = {}) {
    this.#on.state?.(name, facts);
  }
}
