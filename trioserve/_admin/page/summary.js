/* What stands around the tree: figures, states with their counts, and what one should know about this server now. */

import {$, facts, icon, make, setText} from "./dom.js";
import {count, ticking} from "./words.js";

const STATES = ["APP", "AFTER", "HEAD", "OPENING", "FAREWELL", "IDLE"];

const STATUS = {
  connecting: "connecting", live: "live", paused: "paused", lost: "connection lost", refused: "refused", stopped: "server stopped",
};

const OLD_SECONDS = 3;

const PHASES = {
  STARTING: "is starting: it does not accept connections yet.",
  DELAY: "will stop. It still accepts connections, so that those who send them have time to hear of it.",
  DRAINING: "is draining: it accepts nobody, and lets the requests in progress finish.",
  STOPPING: "is stopping: its connections have ended, and the application's lifespan ends.",
  SILENT: "does not answer, so its connections are not shown.",
};

export function drawFigures(nodes, {trioserve}, now) {
  const {root} = nodes;
  setText($("version"), trioserve);
  facts($("figures"), [
    [root.kind, root.detail],
    ["connections", count(nodes.connections())],
    ["up", ticking(nodes.age(root, now) ?? 0)],
  ]);
}

/** A button for each state that a connection is in; it filters by that state. */
export function drawStates(nodes, filter) {
  const counts = nodes.counts();
  const buttons = $("states").children.length ? $("states").children : makeStateButtons();
  for (const button of buttons) {
    const number = counts.get(button.dataset.filter) ?? 0;
    setText(button.lastElementChild, count(number));
    button.setAttribute("aria-pressed", filter === button.dataset.filter);
    button.classList.toggle("none", number === 0);
  }
}

function makeStateButtons() {
  for (const name of STATES) {
    const state = make("span", "state", icon(`state-${name}`), name);
    state.dataset.state = name;
    const button = make("button", "", state, make("b"));
    button.dataset.filter = name;
    $("states").append(button);
  }
  return $("states").children;
}

/** Whether this page is up to date, and which server is not simply serving. */
export function drawNotice({status, why}, nodes) {
  setText($("status"), STATUS[status]);
  $("status").dataset.status = status;
  const lines = status in STALE ? [STALE[status], why] : phases(nodes);
  $("notice").hidden = !lines.length;
  setText($("notice"), lines.join(" "));
}

/** A large tree comes less often: one should know how old it is. `seconds` is its age. */
export function drawStaleness(seconds) {
  setText($("status"), seconds < OLD_SECONDS ? STATUS.live : `live, ${Math.floor(seconds)} s old`);
}

const STALE = {
  lost: "The server does not answer. What stands here is old; this page goes on trying.",
  refused: "The server refuses to show its tree; this page goes on trying.",
  stopped: "The server has stopped. What stands here is its last state; this page goes on trying.",
};

const phases = (nodes) => nodes.ofKind("server").filter(({state}) => state in PHASES)
  .map(({name, state}) => `${name === "trioserve" ? "The server" : name} ${PHASES[state]}`);

export function drawEmptiness(nodes, filter) {
  const isEmpty = filter !== "" && !nodes.ofKind("connection").length;
  $("empty").hidden = !isEmpty;
  setText($("empty"), isEmpty ? `No connection with “${filter}” in its address, state or request line.` : "");
}

export function drawLimits(sentences) {
  const list = $("limits");
  const text = sentences.join("\n");
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...sentences.map((sentence) => make("li", "", sentence)));
}
