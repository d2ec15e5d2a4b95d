/* What the server says: one event stream at a time, whether it is heard, and its pause. */

const AGAIN_MS = 2000;      // until a server that has stopped, or that refuses, is asked again

/** Calls `onSnapshot` with each snapshot, and `onStatus` when `status` or `why` has changed. */
export class Feed {
  constructor({onSnapshot, onStatus}) {
    this.onSnapshot = onSnapshot;
    this.onStatus = onStatus;
    this.status = "connecting";     // then live, paused, lost, refused or stopped
    this.why = "";                  // in the server's words, when it has refused
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
    const source = this.source = new EventSource(this._url);
    source.addEventListener("tree", (event) => {
      if (this.paused) this._stop();
      this._say(this.paused ? "paused" : "live");
      this.onSnapshot(JSON.parse(event.data));
    });
    source.addEventListener("end", () => {
      this._say("stopped");
      this._listenAgain();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this._explain();
      else this._lose();
    });
  }

  /** Nobody answers. Of a paused page nobody expects it, and of a server that has stopped it is known. */
  _lose() {
    if (!this.paused && this.status !== "stopped") this._say("lost");
  }

  /** The answer was no event stream. What it was, an EventSource does not tell. */
  async _explain() {
    this._listenAgain();
    const asking = new AbortController();
    try {
      const answer = await fetch(this._url, {signal: asking.signal});
      if (answer.ok) asking.abort();          // it would have no end; the next try will hear it
      else this._say("refused", await answer.text());
    } catch {
      this._lose();
    }
  }

  get _url() { return `tree/events?${this.query}`; }

  _listenAgain() {
    this._stop();
    this.again = setTimeout(() => this._listen(), AGAIN_MS);
  }

  _stop() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
  }

  _say(status, why = "") {
    if (this.status === status) return;
    this.status = status;
    this.why = why;
    this.onStatus();
  }
}
