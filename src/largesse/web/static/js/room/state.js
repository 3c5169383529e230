/**
 * A room as this browser knows it: a snapshot, then numbered events, each taken once.
 *
 * Pure: nothing here draws, waits or asks. What the room page shows is made from this.
 */

export class RoomState {
  constructor() {
    this.seq = 0;
    this.viewers = 0;
    this.likes = 0;
    /** The top gifters, best first: {user, coinCount}. */
    this.top = [];
    /** Open streaks by group id: the data of their newest gift. */
    this.streaks = new Map();
    this.isOver = false;
  }

  /** Begin anew from a snapshot: whatever was known before is gone. */
  replace(snapshot) {
    this.seq = snapshot.seq;
    this.viewers = snapshot.viewerCount;
    this.likes = snapshot.totalLikeCount;
    this.top = snapshot.topViewers;
    this.streaks = new Map(snapshot.streaks.map((gift) => [gift.groupId, gift]));
    this.isOver = !snapshot.room.isLive;
  }

  /** Take an event in. False where it was taken before, so that nobody shows it twice. */
  take({seq, event, data}) {
    if (seq <= this.seq) return false;
    this.seq = seq;
    if (event === "gift") {
      if (data.repeatEnd) this.streaks.delete(data.groupId);
      else this.streaks.set(data.groupId, data);
    } else if (event === "like") {
      this.likes = data.totalLikeCount;
    } else if (event === "roomUser") {
      this.viewers = data.viewerCount;
      this.top = data.topViewers;
    } else if (event === "streamEnd") {
      this.isOver = true;
      this.streaks.clear();
    }
    return true;
  }
}
