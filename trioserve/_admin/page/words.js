/* How lengths of time, amounts and states are said. Pure functions. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Seconds: "1.1 ms", "0.42 s", "12.3 s", "4:05 min", "3:12 h", "2 d 03 h". */
export function duration(seconds) {
  if (seconds < .00005) return "< 0.1 ms";
  if (seconds < .0995) return `${(seconds * 1000).toFixed(seconds < .00995 ? 1 : 0)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)} h`;
  return `${Math.floor(whole / 86400)} d ${two(Math.floor(whole / 3600) % 24)} h`;
}

/** What moves from second to second needs no more than tenths. */
export const ticking = (seconds) => seconds < 59.95 ? `${Math.max(0, seconds).toFixed(1)} s` : duration(seconds);

export const left = (seconds) => seconds < 0 ? "passed" : ticking(seconds);

export function amount(bytes) {
  let unit = 0;
  for (; bytes >= 1000 && unit < UNITS.length - 1; unit++) bytes /= 1024;
  return `${unit === 0 || bytes >= 99.95 ? Math.round(bytes) : bytes.toFixed(1)} ${UNITS[unit]}`;
}

export const count = (number) => number.toLocaleString("en");

export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** What a node's state column says, with the symbol and the colour for it: {word, symbol}. */
export function stateOf(node) {
  if (node.ended) return node.cancelled ? {word: `ended: ${node.reason ?? "cancelled"}`, symbol: "cancelled"} : {word: "ended", symbol: "finished"};
  if (node.cancelled) return {word: node.reason ?? "cancelled", symbol: "cancelled"};
  if (node.state) return {word: node.state, symbol: SYMBOLS[node.state] ?? node.state};
  return null;
}

const SYMBOLS = {                   // of states that no connection has
  STARTING: "OPENING", READY: "finished", RUNNING: "running", DELAY: "FAREWELL", DRAINING: "FAREWELL",
  STOPPING: "FAREWELL", SILENT: "failed", ENDED: "IDLE",
};

/** "/srv/site/main.py:12 (outer.<locals>.inner)" becomes "inner, main.py:12". */
export function shortPlace(where) {
  const [, line, name] = where.match(/([^/]+:\d+) \((.*)\)$/) ?? [];
  return line ? `${shortName(name)}, ${line}` : where;
}

/** Without the functions around a function, and without the folders of trioserve's own tasks. */
export const shortName = (name) => name.replace(/^.*<locals>\./, "").replace(/^trioserve\.(?:\w+\.)*(?=\w+\.\w+$)/, "");

/** A library's file with its package; otherwise the file with its folder. */
export const shortFile = (file) => file.match(/site-packages\/(.+)$/)?.[1] ?? file.split("/").slice(-2).join("/");

/** How a person would call the node: for screen readers, and for what is said about it. */
export function called(node) {
  const state = stateOf(node);
  return [node.kind, node.name !== node.kind && node.name, node.detail, state?.word, node.shield && "shielded", node.where && `waits at ${shortPlace(node.where)}`]
    .filter(Boolean).join(", ");
}

/** Of an entry of the history: {symbol, result, circumstances}. */
export function ending(entry) {
  const cut = Boolean(entry.reason);
  const failed = entry.kind !== "websocket" && (entry.status >= 500 || entry.status === 0 || entry.kind === "refused");
  const result = entry.kind === "websocket" ? `closed ${entry.close_code}` : entry.status ? `${entry.status}` : "no answer";
  const version = entry.version === "-" ? "no HTTP" : `HTTP/${entry.version}`;
  return {
    symbol: cut ? "cancelled" : failed ? "failed" : "finished",
    result: entry.reason ? `${result}, ${entry.reason}` : result,
    circumstances: [version, entry.client, `${amount(entry.sent)} sent`].join(" · "),
  };
}
