/* The nodes of the last snapshot, by their ids, and those that have ended a moment ago and are watched until they are
   gone. docs/reference/tree.md has the schema. Knows nothing of the document. */

const GHOST_SECONDS = 4;        // how long one sees what a cancellation has ended
const MOST_GHOSTS = 60;

export class Nodes {
  constructor() {
    this.byId = new Map();
    this.root = null;
    this.takenAt = 0;           // of performance.now(), in seconds
    this.isFirst = true;
    this.watched = new Set();   // ids whose end is shown: they have been cancelled from this page
    this.spans = new Map();     // id -> the longest time that its deadline was seen to leave
  }

  /** Replace what is known by `snapshot`, which came at `now`, in seconds. */
  take(snapshot, now) {
    const before = this.byId;
    this.byId = new Map();
    this.takenAt = now;
    this.root = this._add(snapshot.root, null, before);
    for (const node of before.values()) this._keepGhost(node, now);
    forget(this.spans, this.byId);
    forget(this.watched, this.byId);
    this.isFirst = false;
  }

  _add(raw, parent, before) {
    const node = {...raw, parent, ended: false, isNew: !this.isFirst && !before.has(raw.id)};
    this.byId.set(node.id, node);
    node.children = (raw.children ?? []).map((child) => this._add(child, node, before));
    if (raw.deadline) this.spans.set(raw.id, Math.max(this.spans.get(raw.id) ?? 0, raw.deadline.seconds));
    return node;
  }

  /** A watched node that is missing has ended. It stays for a while at its place, with what ended around it. */
  _keepGhost(old, now) {
    const parent = old.parent && this.byId.get(old.parent.id), isCancelled = this._isWatched(old);
    if (this.byId.has(old.id) || !parent || !(isCancelled || this._holdsWatched(old))) return;
    const endedAt = old.endedAt ?? now;
    if (now - endedAt > GHOST_SECONDS || this._ghosts() >= MOST_GHOSTS) return;
    const ghost = {...old, parent, endedAt, reason: isCancelled ? this._reasonOf(old) : undefined, ended: true, cancelled: isCancelled, isNew: false, cancellable: false, children: []};
    parent.children.splice(Math.min(old.parent.children.indexOf(old), parent.children.length), 0, ghost);
    this.byId.set(ghost.id, ghost);
  }

  _ghosts() {
    let count = 0;
    for (const node of this.byId.values()) count += node.ended;
    return count;
  }

  _isWatched(node) {
    for (let above = node; above; above = above.parent) if (above.cancelled || this.watched.has(above.id)) return true;
    return false;
  }

  /** Why it was cancelled: as it says itself, or the nearest node around it that does. An application does not say why. */
  _reasonOf(node) {
    for (let above = node; above; above = above.parent) {
      if (above.reason) return above.reason;
      if (this.watched.has(above.id)) return "admin";
    }
    return undefined;
  }

  _holdsWatched(node) { return node.children.some((child) => this.watched.has(child.id) || this._holdsWatched(child)); }

  /** Show the end of this node and of all below it, or no longer, because it could not be cancelled. */
  watch(id) { this.watched.add(id); }
  unwatch(id) { this.watched.delete(id); }

  /** Seconds since `node` began, at `now`; undefined where that is not known. */
  age(node, now) {
    return node.age === undefined ? undefined : node.age + this._since(node, now);
  }

  /** Seconds until its deadline, below 0 when that has passed; undefined without one. */
  left(node, now) {
    return node.deadline && !node.ended ? node.deadline.seconds - this._since(node, now) : undefined;
  }

  /** How much is left of its deadline, from 1 when this page saw it first to 0. */
  fraction(node, now) {
    const span = this.spans.get(node.id);
    return span > 0 ? Math.min(1, Math.max(0, this.left(node, now) / span)) : 0;
  }

  _since(node, now) { return node.ended ? 0 : now - this.takenAt; }

  ofKind(kind) { return [...this.byId.values()].filter((node) => node.kind === kind); }

  /** How many connections there are, shown or not. */
  connections() {
    let sum = 0;
    for (const number of this.counts().values()) sum += number;
    return sum;
  }

  /** How many connections are in each state, of all workers together. */
  counts() {
    const sums = new Map();
    for (const {counts = {}} of this.ofKind("connections")) {
      for (const [state, number] of Object.entries(counts)) sums.set(state, (sums.get(state) ?? 0) + number);
    }
    return sums;
  }
}

/** Keep only what is about nodes that are there. */
function forget(kept, byId) {
  for (const id of kept.keys()) if (!byId.has(id)) kept.delete(id);
}
