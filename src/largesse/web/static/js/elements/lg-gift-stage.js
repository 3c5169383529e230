/**
 * <lg-gift-stage>: what is made of a gift beyond its tray: a burst, half the screen, all of it.
 *
 * One effect at a time, five seconds at most, and each can be skipped. Whoever asked for less motion
 * sees the gift stand there for as long, without anything that flies.
 */

import {LitElement, html, nothing} from "../../vendor/lit/lit.js";
import {keyed} from "../../vendor/lit/directives/keyed.js";
import {t} from "../core/i18n.js";
import {effects} from "../core/preferences.js";
import {EffectQueue, LASTS} from "../room/effects.js";
import {Particles} from "../room/particles.js";
import {icon, name, words} from "../room/parts.js";

const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const HEARTS_AT_ONCE = 6;

export class GiftStage extends LitElement {
  #queue = new EffectQueue();
  #playing = null;
  #number = 0;
  #timer;
  #particles;

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener("lg-preferences", this.#changed);
    document.addEventListener("visibilitychange", this.#changed);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    document.removeEventListener("lg-preferences", this.#changed);
    document.removeEventListener("visibilitychange", this.#changed);
    this.#stop();
  }

  firstUpdated() {
    this.#particles = new Particles(this.querySelector("canvas"));
  }

  /** A gift that may deserve more than its tray: {tier, coins, isMine, item, sender}. */
  play(gift) {
    if (document.hidden) return;
    this.#queue.add(gift, effects());
    if (!this.#playing) this.#next();
  }

  /** Some hearts rise from a place, given as parts of width and height. */
  hearts(count, x, y) {
    if (effects() === "off" || reduced.matches) return;
    this.#particles?.burst("heart", Math.min(count, HEARTS_AT_ONCE), x, y);
  }

  #changed = () => {
    if (document.hidden || effects() === "off") this.#stop();
  };

  #stop() {
    this.#queue.clear();
    this.#particles?.clear();
    this.#end();
  }

  #next() {
    const effect = this.#queue.next();
    if (!effect) return;
    this.#playing = {...effect, number: (this.#number += 1)};
    this.#timer = setTimeout(() => this.#end(), LASTS[effect.tier]);
    if (!reduced.matches) this.#fly(effect);
    this.requestUpdate();
  }

  #fly({tier}) {
    const burst = (kind, count, x, y) => this.#particles?.burst(kind, count, x, y);
    if (tier === 2) burst("spark", 26, 0.5, 0.42);
    else {
      burst("coin", tier === 3 ? 60 : 90, 0.5, 0.5);
      burst("spark", tier === 3 ? 30 : 60, 0.5, 0.45);
    }
  }

  #end() {
    clearTimeout(this.#timer);
    this.#playing = null;
    this.requestUpdate();
    this.#next();
  }

  #skip() {
    this.#particles?.clear();
    this.#end();
  }

  render() {
    return html`<canvas class="stage-canvas" aria-hidden="true"></canvas>
      ${this.#playing ? keyed(this.#playing.number, this.#effect(this.#playing)) : nothing}`;
  }

  #effect({tier, item, sender, isMine, count}) {
    const who = isMine ? t("You") : name(sender.nickname);
    const told = html`<p class="effect-words">${words(t("%(name)s sent %(gift)s"), {name: who, gift: html`<strong>${item.name}</strong>`})}${count > 1 ? ` ×${count}` : nothing}</p>`;
    return html`<div class="effect effect-${tier}" aria-hidden="true">
        ${tier > 2 ? html`<span class="effect-rays"></span>` : nothing}
        <img class="effect-art" src=${item.art} alt="" width="160" height="160">
        ${tier > 2 ? told : nothing}
      </div>
      ${tier > 2 ? html`<button class="effect-skip button" type="button" @click=${this.#skip}>${icon("close", "s")}${t("Skip")}</button>` : nothing}`;
  }
}

customElements.define("lg-gift-stage", GiftStage);
