/**
 * <lg-top-gifters>: who gave most. Three pictures; pressed, a sheet with this live and all time.
 */

import {html, nothing, render} from "../../vendor/lit/lit-html.js";
import {get} from "../core/api.js";
import {t} from "../core/i18n.js";
import {closeDialog, closeOutside} from "../room/dialogs.js";
import {avatar, coins, icon, name} from "../room/parts.js";

const ROWS = 50;

class TopGifters extends HTMLElement {
  #top = [];
  #scope = "room";
  #lists = {};
  #isOpen = false;

  /** {room: id, user: id of the viewer or null}; set by the room. */
  facts = {};

  connectedCallback() {
    this.replaceChildren();
    this.#draw();
  }

  /** The best, first: {user, coinCount}. */
  set top(top) {
    this.#top = top;
    this.#draw();
  }

  #open() {
    this.#isOpen = true;
    this.#draw();
    this.querySelector("dialog").showModal();
    this.#load("room");
  }

  async #load(scope) {
    this.#scope = scope;
    this.#draw();
    try {
      const list = await get(`/v1/rooms/${this.facts.room}/top-gifters?scope=${scope}&limit=${ROWS}`);
      this.#lists = {...this.#lists, [scope]: list};
    } catch (refusal) {
      this.#lists = {...this.#lists, [scope]: {problem: refusal.message}};
    }
    this.#draw();
  }

  #closed() {
    this.#isOpen = false;
    this.#draw();
  }

  #draw() {
    const three = this.#top.slice(0, 3);
    render(html`<button class="top-button" type="button" aria-haspopup="dialog" aria-label=${t("Top gifters")} title=${t("Top gifters")} @click=${this.#open}>
        ${three.length ? three.map(({user}, index) => html`<span class="top-face top-face-${index + 1}">${avatar(user)}</span>`) : icon("crown")}
      </button>
      ${this.#isOpen ? this.#sheet() : nothing}`, this, {host: this});
  }

  #sheet() {
    return html`<dialog class="sheet top-sheet" aria-labelledby="top-title" @close=${this.#closed} @click=${closeOutside}>
      <div class="sheet-header">
        <h2 id="top-title">${t("Top gifters")}</h2>
        <button class="button button-icon button-quiet" type="button" aria-label=${t("Close")} @click=${closeDialog}>${icon("close")}</button>
      </div>
      <div class="sheet-body">
        <div class="segments top-scopes" role="group" aria-label=${t("Of which time")}>
          ${this.#choice("room", t("This live"))}${this.#choice("creator", t("All time"))}
        </div>
        ${this.#list(this.#lists[this.#scope])}
      </div>
      <div class="sheet-footer top-own">${this.#own(this.#lists[this.#scope])}</div>
    </dialog>`;
  }

  #choice(scope, text) {
    return html`<button class="segment" type="button" aria-pressed=${this.#scope === scope ? "true" : "false"} @click=${() => this.#load(scope)}>${text}</button>`;
  }

  #list(list) {
    if (!list) return html`<p class="soft" aria-busy="true">${t("One moment ...")}</p>`;
    if (list.problem) return html`<p role="alert">${list.problem}</p>`;
    if (!list.top_gifters.length) return html`<p class="soft top-nobody">${t("Nobody has sent a gift yet. The first one stands at the top.")}</p>`;
    return html`<ol class="top-rows">${list.top_gifters.map((row) => this.#row(row))}</ol>`;
  }

  #row(row) {
    const user = {profilePictureUrl: `/avatars/${row.viewer_id}.svg`};
    const isMine = row.viewer_id === this.facts.user;
    return html`<li class="top-row ${isMine ? "is-mine" : ""}">
      <span class="top-rank top-rank-${row.rank}">${row.rank}</span>${avatar(user, "m")}
      <span class="top-name">${name(row.viewer_name ?? t("Somebody"))}${isMine ? html` <span class="soft">(${t("you")})</span>` : nothing}</span>
      ${coins(row.coins)}
    </li>`;
  }

  #own(list) {
    if (!this.facts.user) return t("Log in to see where you stand.");
    if (!list?.top_gifters) return nothing;
    if (!list.you) return t("You have not sent a gift here yet.");
    return html`<span>${t("You are number %(rank)s", {rank: list.you.rank})}</span>${coins(list.you.coins)}`;
  }
}

customElements.define("lg-top-gifters", TopGifters);
