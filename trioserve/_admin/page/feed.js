/* What the server says: one event stream at a time, whether it is heard, and its pause. */

const AGAIN_MS = 2000;      // until a server that has stopped, or that refuses, is asked again

/** Calls `onSnapshot` with each snapshot, and `onStatus` when `status` changes. */
export class Feed {
  constructor({onSnapshot, onStatus}) {
    this.onSnapshot = onSnapshot;
    this.onStatus = onStatus;
    this.status = "connecting";     // then live, paused, lost or stopped
    this.paused = false;
    this.hidden = false;
    this.query = null;
    this.source = null;
    this.again = 0;
  }

  /** Ask for what `query` describes from now on. When paused, for one snapshot of it. */
  look(query) {
    this.query = query;
    if (!this.hidden) this._listen();
  }

  pause() {
    this.paused = true;
    this._stop();
    this._say("paused");
  }

  resume() {
    this.paused = false;
    this._listen();
  }

  /** Nobody sees the page: the server has nothing to send meanwhile. */
  hide(hidden) {
    this.hidden = hidden;
    if (hidden) this._stop();
    else if (!this.paused) this._listen();
  }

  _listen() {
    this._stop();
    const source = this.source = new EventSource(`tree/events?${this.query}`);
    source.addEventListener("tree", (event) => {
      if (this.paused) this._stop();
      else this._say("live");
      this.onSnapshot(JSON.parse(event.data));
    });
    source.addEventListener("end", () => {
      this._say("stopped");
      this._listenAgain();
    });
    source.addEventListener("error", () => {
      if (!this.paused && this.status !== "stopped") this._say("lost");
      if (source.readyState === EventSource.CLOSED) this._listenAgain();
    });
  }

  _listenAgain() {
    this._stop();
    this.again = setTimeout(() => this._listen(), AGAIN_MS);
  }

  _stop() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  _say(status) {
    if (this.status === status) return;
    this.status = status;
    this.onStatus(status);
  }
}
