/* The tree by keyboard: the tree view pattern of the ARIA Authoring Practices, and two shortcuts for the whole page. */

const STEPS = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity};
const TYPEAHEAD_MS = 700;   // letters typed faster than this are one beginning of a name

/** `outline` says which rows there are; `acts` has go(row), fold(row, folded), choose(row) and cancel(row). */
export function walkTree(element, outline, acts) {
  const typed = {text: "", at: 0};
  element.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = outline.rows;
    const at = rows.findIndex((row) => row.id === outline.current);
    if (at < 0) return;
    const row = rows[at];
    if (event.key in STEPS) acts.go(rows[Math.min(rows.length - 1, Math.max(0, at + STEPS[event.key]))]);
    else if (event.key === "ArrowRight") goIn(rows, at, acts);
    else if (event.key === "ArrowLeft") goOut(rows, at, acts);
    else if (event.key === "Enter" || event.key === " ") acts.choose(row);
    else if (event.key === "Delete") acts.cancel(row);
    else if (/^[\p{L}\p{N}]$/u.test(event.key)) goTo(rows, at, event, typed, acts);
    else return;
    event.preventDefault();
  });
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

function goTo(rows, at, event, typed, acts) {
  const again = event.timeStamp - typed.at < TYPEAHEAD_MS;
  typed.text = (again ? typed.text : "") + event.key.toLowerCase();
  typed.at = event.timeStamp;
  const from = at + (typed.text.length === 1 ? 1 : 0);
  const found = [...rows.slice(from), ...rows.slice(0, from)].find((row) => row.text.toLowerCase().startsWith(typed.text));
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
