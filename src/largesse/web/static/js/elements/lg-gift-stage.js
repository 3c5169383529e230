/**
 * <lg-gift-stage>: what is made of a gift beyond its tray: a burst, half the screen, all of it.
 *
 * One effect at a time, five seconds at most, and each can be skipped. Whoever asked for less motion
 * sees the gift stand there for as long, without anything that flies.
 */

import {html, nothing, render} from "../../vendor/lit/lit-html.js";
import {t} from "../core/i18n.js";
import {effects} from "../core/preferences.js";
import {EffectQueue, LASTS} from "../room/effects.js";
import {Particles} from "../room/particles.js";
import {icon, name, words} from "../room/parts.js";

const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const HEARTS_AT_ONCE = 6;
/** Coins and sparks by tier. */
const FLYING = {2: [0, 26], 3: [60, 30], 4: [90, 60]};

class GiftStage extends HTMLElement {
  #queue = new EffectQueue();
  #playing = null;
  #timer;
  #particles;

  connectedCallback() {
    const canvas = document.createElement("canvas");
    canvas.className = "stage-canvas";
    canvas.setAttribute("aria-hidden", "true");
    this.replaceChildren(canvas);
    this.#particles = new Particles(canvas);
    document.addEventListener("lg-preferences", this.#changed);
    document.addEventListener("visibilitychange", this.#changed);
  }

  disconnectedCallback() {
    document.removeEventListener("lg-preferences", this.#changed);
    document.removeEventListener("visibilitychange", this.#changed);
    this.#stop();
  }

  /** A gift that may deserve more than its tray: {tier, coins, count, isMine, item, sender}. */
  play(gift) {
    if (document.hidden) return;
    this.#queue.add(gift, effects());
    if (!this.#playing) this.#next();
  }

  /** Some hearts rise from a place, given as parts of width and height. */
  hearts(count, x, y) {
    if (effects() === "off" || reduced.matches) return;
    this.#particles.burst("heart", Math.min(count, HEARTS_AT_ONCE), x, y);
  }

  #changed = () => {
    if (document.hidden || effects() === "off") this.#stop();
  };

  #stop() {
    this.#queue.clear();
    this.#particles.clear();
    this.#end();
  }

  #next() {
    const effect = this.#queue.next();
    if (!effect) return;
    this.#playing = document.createElement("div");
    this.append(this.#playing);
    render(this.#effect(effect), this.#playing, {host: this});
    this.#timer = setTimeout(() => this.#end(), LASTS[effect.tier]);
    if (!reduced.matches) this.#fly(effect.tier);
  }

  #fly(tier) {
    const [coins, sparks] = FLYING[tier];
    this.#particles.burst("coin", coins, 0.5, 0.45);
    this.#particles.burst("spark", sparks, 0.5, 0.42);
  }

  #end() {
    clearTimeout(this.#timer);
    this.#playing?.remove();
    this.#playing = null;
    this.#next();
  }

  #skip() {
    this.#particles.clear();
    this.#end();
  }

  #effect({tier, item, sender, isMine, count}) {
    const isLarge = tier > 2;
    const who = isMine ? t("You") : name(sender.nickname);
    const told = words(t("%(name)s sent %(gift)s"), {name: who, gift: html`<strong>${item.name}</strong>`});
    return html`<div class="effect effect-${tier}" aria-hidden="true">
        ${isLarge ? html`<span class="effect-rays"></span>` : nothing}
        <img class="effect-art" src=${item.art} alt="" width="160" height="160">
        ${isLarge ? html`<p class="effect-words">${told}${count > 1 ? ` ×${count}` : nothing}</p>` : nothing}
      </div>
      ${isLarge ? html`<button class="effect-skip button" type="button" @click=${this.#skip}>${icon("close", "s")}${t("Skip")}</button>` : nothing}`;
  }
}

customElements.define("lg-gift-stage", GiftStage);
