/**
 * <lg-console>: a creator's live room from the other side. Viewers, likes, chat, every gift with its
 * split as it arrives, what this live brought so far.
 *
 * The room's events say that something was given, to everybody; what it earns is asked of the API,
 * for its creator alone, a moment later and once for many gifts.
 */

import {html, nothing, render} from "../../vendor/lit/lit.js";
import {repeat} from "../../vendor/lit/directives/repeat.js";
import {polite, status} from "../core/announce.js";
import {get} from "../core/api.js";
import {formatNumber, locale, t, tn} from "../core/i18n.js";
import {diamondMark, icon} from "../core/icons.js";
import {Live} from "../core/live.js";
import {formatPrice} from "../core/money.js";
import {avatar, coins, name, worthText} from "../room/parts.js";
import {RoomState} from "../room/state.js";
import "./lg-chat-box.js";
import "./lg-chat-log.js";
import "./lg-time.js";

const GIFTS_SHOWN = 100;
const PAGE = 100;
const PAGES_MAX = 10;
/** A gift is shown so soon after it arrived; those that come meanwhile are asked for together. */
const ASK_AFTER_MILLISECONDS = 250;

class Console extends HTMLElement {
  #state = new RoomState();
  #gifts = [];
  #fresh = new Set();
  #timer;
  #asking = false;
  #askAgain = false;

  connectedCallback() {
    if (this.facts) return;
    this.facts = JSON.parse(document.getElementById("console-data").textContent);
    this.#gifts = this.facts.gifts;
    this.log = this.querySelector("lg-chat-log");
    this.box = this.querySelector("lg-chat-box");
    this.querySelector("#again").hidden = true;
    this.#part("gifts").replaceChildren();
    this.#part("top").replaceChildren();
    this.#drawGifts();
    this.#clock();
    this.box.addEventListener("lg-chat", ({detail}) => this.live.send({op: "chat", ...detail}) || this.box.interrupted());
    this.live = new Live(`/v1/rooms/${this.facts.room}`, {
      snapshot: (frame) => this.#snapshot(frame),
      events: (frames) => this.#events(frames),
      op: (frame) => (frame.op === "ack" || frame.op === "refused") && this.box.answered(frame),
      state: (which, facts) => this.#connection(which, facts),
    });
    this.live.open();
  }

  disconnectedCallback() {
    this.live?.close();
    clearInterval(this.ticking);
    clearTimeout(this.#timer);
  }

  #part(id) {
    return this.querySelector(`#${id}`);
  }

  // The room ---------------------------------------------------------------------------------

  #snapshot(frame) {
    this.#state.replace(frame);
    const rows = frame.recent.map((each) => this.#row(each)).filter(Boolean);
    this.#part("no-chat").hidden = rows.length > 0;
    this.log.replace(rows);
    this.#drawRoom();
    this.#ask();
  }

  #events(frames) {
    const rows = [];
    for (const frame of frames) {
      if (!this.#state.take(frame)) continue;
      const row = this.#row(frame);
      if (row) rows.push(row);
      if (frame.event === "member") this.log.joined(frame.data.user);
      if (frame.event === "gift") this.#gift(frame.data);
      if (frame.event === "chat" && frame.data.userId !== this.facts.me) polite(frame.data.x.alt);
    }
    if (rows.length > 0) this.#part("no-chat").hidden = true;
    this.log.add(rows);
    this.#drawRoom();
    if (this.#state.isOver) location.assign(`/creator/rooms/${this.facts.room}`);
  }

  #gift(data) {
    if (data.repeatEnd) polite(data.x.alt, {about: "gift"});
    this.#ask();
  }

