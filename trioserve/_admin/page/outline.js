/* Which rows the tree has: nodes that are not folded away, in order, and the rows that turn pages. Knows nothing of the
   document. */

import {count, counted, shortName} from "./words.js";

const FOLDED_AT_FIRST = new Set(["tasks"]);     // the server's own housekeeping

export class Outline {
  constructor() {
    this.rows = [];
    this.current = null;        // the id of the row that the keyboard is at
    this.selected = null;       // the id of the node whose details are shown
    this.folds = new Map();     // id -> true or false, where a person has said so
  }

  isFolded(node) { return this.folds.get(node.id) ?? FOLDED_AT_FIRST.has(node.kind); }

  fold(id, folded) { this.folds.set(id, folded); }

  /** Leave the outermost nodes, down to the connections. */
  foldAll(nodes) {
    for (const node of nodes.byId.values()) if (node.children.length) this.fold(node.id, !KEPT_OPEN.has(node.kind));
  }

  unfoldAll(nodes) {
    for (const node of nodes.byId.values()) this.fold(node.id, false);
  }

  /** The rows of `nodes`; `page` has the offset and the limit that they were asked for with. */
  lay(nodes, page) {
    const before = this.rows.findIndex((row) => row.id === this.current);
    this.rows = [];
    this._addRow(nodes.root, 0, 1, 1, page);
    if (!this.rows.some((row) => row.id === this.current)) {
      this.current = this.rows[Math.max(0, Math.min(before, this.rows.length - 1))].id;
    }
  }

  _addRow(node, depth, position, size, page) {
    const expanded = node.children.length ? !this.isFolded(node) : null;
    this.rows.push({id: node.id, node, depth, position, size, expanded, text: shortName(node.name)});
    if (!expanded) return;
    const before = node.kind === "connections" && page.offset > 0 ? 1 : 0, after = hiddenAfter(node, page) > 0 ? 1 : 0;
    const inside = before + node.children.length + after;
    if (before) this.rows.push(turnBack(node, depth + 1, inside, page));
    node.children.forEach((child, index) => this._addRow(child, depth + 1, before + index + 1, inside, page));
    if (after) this.rows.push(turnOn(node, depth + 1, inside, page));
  }
}

const KEPT_OPEN = new Set(["supervisor", "server", "connections"]);

/** Of the children that a snapshot leaves out, those that come after this page of connections. */
const hiddenAfter = (node, page) => (node.hidden ?? 0) - (node.kind === "connections" ? page.offset : 0);

/* Rows that are no nodes. `pages` says which way they turn; 0 for one that only says how much is not shown. */

const turnBack = (node, depth, size, page) => ({
  id: `${node.id} back`, node: null, depth, position: 1, size, expanded: null, pages: -1,
  text: `Back to the ${counted(page.offset, "connection")} before these`,
});

function turnOn(node, depth, size, page) {
  const rest = hiddenAfter(node, page), turns = node.kind === "connections";
  return {
    id: `${node.id} on`, node: null, depth, position: size, size, expanded: null, pages: turns ? 1 : 0,
    text: turns ? `On to the next ${count(Math.min(page.limit, rest))} of ${counted(rest, "more connection")}` : `${count(rest)} more are not shown`,
  };
}
