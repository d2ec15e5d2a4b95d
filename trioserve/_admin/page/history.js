/* What has ended in the last seconds, and why: short requests are seen here, which no snapshot of the tree would have. */

import {$, icon, make, setText} from "./dom.js";
import {count, duration, ending} from "./words.js";

const MOST_SHOWN = 60;

/** Draw `entries`, newest first; the same elements are used again. */
export function drawHistory(entries, filter) {
  const list = $("history");
  const found = entries.filter((entry) => matches(entry, filter.toLowerCase()));
  const shown = found.slice(0, MOST_SHOWN);
  while (list.children.length > shown.length) list.lastElementChild.remove();
  shown.forEach((entry, index) => drawEntry(list.children[index] ?? list.appendChild(makeEntry()), entry));
  list.hidden = !shown.length;
  $("history-note").hidden = found.length > 0 && found.length <= MOST_SHOWN;
  setText($("history-note"), found.length ? `And ${count(found.length - MOST_SHOWN)} more.` : "Nothing has ended.");
}

const matches = (entry, text) => !text || [entry.name, entry.client, entry.request_id, entry.reason, entry.status]
  .some((field) => field !== undefined && String(field).toLowerCase().includes(text));

const makeEntry = () => make("li", "", make("span", "mark"), make("span", "line"), make("span", "took"),
  make("span", "result", make("b"), make("span", "why")));

function drawEntry(item, entry) {
  const {symbol, result, circumstances} = ending(entry);
  const [mark, line, took, outcome] = item.children;
  if (item.dataset.state !== symbol) {
    item.dataset.state = symbol;
    mark.replaceChildren(icon(`state-${symbol}`));
  }
  setText(line, entry.name);
  line.title = entry.name;
  setText(took, duration(entry.seconds));
  setText(outcome.firstChild, result);
  setText(outcome.lastChild, circumstances);
  outcome.title = circumstances;
}