  /** A row of the chat; gifts have a list of their own here. */
  #row({seq, event, data}) {
    if (event !== "chat" && event !== "follow" && event !== "share") return null;
    const isHost = data.userId === this.facts.me;
    return {id: seq, kind: event, user: data.user, text: data.comment, rank: data.topGifterRank ?? 0, isHost};
  }

  #connection(which, {code} = {}) {
    this.box.isOpen = which === "open";
    if (which !== "open") this.box.interrupted();
    const line = this.#part("connection");
    line.hidden = which === "open";
    if (which === "over") {
      if (code === 4410 || code === "room_ended") location.assign(`/creator/rooms/${this.facts.room}`);
      line.textContent = t("The connection is closed. Load the page again.");
    } else if (which === "waiting") {
      line.textContent = t("Connecting again ...");
      status(line.textContent);
    } else {
      line.textContent = t("Connecting ...");
    }
  }

  #drawRoom() {
    this.#part("viewers").textContent = formatNumber(this.#state.viewers);
    this.#part("likes").textContent = formatNumber(this.#state.likes);
    this.#part("no-top").hidden = this.#state.top.length > 0;
    render(
      html`<ol class="ranking">${repeat(this.#state.top, ({user}) => user.userId, (each, index) => this.#topRow(each, index))}</ol>`,
      this.#part("top"),
    );
  }

  #topRow({user, coinCount}, index) {
    const price = worthText(coinCount, this.facts.rate);
    return html`<li class="ranking-row"><span class="ranking-place">${index + 1}</span>${avatar(user)}<span class="ranking-name">${name(user.nickname)}</span><span class="pair">${coins(coinCount)} <span class="coins-worth price">${price}</span></span></li>`;
  }

  #clock() {
    const ahead = this.facts.now - Date.now();
    const write = () => {
      this.#part("duration").textContent = clockText(Date.now() + ahead - this.facts.startedAt);
    };
    this.ticking = setInterval(write, 1000);
    write();
  }

  // What was earned --------------------------------------------------------------------------

  #ask() {
    if (this.#asking) this.#askAgain = true;
    else this.#timer ??= setTimeout(() => this.#askNow(), ASK_AFTER_MILLISECONDS);
  }

  async #askNow() {
    this.#timer = undefined;
    this.#asking = true;
    this.#askAgain = false;
    try {
      const [fresh, sums] = await Promise.all([this.#newGifts(), get(`/v1/earnings/rooms/${this.facts.room}`)]);
      this.#fresh = new Set(fresh.map((each) => each.gift.id));
      this.#gifts = [...fresh, ...this.#gifts].slice(0, GIFTS_SHOWN);
      this.#drawGifts();
      this.#drawSums(sums);
    } catch (refusal) {
      if (refusal.code === "rate_limited") this.#askAgain = true;
      else this.#connection("waiting");
    }
    this.#asking = false;
    if (this.#askAgain) this.#ask();
  }

  /** The gifts that are not shown yet, newest first. */
  async #newGifts() {
    const known = new Set(this.#gifts.map((each) => each.gift.id));
    const fresh = [];
    let cursor = "";
    for (let page = 0; page < PAGES_MAX && fresh.length < GIFTS_SHOWN; page += 1) {
      const found = await get(`/v1/earnings/gifts?room_id=${this.facts.room}&limit=${PAGE}${cursor}`);
      const unseen = found.gifts.filter((each) => !known.has(each.gift.id));
      fresh.push(...unseen);
      if (unseen.length < found.gifts.length || !found.next_cursor) break;
      cursor = `&cursor=${encodeURIComponent(found.next_cursor)}`;
    }
    return fresh;
  }

  #drawGifts() {
    this.#part("no-gifts").hidden = this.#gifts.length > 0;
    render(
      repeat(this.#gifts, (each) => each.gift.id, (each) => this.#giftRow(each)),
      this.#part("gifts"),
    );
  }

  #giftRow({gift, split}) {
    const art = this.facts.art[gift.item_id];
    const times = gift.quantity > 1 ? ` × ${formatNumber(gift.quantity)}` : "";
    const yours = worth(split.yours.worth);
    const diamonds = diamondsText(gift.diamonds);
    return html`<li class="gift-row ${this.#fresh.has(gift.id) ? "gift-new" : ""}" data-gift=${gift.id}>
      ${art ? html`<img class="gift-art" src=${art} alt="" width="32" height="32">` : html`<span class="gift-art">${icon("gift")}</span>`}
      <div class="gift-words">
        <p class="gift-line"><bdi class="strong">${gift.viewer_name ?? t("Somebody")}</bdi> <span>${gift.item_name ?? t("A gift of the past")}${times}</span></p>
        <p class="gift-note"><span class="split">${tn("Paid %(n)s coin = %(amount)s", "Paid %(n)s coins = %(amount)s", gift.coins, {amount: worth(split.paid.worth)})}${
          split.platform ? `\u00a0· ${t("platform %(amount)s", {amount: worth(split.platform)})}` : nothing
        }\u00a0· <span class="split-yours">${tn("yours %(diamonds)s diamond = %(amount)s", "yours %(diamonds)s diamonds = %(amount)s", diamonds === "1" ? 1 : 2, {diamonds, amount: yours})}</span></span></p>
      </div>
      <div class="gift-figures">${diamondCount(diamonds)}<span class="coins-worth price">${yours}</span><lg-time class="gift-time" format="time"><time datetime=${gift.at}></time></lg-time></div>
    </li>`;
  }

  #drawSums(sums) {
    const part = (id, content) => render(content, emptied(this.#part(id)));
    part("sum-diamonds", diamondCount(diamondsText(sums.diamonds)));
    part("sum-worth", worth(sums.worth));
    part("sum-coins", coins(sums.coins));
    part("sum-price", formatPrice(sums.price));
    part("sum-gifts", formatNumber(sums.gifts));
    part("sum-gifters", tn("from %(n)s person", "from %(n)s people", sums.gifters));
  }
}

const drawn = new WeakSet();

/** What the server wrote makes room for what is drawn, once. */
function emptied(element) {
  if (!drawn.has(element)) element.replaceChildren();
  drawn.add(element);
  return element;
}

function diamondCount(text) {
  return html`<span class="diamonds">${diamondMark()}<span>${text}</span><span class="visually-hidden"> ${t("diamonds")}</span></span>`;
}

const diamondWriter = new Intl.NumberFormat(locale, {maximumFractionDigits: 4});

/** `"12.5000"` as `12.5`. */
function diamondsText(text) {
  return diamondWriter.format(text);
}

const worthWriters = new Map();

/** Money to the millionth: `$0.010686`. */
function worth({value, currency}) {
  if (!worthWriters.has(currency)) {
    const digits = {minimumFractionDigits: 2, maximumFractionDigits: 6};
    worthWriters.set(currency, new Intl.NumberFormat(locale, {style: "currency", currency, ...digits}));
  }
  return worthWriters.get(currency).format(value);
}

function clockText(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

customElements.define("lg-console", Console);
