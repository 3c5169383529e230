/**
 * <lg-chat-log>: what is said and given in a room, newest below; the last 200 rows.
 *
 * A log by role, but silent: what is read out comes in batches from the live regions of the page.
 * Whoever reads further up, or has paused the chat, is told how many rows wait.
 */

import {html, nothing, render} from "../../vendor/lit/lit-html.js";
import {t, tn} from "../core/i18n.js";
import {icon, name, words} from "../room/parts.js";

const ROWS_MAX = 200;
/** So close to the end one is reading the newest. */
const END_PIXELS = 48;

class ChatLog extends HTMLElement {
  #held = [];
  #joined = null;
  #isAtEnd = true;
  #isPaused = false;

  connectedCallback() {
    this.replaceChildren();
    this.#draw();
  }

  /** A snapshot's rows take the place of all others. */
  replace(rows) {
    this.#list.replaceChildren();
    this.#held = [];
    this.#show(rows);
  }

  /** Rows: {kind, user, text, count, art, rank, isHost}. */
  add(rows) {
    if (!rows.length) return;
    if (this.#isPaused || !this.#isAtEnd) {
      this.#held = [...this.#held, ...rows].slice(-ROWS_MAX);
      this.#draw();
    } else this.#show(rows);
  }

  /** Who came in last; told in one line that is not kept. */
  joined(user) {
    this.#joined = user;
    this.#draw();
  }

  pause() {
    this.#isPaused = true;
    this.#draw();
  }

  /** Show what waits, and follow the newest again. */
  follow() {
    if (this.#isPaused) this.dispatchEvent(new CustomEvent("lg-followed"));
    const held = this.#held;
    this.#isPaused = false;
    this.#isAtEnd = true;
    this.#held = [];
    this.#show(held);
  }

  get #list() {
    return this.querySelector("ol");
  }

  get #frame() {
    return this.querySelector(".chat-rows");
  }

  #show(rows) {
    const list = this.#list;
    for (const row of rows.slice(-ROWS_MAX)) list.append(rowOf(row));
    while (list.childElementCount > ROWS_MAX) list.firstElementChild.remove();
    this.#draw();
    if (this.#isAtEnd) this.#frame.scrollTop = this.#frame.scrollHeight;
  }

  #scrolled(event) {
    const {scrollTop, scrollHeight, clientHeight} = event.currentTarget;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < END_PIXELS;
    if (this.#isAtEnd && !this.#isPaused && this.#held.length) this.follow();
  }

  #more() {
    this.follow();
    this.#frame.focus();
  }

  #draw() {
    const n = this.#held.length;
    const told = n ? tn("%(n)s new line", "%(n)s new lines", n) : t("Chat is paused");
    const joined = this.#joined && words(t("%(name)s joined"), {name: name(this.#joined.nickname)});
    render(
      html`<div class="chat-rows" role="log" aria-live="off" aria-label=${t("Chat and gifts")} tabindex="0" @scroll=${this.#scrolled}><ol></ol></div>
        <p class="chat-joined" aria-hidden="true">${joined ?? nothing}</p>
        ${n || this.#isPaused ? html`<button class="chat-more" type="button" @click=${this.#more}>${icon(this.#isPaused ? "play" : "chevron-down", "s")}${told}</button>` : nothing}`,
      this,
      {host: this},
    );
  }
}

function rowOf(row) {
  const place = document.createElement("li");
  place.className = `chat-row is-${row.isHost ? "host" : row.kind}`;
  render(wordsOf(row, name(row.user.nickname)), place);
  return place;
}

function wordsOf(row, who) {
  if (row.kind === "chat") return html`${marks(row)}${who} <bdi class="chat-text">${row.text}</bdi>`;
  if (row.kind === "gift") {
    return html`<img src=${row.art} alt="" width="22" height="22">${words(t("%(name)s sent %(gift)s"), {name: who, gift: row.text})} <span class="chat-count">×${row.count}</span>`;
  }
  return html`${words(row.kind === "follow" ? t("%(name)s follows now") : t("%(name)s shared this live"), {name: who})}`;
}

function marks(row) {
  if (row.isHost) return html`<span class="chat-mark">${t("Host")}</span> `;
  if (row.rank > 0 && row.rank < 4) return html`<span class="chat-mark chat-mark-rank" title=${t("Top gifter")}>${icon("crown", "s")}${row.rank}</span> `;
  return nothing;
}

customElements.define("lg-chat-log", ChatLog);
