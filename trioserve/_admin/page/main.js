/* Puts the parts together: the feed fills the nodes, the outline chooses rows, and everything is drawn from these. */

import {askToCancel, canCancel, whenCancelled, whyNot} from "./cancel.js";
import {Detail} from "./detail.js";
import {$, setText, speak} from "./dom.js";
import {Feed} from "./feed.js";
import {drawHistory} from "./history.js";
import {shortcuts, walkTree} from "./keyboard.js";
import {Nodes} from "./nodes.js";
import {Outline} from "./outline.js";
import {Rows} from "./rows.js";
import {drawEmptiness, drawFigures, drawLimits, drawNotice, drawStaleness, drawStates} from "./summary.js";
import {counted} from "./words.js";

const PAGE_CONNECTIONS = 50;
const INTERVAL_SECONDS = 0.5;   // from one snapshot to the next
const TICK_MS = 200;            // ages and deadlines move on in between
const TYPING_MS = 250;          // a filter is asked for when nobody has typed for so long

const nodes = new Nodes(), outline = new Outline();
const rows = new Rows($("tree"), nodes), detail = new Detail(nodes, askToCancel);
const feed = new Feed({onSnapshot: take, onStatus: () => drawNotice(feed, nodes)});
const view = {offset: 0, limit: PAGE_CONNECTIONS, filter: "", stack: ""};
let snapshot = null;
let toldFilter = "";            // what it found has been said to who cannot see it

const now = () => performance.now() / 1000;

function look() {
  const query = new URLSearchParams({limit: view.limit, offset: view.offset, interval: INTERVAL_SECONDS});
  if (view.filter) query.set("filter", view.filter);
  if (view.stack) query.set("stack", view.stack);
  feed.look(query);
}

function take(latest) {
  snapshot = latest;
  nodes.take(latest, now());
  draw();
  if (toldFilter !== latest.view.filter) {
    toldFilter = latest.view.filter;
    speak(counted(nodes.connections(), "connection"));
  }
}

function draw() {
  if (!snapshot) return;
  outline.lay(nodes, snapshot.view);
  rows.draw(outline, now());
  detail.show(selectedNode(), now());
  drawFigures(nodes, snapshot, now());
  drawStates(nodes, view.filter);
  drawNotice(feed, nodes);
  drawEmptiness(nodes, view.filter);
  drawLimits(snapshot.cannot_show);
  drawHistory(snapshot.ended, view.filter);
}

/** A node that has left the tree, or this page of it, stays in the details as it was last seen. */
function selectedNode() {
  if (!outline.selected) return null;
  return nodes.byId.get(outline.selected) ?? (detail.node && {...detail.node, gone: true, cancellable: false});
}

/* -- what a person does -- */

function choose(id) {
  outline.selected = id;
  if (id) outline.current = id;
  view.stack = id ?? "";
  draw();
  rows.reveal(outline);           // the details may lie above it now
  look();
}

function filter(text) {
  $("filter").value = text;
  view.filter = text.trim();
  view.offset = 0;
  look();
}

function cancel(node) {
  if (node && canCancel(node)) askToCancel(node);
  else speak(whyNot(node));
}

const acts = {
  go(row) {
    outline.current = row.id;
    rows.draw(outline, now());
    rows.focus(outline);
  },
  fold(row, folded) {
    outline.fold(row.id, folded);
    draw();
  },
  choose(row) {
    if (row.node) choose(row.id);
    else if (row.pages) {
      view.offset = Math.max(0, view.offset + row.pages * view.limit);
      look();
    }
  },
  cancel: (row) => cancel(row.node),
};

whenCancelled(({id}) => nodes.watch(id), ({id}) => nodes.unwatch(id));
walkTree($("tree"), outline, acts);
shortcuts({pause: togglePause, filter: () => $("filter").focus()});

$("tree").addEventListener("click", (event) => {
  const row = outline.rows.find(({id}) => id === event.target.closest(".row")?.dataset.id);
  if (!row) return;
  acts.go(row);
  if (event.target.closest(".fold") && row.expanded !== null) acts.fold(row, row.expanded);
  else acts.choose(row);
});

$("tree").addEventListener("focusin", (event) => {     // a mouse or a screen reader has put the focus there
  outline.current = event.target.dataset.id;
  rows.draw(outline, now());
});

function togglePause() {
  if (feed.paused) feed.resume();
  else feed.pause();
  $("pause").setAttribute("aria-pressed", feed.paused);
  speak(feed.paused ? "Paused" : "Live again");
}

let typing = 0;
$("filter").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => filter($("filter").value), TYPING_MS);
});
$("states").addEventListener("click", (event) => {
  const state = event.target.closest("button")?.dataset.filter;
  if (state) filter(state === view.filter ? "" : state);
});
$("pause").addEventListener("click", togglePause);
$("detail-close").addEventListener("click", () => {
  choose(null);
  rows.focus(outline);
});
$("fold-all").addEventListener("click", () => { outline.foldAll(nodes); draw(); });
$("unfold-all").addEventListener("click", () => { outline.unfoldAll(nodes); draw(); });
document.addEventListener("visibilitychange", () => feed.hide(document.hidden));

setInterval(() => {
  if (!snapshot || feed.status !== "live") return;
  drawStaleness(now() - nodes.takenAt);
  rows.tick(now());
  detail.tick(now());
}, TICK_MS);
look();
