/**
 * <lg-live-room>: a room as it happens. It draws nothing itself: it listens to the room's wire and to
 * what the viewer does, and tells the elements inside what to show.
 */

import {polite, status} from "../core/announce.js";
import {post} from "../core/api.js";
import {t, tn} from "../core/i18n.js";
import {Live} from "../core/live.js";
import {coinsNow, know, watch} from "../core/wallet.js";
import {Gifting} from "../room/gifting.js";
import {RoomState} from "../room/state.js";
import {coinsText} from "../room/parts.js";
import {toast} from "./lg-toasts.js";
import "./lg-chat-box.js";
import "./lg-chat-log.js";
import "./lg-gift-panel.js";
import "./lg-gift-stage.js";
import "./lg-gift-tray.js";
import "./lg-like-button.js";
import "./lg-recharge-sheet.js";
import "./lg-top-gifters.js";

/** Events this much older than now are told, but no longer celebrated, in ms. */
const STALE = 6_000;

class LiveRoom extends HTMLElement {
  connectedCallback() {
    this.facts = JSON.parse(document.getElementById("room-facts").textContent);
    this.items = new Map(this.facts.items.map((item) => [item.number, item]));
    this.state = new RoomState();
    this.clockOff = Infinity;
    this.can = new Set();
    this.isBroken = false;
    this.isLate = false;
    for (const part of ["tray", "stage", "log", "box", "panel", "recharge", "top", "likes"]) {
      this[part] = this.querySelector(`[data-part=${part}]`);
    }
    this.gifting = new Gifting({
      send: (frame) => this.live.send(frame),
      post: ({key, item, quantity}) => post(`${this.place}/gifts`, {item_id: item.id, quantity}, {key}),
      done: (gift, answer, refusal) => this.#answered(gift, answer, refusal),
      late: (isLate) => {
        this.isLate = isLate;
        this.#banner();
      },
    });
    this.#fill();
    this.#listen();
    this.live = new Live(this.place, {
      snapshot: (frame) => this.#replace(frame),
      events: (frames) => this.#take(frames),
      op: (frame) => this.#answer(frame),
      state: (name, facts) => this.#connection(name, facts),
    });
    this.live.open();
    addEventListener("pagehide", () => this.live.close(), {once: true});
  }

  disconnectedCallback() {
    this.live.close();
    this.unwatch?.();
  }

  get place() {
    return `/v1/rooms/${this.facts.room.id}`;
  }

  get me() {
    return this.facts.user;
  }

  #fill() {
    const {items, rate, confirmFrom, quantityMax, country, providers, room, user} = this.facts;
    this.top.facts = {room: room.id, user: user?.userId ?? null};
    if (!this.panel) return;
    this.panel.begin({items, rate, confirmFrom, quantityMax});
    this.recharge.facts = {country, providers, rate};
    this.unwatch = watch((coins) => this.#wallet(coins));
  }

