/* Draws the rows of an Outline. An element lives as long as its row, so focus, hover and a screen reader's place stay. */

import {icon, make, setAttribute, setText} from "./dom.js";
import {amount, called, count, left, shortPlace, stateOf, ticking} from "./words.js";

const SOON_SECONDS = 5;     // a deadline nearer than this is marked

export class Rows {
  constructor(element, nodes) {
    this.element = element;
    this.nodes = nodes;
    this.drawn = new Map();     // id -> the parts of a row
  }

  draw(outline, now) {
    const hadFocus = this.element.contains(document.activeElement);
    const wanted = new Set(outline.rows.map((row) => row.id));
    for (const [id, parts] of this.drawn) {
      if (!wanted.has(id)) {
        parts.row.remove();
        this.drawn.delete(id);
      }
    }
    let place = this.element.firstElementChild;
    for (const row of outline.rows) {
      const parts = this._parts(row);
      this._drawRow(parts, row, outline);
      if (parts.row === place) place = place.nextElementSibling;
      else this.element.insertBefore(parts.row, place);
    }
    this.tick(now);
    if (hadFocus && !this.element.contains(document.activeElement)) this.focus(outline);    // its row has moved or ended
  }

  focus(outline) { this.drawn.get(outline.current)?.row.focus(); }

  /** Scroll until the current row can be seen. */
  reveal(outline) { this.drawn.get(outline.current)?.row.scrollIntoView({block: "nearest"}); }

  _parts(row) {
    let parts = this.drawn.get(row.id);
    if (!parts) this.drawn.set(row.id, parts = row.node ? makeNodeRow(row) : makeTurnRow(row));
    return parts;
  }

  _drawRow(parts, row, outline) {
    const {row: element} = parts;
    parts.node = row.node;
    element.style.setProperty("--depth", row.depth);
    setAttribute(element, "aria-level", row.depth + 1);
    setAttribute(element, "aria-posinset", row.position);
    setAttribute(element, "aria-setsize", row.size);
    setAttribute(element, "aria-expanded", row.expanded);
    setAttribute(element, "aria-selected", row.id === outline.selected);
    element.tabIndex = row.id === outline.current ? 0 : -1;
    setText(parts.text, row.text);
    if (row.node) drawNode(parts, row.node);
  }

  /** What moves with the time. */
  tick(now) {
    for (const parts of this.drawn.values()) {
      if (!parts.node) continue;
      const age = this.nodes.age(parts.node, now), seconds = this.nodes.left(parts.node, now);
      setText(parts.age, age === undefined ? "" : ticking(age));
      setText(parts.left, seconds === undefined ? "" : left(seconds));
      parts.deadline.classList.toggle("soon", seconds < SOON_SECONDS);
      parts.deadline.classList.toggle("passed", seconds < 0);
      parts.bar.hidden = seconds === undefined;
      if (seconds !== undefined) parts.bar.style.setProperty("--left", this.nodes.fraction(parts.node, now));
    }
  }
}

function makeRow(id, className, ...cells) {
  const row = make("div", className, ...cells);
  row.dataset.id = id;
  row.setAttribute("role", "treeitem");
  return row;
}

function makeTurnRow({id}) {
  const text = make("span", "text");
  return {row: makeRow(id, "row more", make("span", "name", make("span", "fold"), text)), text, node: null};
}

function makeNodeRow({id, node}) {
  const fold = make("span", "fold", icon("arrow"));
  const text = make("span", "text"), detail = make("span", "tag"), shield = make("span", "tag", "shield"), where = make("span", "note");
  const state = make("span", "state"), age = make("span", "figure"), bytes = make("span", "figure");
  const left = make("span"), bar = make("i"), deadline = make("span", "figure deadline", left, bar);
  const name = make("span", "name", fold, icon(`kind-${node.kind}`, "kind"), text, detail, shield, where);
  const row = makeRow(id, node.isNew ? "row new" : "row", name, state, age, deadline, bytes);
  return {row, text, detail, shield, where, state, age, left, bar, deadline, bytes};
}

function drawNode(parts, node) {
  const state = stateOf(node);
  const {row} = parts;
  row.classList.toggle("cancelling", Boolean(node.cancelled) && !node.ended);
  row.classList.toggle("ended", node.ended);
  row.classList.toggle("plain", !state && node.age === undefined);
  setAttribute(row, "aria-label", called(node));
  setText(parts.detail, detailOf(node));
  setText(parts.where, shortPlace(node.where ?? ""));
  parts.detail.hidden = !detailOf(node);
  parts.shield.hidden = !node.shield;
  parts.where.title = node.where ?? "";
  parts.text.title = node.name;
  drawState(parts.state, state);
  setText(parts.bytes, node.bytes ? `${amount(node.bytes.received)} / ${amount(node.bytes.sent)}` : "");
  parts.deadline.title = node.deadline?.of ?? "";
}

const detailOf = (node) => node.detail ?? (node.counts ? count(Object.values(node.counts).reduce((sum, number) => sum + number, 0)) : "");

/** A symbol and a word; also in the details. */
export function drawState(element, state) {
  const key = state ? `${state.symbol} ${state.word}` : "";
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.dataset.state = state?.symbol ?? "";
  element.title = state?.word ?? "";
  element.replaceChildren(...(state ? [icon(`state-${state.symbol}`), make("span", "", state.word)] : []));
}
