/* The selected node: what it is, and the await stack that it stands at. */

import {$, facts, make, setText} from "./dom.js";
import {canCancel} from "./cancel.js";
import {amount, left, stateOf, ticking} from "./words.js";

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
    this.button = make("button", "danger");
    this.button.addEventListener("click", () => askToCancel(this.node));
    $("detail").append(this.facts, this.title, this.stack, this.note, this.button);
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
      ["waits at", node.where],
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
    const innermostFirst = frames.toReversed();
    const here = innermostFirst.find((frame) => !frame.machinery);
    this.stack.replaceChildren(...innermostFirst.map((frame) => drawFrame(frame, frame === here)));
  }
}

const STACKLESS = new Set(["supervisor", "server", "listeners", "listener", "connections", "connection", "tasks", "scope"]);

function drawFrame(frame, isHere) {
  const item = make("li", frame.machinery ? "machinery" : "", make("span", "function", frame.function));
  if (isHere) {
    item.className = "here";
    item.append(make("span", "tag", "waits here"));
  }
  item.append(make("span", "place", `${frame.file}:${frame.line}`));
  return item;
}