  #listen() {
    const on = (type, act) => this.addEventListener(type, (event) => act(event.detail));
    on("lg-gift", (wish) => this.#give(wish));
    on("lg-recharge", ({missing}) => this.recharge.open(missing));
    on("lg-recharged", ({isBack}) => isBack && this.panel.resume());
    on("lg-panel", ({isOpen}) => this.#panelShown(isOpen));
    on("lg-chat", ({text, key}) => this.live.send({op: "chat", text, key}) || this.box.interrupted());
    on("lg-like", ({count}) => this.live.send({op: "like", count}));
    on("lg-liked", ({x, y}) => this.#hearts(1, x, y));
    this.addEventListener("click", (event) => this.#pressed(event));
    this.querySelector("[name=pause]")?.addEventListener("change", (event) => this.#pause(event.target.checked));
    this.log.addEventListener("lg-followed", () => this.#unpause());
  }

  #pressed(event) {
    const button = event.target.closest("[data-act]");
    if (!button) return;
    event.preventDefault();
    if (button.dataset.act === "follow") this.#follow(button);
    else if (button.dataset.act === "share") this.#share();
    else if (this.panel.isOpen) this.panel.close();
    else this.panel.open();
  }

  // What arrives -----------------------------------------------------------------------------

  #replace(snapshot) {
    this.state.replace(snapshot);
    this.log.replace(snapshot.recent.map((frame) => this.#row(frame)).filter(Boolean));
    this.tray.keepOnly(new Set(this.state.streaks.keys()));
    for (const gift of this.state.streaks.values()) this.tray.gift(this.#gift(gift));
    this.#follows(snapshot.following);
    this.#numbers();
    if (this.state.isOver) this.#end();
  }

  #take(frames) {
    const rows = [];
    for (const frame of frames) {
      if (!this.state.take(frame)) continue;
      const row = this.#row(frame);
      if (row) rows.push(row);
      this.#tell(frame);
      if (frame.event === "gift") this.#gifted(frame);
      else if (frame.event === "member") this.log.joined(frame.data);
      else if (frame.event === "like") this.#liked(frame.data);
      else if (frame.event === "streamEnd") this.#end();
    }
    this.log.add(rows);
    this.#numbers();
  }

  #gifted({ts, data}) {
    const gift = this.#gift(data);
    if (this.#isStale(ts)) {
      if (data.repeatEnd) this.tray.gift(gift);
      return;
    }
    this.tray.gift(gift);
    const begins = data.giftType === 2 || (!data.repeatEnd && data.repeatCount === data.groupCount);
    if (begins) this.stage.play({tier: data.x.tier, coins: data.x.coins, count: data.groupCount, ...gift});
  }

  /** A gift as trays and effects take it. */
  #gift(data) {
    const known = this.items.get(data.giftId);
    const item = known ?? {number: data.giftId, name: data.giftName, coins: data.diamondCount, tier: data.x.tier, art: data.giftPictureUrl, streakable: data.giftType === 1};
    return {
      item,
      groupId: data.groupId,
      repeatCount: data.repeatCount,
      repeatEnd: data.repeatEnd,
      sender: data.user,
      isMine: data.userId === this.me?.userId,
    };
  }

  #liked({likeCount, userId}) {
    if (userId === this.me?.userId) return;
    const {left, top, width} = this.likes.getBoundingClientRect();
    this.#hearts(likeCount, left + width / 2, top);
  }

  #hearts(count, x, y) {
    const {left, top, width, height} = this.stage.getBoundingClientRect();
    this.stage.hearts(count, (x - left) / width, Math.min((y - top) / height, 0.98));
  }

  #row({seq, event, data}) {
    const row = {id: seq, kind: event, user: data.user, rank: data.topGifterRank ?? 0, isHost: data.userId === this.facts.room.creatorId};
    if (event === "chat") return {...row, text: data.comment};
    if (event === "gift") {
      if (!data.repeatEnd) return null;
      return {...row, text: data.giftName, count: data.repeatCount, art: data.giftPictureUrl};
    }
    return event === "follow" || event === "share" ? row : null;
  }

