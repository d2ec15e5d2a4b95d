/* The tree by keyboard: the tree view pattern of the ARIA Authoring Practices, and two shortcuts for the whole page. */

const STEPS = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity};
const TYPEAHEAD_MS = 700;   // letters typed faster than this are one beginning of a name

/** `outline` says which rows there are; `acts` has go(row), fold(row, folded), choose(row) and cancel(row). */
export function walkTree(element, outline, acts) {
  const beginning = new Beginning();
  element.addEventListener("keydown", (event) => {
    const rows = outline.rows, at = rows.findIndex((row) => row.id === outline.current);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    if (beginning.goesOn(event)) goTo(rows, at, beginning.text, acts);      // a space and a slash are letters then
    else if (event.key in STEPS) acts.go(rows[Math.min(rows.length - 1, Math.max(0, at + STEPS[event.key]))]);
    else if (event.key === "ArrowRight") goIn(rows, at, acts);
    else if (event.key === "ArrowLeft") goOut(rows, at, acts);
    else if (event.key === "Enter" || event.key === " ") acts.choose(rows[at]);
    else if (event.key === "Delete") acts.cancel(rows[at]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Of a name, as far as somebody has typed it. */
class Beginning {
  text = "";
  at = -Infinity;

  /** Whether the key belongs to it. A letter or a digit may begin a new one; a key of another kind ends it. */
  goesOn({key, timeStamp}) {
    const continues = timeStamp - this.at < TYPEAHEAD_MS;
    const belongs = continues ? key.length === 1 : /^[\p{L}\p{N}]$/u.test(key);
    this.text = belongs ? (continues ? this.text : "") + key.toLowerCase() : "";
    this.at = belongs ? timeStamp : -Infinity;
    return belongs;
  }
}

function goIn(rows, at, acts) {
  const row = rows[at];
  if (row.expanded === false) acts.fold(row, false);
  else if (row.expanded && rows[at + 1]?.depth > row.depth) acts.go(rows[at + 1]);
}

function goOut(rows, at, acts) {
  const row = rows[at];
  if (row.expanded) acts.fold(row, true);
  else {
    const parent = rows.slice(0, at).findLast((other) => other.depth < row.depth);
    if (parent) acts.go(parent);
  }
}

function goTo(rows, at, beginning, acts) {
  const from = beginning.length === 1 ? at + 1 : at;
  const found = [...rows.slice(from), ...rows.slice(0, from)].find((row) => row.text.toLowerCase().startsWith(beginning));
  if (found) acts.go(found);
}

/** `.` and `/` anywhere but in a field; Escape leaves the field. */
export function shortcuts({pause, filter}) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("dialog")) return;
    const writes = event.target instanceof HTMLInputElement;
    if (writes && event.key === "Escape") event.target.blur();
    if (writes || !(event.key === "." || event.key === "/")) return;
    event.preventDefault();
    if (event.key === ".") pause();
    else filter();
  });
}
