/* The selected node: what it is, and the await stack that it stands at. */

import {$, facts, make, setText} from "./dom.js";
import {canCancel, whyNot} from "./cancel.js";
import {amount, counted, left, shortFile, shortName, shortPlace, stateOf, ticking} from "./words.js";

export class Detail {
  constructor(nodes, askToCancel) {
    this.nodes = nodes;
    this.node = null;
    this.facts = make("dl", "facts");
    this.title = make("h3", "", "Await stack, the innermost frame first");
    this.stack = make("ol", "stack");
    this.stack.tabIndex = 0;
    this.stack.setAttribute("aria-label", "Await stack, the innermost frame first");
    this.note = make("p", "hint");
    this.why = make("p", "hint");
    this.button = make("button", "danger");
    this.button.addEventListener("click", () => askToCancel(this.node));
    $("detail").append(this.facts, this.title, this.stack, this.note, this.why, this.button);
  }

  /** Show `node`, or that nothing is selected. */
  show(node, now) {
    this.node = node;
    setText($("title-detail"), node ? node.name : "Nothing selected");
    $("detail").hidden = $("detail-close").hidden = !node;
    $("detail-hint").hidden = Boolean(node);
    document.querySelector(".detail").classList.toggle("open", Boolean(node));
    if (!node) return;
    this.tick(now);
    this._drawStack(node);
    this.button.hidden = !canCancel(node);
    setText(this.button, `Cancel this ${node.kind}`);
    this.why.hidden = canCancel(node) || node.kind !== "task" || node.ended || node.gone || node.cancelled;
    setText(this.why, whyNot(node));
  }

  tick(now) {
    if (!this.node) return;
    const {node, nodes} = this;
    const age = nodes.age(node, now), seconds = nodes.left(node, now);
    facts(this.facts, [
      ["kind", node.detail ? `${node.kind}, ${node.detail}` : node.kind],
      ["state", node.gone ? "not in the tree any more" : stateOf(node)?.word],
      ["age", age === undefined ? "" : ticking(age)],
      ["deadline", seconds === undefined ? "" : `${left(seconds)}, ${node.deadline.of}`],
      ["shield", node.shield ? "a cancellation from outside does not reach into it" : ""],
      ["received", node.bytes ? amount(node.bytes.received) : ""],
      ["sent", node.bytes ? amount(node.bytes.sent) : ""],
      ["request id", node.request_id],
      ["waits at", node.stack ? "" : shortPlace(node.where ?? "")],
      ["id", node.id],
    ]);
  }

  _drawStack(node) {
    const frames = node.stack ?? [];
    const key = JSON.stringify(frames);
    this.title.hidden = this.stack.hidden = !frames.length;
    this.note.hidden = frames.length > 0 || node.ended || node.gone;
    setText(this.note, STACKLESS.has(node.kind) ? "A node of this kind has no await stack. Its requests and tasks have." : "No await stack is known.");
    if (this.stack.dataset.key === key) return;
    this.stack.dataset.key = key;
    this.stack.replaceChildren(...drawFrames(frames.toReversed()));
  }
}

const STACKLESS = new Set(["supervisor", "server", "listeners", "listener", "connections", "connection", "tasks", "scope"]);

/** An item for each frame of the application. Frames of the machinery between two of them share an item, folded. */
function drawFrames(innermostFirst) {
  const runs = [];
  for (const frame of innermostFirst) {
    const run = runs.at(-1);
    if (frame.machinery && run?.[0].machinery) run.push(frame);
    else runs.push([frame]);
  }
  const here = innermostFirst.find((frame) => !frame.machinery);
  return runs.map((run) => run[0].machinery ? drawMachinery(run) : drawOwn(run[0], run[0] === here));
}

const drawMachinery = (frames) => make("li", "machinery", make("details", "",
  make("summary", "", counted(frames.length, "frame of the machinery", "frames of the machinery")),
  ...frames.map((frame) => make("p", "", make("span", "function", shortName(frame.function)), placeOf(frame)))));

const drawOwn = (frame, isHere) => make("li", isHere ? "here" : "",
  make("span", "function", shortName(frame.function)), isHere ? make("span", "tag", "waits here") : "", placeOf(frame));

function placeOf({file, line}) {
  const place = make("span", "place", `${shortFile(file)}:${line}`);
  place.title = `${file}:${line}`;
  return place;
}