  /** What is read out, in batches; of a gift its end, and of one's own nothing but that. */
  #tell({event, data}) {
    if (event === "chat") polite(`${data.nickname}: ${data.comment}`);
    else if (event === "gift" && data.repeatEnd) polite(data.x.alt, {about: "gift"});
    else if (event === "follow" || event === "share") polite(data.x.alt);
  }

  #isStale(ts) {
    // Clocks differ: the least difference seen so far is that of an event that came at once.
    const off = Date.now() - ts;
    this.clockOff = Math.min(this.clockOff, off);
    return off - this.clockOff > STALE;
  }

  #numbers() {
    this.top.top = this.state.top;
    this.likes.total = this.state.likes;
    for (const place of this.querySelectorAll("[data-viewers]")) {
      place.textContent = tn("%(n)s viewer", "%(n)s viewers", this.state.viewers);
    }
  }

  #connection(name, facts) {
    const isOpen = name === "open";
    if (isOpen) this.gifting.resend();
    else this.box?.interrupted();
    if (name === "over" && (facts.code === 4410 || facts.code === "room_ended")) this.#end();
    const wasBroken = this.isBroken;
    this.isBroken = !isOpen && !this.state.isOver && (name === "waiting" || wasBroken);
    if (isOpen && wasBroken) status(t("Connected again."));
    this.#banner();
    if (this.box) this.box.isOpen = isOpen && this.can.has("chat");
  }

  #end() {
    if (this.classList.contains("is-over")) return;
    this.state.isOver = true;
    this.classList.add("is-over");
    this.panel?.isOpen && this.panel.close();
    this.likes.disabled = true;
    const end = this.querySelector(".room-end");
    end.hidden = false;
    end.querySelector("h2").focus();
    this.live.close();
  }

  // What the viewer does ---------------------------------------------------------------------

  #give({item, quantity}) {
    this.tray.press(item, quantity, this.me);
    this.gifting.give(item, quantity);
    this.#wallet(coinsNow());
  }

  #answered({item, quantity}, answer, refusal) {
    if (answer) {
      know(answer.balance.coins);
      status(t("Sent: %(gift)s, %(coins)s.", {gift: item.name, coins: coinsText(answer.gift.coins)}));
    } else {
      this.tray.takeBack(item, quantity);
      if (refusal.balance !== undefined) know(refusal.balance);
      this.panel.refused(refusal);
      if (!this.panel.isOpen) toast(refusal.detail, {kind: "bad"});
    }
    this.#wallet(coinsNow());
  }

  // What is in the way, over the room and beside the panel, until it no longer is.
  #banner() {
    let words = "";
    if (this.isBroken) words = t("Connecting again ...");
    else if (this.isLate) words = t("This takes longer. Your gift is kept.");
    const banner = this.querySelector(".room-banner");
    const place = banner.querySelector("span");
    if (words && words !== place.textContent) status(words);
    place.textContent = words;
    banner.hidden = !words;
  }

  #wallet(coins) {
    if (coins === undefined || !this.panel) return;
    this.panel.know(coins, this.gifting.coins);
    this.recharge.balance = coins;
    this.recharge.ask();
  }

  #answer(frame) {
    if (frame.op === "welcome") {
      this.can = new Set(frame.can);
      if (this.box) this.box.isOpen = this.can.has("chat");
      know(frame.balance?.coins);
    } else if (frame.op === "balance") {
      know(frame.coins);
    } else if (frame.key) {
      if (!this.gifting.answer(frame)) this.box?.answered(frame);
    }
  }

  #follow(button) {
    const following = button.getAttribute("aria-pressed") !== "true";
    if (this.live.send({op: "follow", following})) this.#follows(following);
  }

  #follows(following) {
    const button = this.querySelector("[data-act=follow]");
    if (!button) return;
    button.setAttribute("aria-pressed", following);
    button.querySelector("[data-follow]").textContent = following ? t("Following") : t("Follow");
  }

  async #share() {
    const address = location.origin + location.pathname;
    try {
      if (navigator.share) await navigator.share({title: document.title, url: address});
      else {
        await navigator.clipboard.writeText(address);
        toast(t("The address is copied."));
      }
    } catch {
      return; // Not shared after all.
    }
    this.live.send({op: "share"});
  }

  #pause(isPaused) {
    if (isPaused) this.log.pause();
    else this.log.follow();
  }

  #unpause() {
    const pause = this.querySelector("[name=pause]");
    if (pause) pause.checked = false;
  }

  #panelShown(isOpen) {
    this.classList.toggle("has-panel", isOpen);
    this.querySelector("[data-act=gift]").setAttribute("aria-expanded", isOpen);
  }
}

customElements.define("lg-live-room", LiveRoom);
