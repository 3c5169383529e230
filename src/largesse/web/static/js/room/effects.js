/**
 * Which effect plays next: one at a time, own gifts first, then by value; what nobody would wait
 * for is dropped.
 *
 * Pure. Tiers are those of the wire: 1 tray only, 2 a burst, 3 half the screen, 4 all of it.
 */

/** How long each tier plays, in milliseconds; never longer than five seconds. */
export const LASTS = {2: 1_500, 3: 3_000, 4: 4_500};

const WAITING_MAX = 12;

export class EffectQueue {
  constructor() {
    this.waiting = [];
  }

  /** `mode` is all, small or off: with small, everything is a burst. */
  add(effect, mode) {
    const tier = mode === "off" ? 1 : mode === "small" ? Math.min(effect.tier, 2) : effect.tier;
    if (tier < 2) return;
    this.waiting.push({...effect, tier});
    this.waiting.sort((one, other) => other.isMine - one.isMine || other.coins - one.coins);
    this.waiting.length = Math.min(this.waiting.length, WAITING_MAX);
  }

  next() {
    return this.waiting.shift();
  }

  clear() {
    this.waiting = [];
  }
}
