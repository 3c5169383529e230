/**
 * <lg-chat-log>: what is said and given in a room, newest below; the last 200 rows.
 *
 * A log by role, but silent: what is read out comes in batches from the live regions of the page.
 * Whoever reads further up, or has paused the chat, is told how many rows wait.
 */

import {LitElement, html, nothing} from "../../vendor/lit/lit.js";
import {repeat} from "../../vendor/lit/directives/repeat.js";
import {t, tn} from "../core/i18n.js";
import {icon, name, words} from "../room/parts.js";

const ROWS_MAX = 200;
/** So close to the end one is reading the newest. */
const END_PIXELS = 48;

export class ChatLog extends LitElement {
  static properties = {isPaused: {state: true}};

  #rows = [];
  #held = [];
  #joined = null;
  #isAtEnd = true;

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    this.isPaused = false;
  }

  /** A snapshot's rows take the place of all others. */
  replace(rows) {
    this.#rows = rows.slice(-ROWS_MAX);
    this.#held = [];
    this.requestUpdate();
  }

  /** Rows: {id, kind, user, text, art, rank, isHost}. */
  add(rows) {
    if (!rows.length) return;
    if (this.isPaused || !this.#isAtEnd) this.#held = [...this.#held, ...rows].slice(-ROWS_MAX);
    else this.#rows = [...this.#rows, ...rows].slice(-ROWS_MAX);
    this.requestUpdate();
  }

  /** Who came in last; told in one line that is not kept. */
  joined(user) {
    this.#joined = user;
    this.requestUpdate();
  }

  /** Show what waits, and follow the newest again. */
  follow() {
    if (this.isPaused) this.dispatchEvent(new CustomEvent("lg-followed"));
    this.isPaused = false;
    this.#isAtEnd = true;
    this.#rows = [...this.#rows, ...this.#held].slice(-ROWS_MAX);
    this.#held = [];
    this.requestUpdate();
  }

  #scrolled(event) {
    const {scrollTop, scrollHeight, clientHeight} = event.currentTarget;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < END_PIXELS;
    if (this.#isAtEnd && !this.isPaused && this.#held.length) this.follow();
  }

  #more() {
    this.follow();
    this.querySelector("ol").focus();
  }

  updated() {
    const list = this.querySelector("ol");
    if (this.#isAtEnd && !this.isPaused) list.scrollTop = list.scrollHeight;
  }

  render() {
    return html`<ol class="chat-rows" role="log" aria-live="off" aria-label=${t("Chat and gifts")} tabindex="0" @scroll=${this.#scrolled}>
        ${repeat(this.#rows, (row) => row.id, rowOf)}
      </ol>
      <p class="chat-joined" aria-hidden="true">${this.#joined ? words(t("%(name)s joined"), {name: name(this.#joined.nickname)}) : nothing}</p>
      ${this.#held.length || this.isPaused ? this.#waiting() : nothing}`;
  }

  #waiting() {
    const n = this.#held.length;
    const told = n ? tn("%(n)s new line", "%(n)s new lines", n) : t("Chat is paused");
    return html`<button class="chat-more" type="button" @click=${this.#more}>${icon(this.isPaused ? "play" : "chevron-down", "s")}${told}</button>`;
  }
}

function rowOf(row) {
  const who = name(row.user.nickname);
  if (row.kind === "chat") {
    return html`<li class="chat-row ${row.isHost ? "is-host" : ""}">${marks(row)}${who} <bdi class="chat-text">${row.text}</bdi></li>`;
  }
  if (row.kind === "gift") {
    return html`<li class="chat-row is-gift"><img src=${row.art} alt="" width="22" height="22">${words(t("%(name)s sent %(gift)s"), {name: who, gift: row.text})} <span class="chat-count">×${row.count}</span></li>`;
  }
  const told = row.kind === "follow" ? t("%(name)s follows now") : t("%(name)s shared this live");
  return html`<li class="chat-row is-quiet">${words(told, {name: who})}</li>`;
}

function marks(row) {
  if (row.isHost) return html`<span class="chat-mark">${t("Host")}</span> `;
  if (row.rank > 0 && row.rank < 4) return html`<span class="chat-mark chat-mark-rank" title=${t("Top gifter")}>${icon("crown", "s")}${row.rank}</span> `;
  return nothing;
}

customElements.define("lg-chat-log", ChatLog);
