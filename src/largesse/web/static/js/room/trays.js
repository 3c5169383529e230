/**
 * Which gifts stand in the trays: one line for each streak, whose number ticks; own gifts first,
 * then by value; what finds no place waits.
 *
 * Pure: the time is handed in, in milliseconds.
 */

/** How long a line stays after its streak is over. */
const HOLD = 3_000;
/** The same while others wait for its place. */
const HOLD_WHILE_OTHERS_WAIT = 1_500;
/** A streak that says nothing for so long is not shown any more, whether its end came or not. */
const QUIET_MAX = 8_000;
/** A line is not pushed out sooner than this. */
const SEEN_MIN = 700;
const WAITING_MAX = 30;

export class Trays {
  /** `places` is how many lines are shown at once. */
  constructor(places) {
    this.places = places;
    /** Shown, from the top. */
    this.shown = [];
    this.waiting = [];
    this.number = 0;
  }

  /** The viewer pressed Send: his line is there at once, unconfirmed until the event comes. */
  press(item, quantity, sender, now) {
    const open = item.streakable && this.#find((line) => line.isMine && !line.isOver && line.item.id === item.id);
    if (open) {
      open.sent += quantity;
      open.touchedAt = now;
      return;
    }
    this.#add({item, sender, isMine: true, groupId: null, sent: quantity, confirmed: 0}, now);
  }

  /** A press was refused: its count is taken back. */
  takeBack(item, quantity) {
    const line = this.#find((one) => one.isMine && one.item.id === item.id && one.sent > one.confirmed);
    if (!line) return;
    line.sent = Math.max(line.sent - quantity, line.confirmed);
    if (line.sent === 0) this.#remove(line);
  }

  /** A gift event: the next count of a streak, or its end. */
  gift({groupId, repeatCount, repeatEnd, item, sender, isMine}, now) {
    let line =
      this.#find((one) => one.groupId === groupId) ??
      (isMine && this.#find((one) => one.isMine && one.groupId === null && one.item.number === item.number));
    if (!line) {
      if (repeatEnd && item.streakable) return; // The end of a streak that was not worth a place.
      line = this.#add({item, sender, isMine, groupId, sent: 0, confirmed: 0}, now);
    }
    line.groupId = groupId;
    line.confirmed = repeatCount;
    line.isOver = repeatEnd;
    if (repeatEnd) line.sent = repeatCount;
    line.touchedAt = now;
  }

  /** Let go what is over, and let in what waits. Returns when to look again, or null. */
  settle(now) {
    this.shown = this.shown.filter((line) => now < this.#leavesAt(line));
    this.waiting = this.waiting.filter((line) => line.isMine || now < line.touchedAt + QUIET_MAX);
    this.waiting.sort(byWorth);
    while (this.waiting.length > WAITING_MAX) this.waiting.pop();
    while (this.waiting.length && this.shown.length < this.places) this.#show(this.waiting.shift(), now);
    if (this.waiting[0]?.isMine) this.#makePlace(now);
    if (!this.shown.length) return null;
    const next = Math.min(...this.shown.map((line) => this.#leavesAt(line)));
    return this.waiting[0]?.isMine ? Math.min(next, now + SEEN_MIN) : next;
  }

  /** Streaks that a new snapshot knows nothing of are over. */
  keepOnly(groupIds, now) {
    for (const line of [...this.shown, ...this.waiting]) {
      if (line.groupId !== null && !line.isOver && !groupIds.has(line.groupId)) {
        line.isOver = true;
        line.touchedAt = now;
      }
    }
  }

  #find(is) {
    return this.shown.find(is) ?? this.waiting.find(is);
  }

  #add(line, now) {
    line = {...line, id: (this.number += 1), isOver: false, touchedAt: now, shownAt: now};
    this.waiting.push(line);
    return line;
  }

  #remove(line) {
    this.shown = this.shown.filter((one) => one !== line);
    this.waiting = this.waiting.filter((one) => one !== line);
  }

  #show(line, now) {
    line.shownAt = now;
    line.touchedAt = now;
    this.shown.push(line);
  }

  /** One's own gift does not wait behind those of others. */
  #makePlace(now) {
    const others = this.shown.filter((line) => !line.isMine && now >= line.shownAt + SEEN_MIN);
    if (!others.length) return;
    const least = this.shown.indexOf(others.sort(byWorth).at(-1));
    this.shown[least] = Object.assign(this.waiting.shift(), {shownAt: now, touchedAt: now});
  }

  #leavesAt(line) {
    if (!line.isOver) return line.touchedAt + QUIET_MAX;
    return line.touchedAt + (this.waiting.length ? HOLD_WHILE_OTHERS_WAIT : HOLD);
  }
}

/** The number beside the gift: what is confirmed, and what the viewer has pressed since. */
export function countOf(line) {
  return line.isOver ? line.confirmed : Math.max(line.confirmed, line.sent);
}

function byWorth(one, other) {
  return other.isMine - one.isMine || worthOf(other) - worthOf(one) || one.id - other.id;
}

function worthOf(line) {
  return line.item.coins * countOf(line);
}
