/* The question before something is cancelled, and the request that does it. */

import {$, setText, speak} from "./dom.js";

const EFFECTS = {
  connection: "Every request of this connection, and all that they have started, is cancelled. Then the connection is closed.",
  request: "The application is cancelled where it stands, with all that it has started. A response that has begun is cut short.",
  stream: "The application is cancelled where it stands, and this stream is reset. The connection's other streams go on.",
  websocket: "The application is cancelled where it stands, with all that it has started, and the WebSocket is closed.",
  nursery: "All tasks of this nursery are cancelled where they stand. What is around the nursery goes on.",
  task: "The task is cancelled where it stands, with all that it has started.",
  scope: "What runs inside this scope is cancelled. What is around the scope goes on.",
};

let token = tokenOfAddress();
let asked = null;
let onCancelled = () => {}, onRefused = () => {};

/** It comes with the address that the start line has, and does not stay in the browser's history. */
function tokenOfAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

export const canCancel = (node) => Boolean(node.cancellable) && !node.cancelled && !node.ended;

/** Why there is no button. */
export const whyNot = (node) => node?.kind === "task" && !node.ended
  ? "This task cannot be cancelled by itself. On trio, nurseries and cancel scopes can: the one that it is in, or one of its own."
  : "This cannot be cancelled by itself.";

/** `heard` is called with each node that a person is about to cancel, and `refused` with it when that has failed. */
export function whenCancelled(heard, refused) {
  onCancelled = heard;
  onRefused = refused;
}

/** Ask whether `node` is to be cancelled; if it is, do it. */
export function askToCancel(node) {
  asked = node;
  setText($("cancel-title"), `Cancel this ${node.kind}?`);
  setText($("cancel-what"), node.name);
  setText($("cancel-effect"), EFFECTS[node.kind] ?? "");
  complainOf("");
  $("cancel").showModal();
  $(token ? "cancel-no" : "cancel-token").focus();
}

$("cancel-no").addEventListener("click", () => $("cancel").close());
$("cancel-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  token ||= $("cancel-token").value.trim();
  $("cancel-yes").disabled = true;
  onCancelled(asked);
  const problem = await cancel(asked.id);
  $("cancel-yes").disabled = false;
  if (problem) {
    onRefused(asked);
    complainOf(problem);
  } else {
    $("cancel").close();
    speak(`Cancelled: ${asked.kind} ${asked.name}`);
  }
});

/** What is wrong, or an empty text. */
async function cancel(id) {
  try {
    const answer = await fetch("cancel", {
      method: "POST",
      headers: {"Authorization": `Bearer ${token}`, "Content-Type": "application/json"},
      body: JSON.stringify({id}),
    });
    if (answer.status === 401) token = "";      // ask for it again
    return answer.ok ? "" : (await answer.json()).error;
  } catch (error) {
    return `The server has not answered as it should: ${error.message}`;
  }
}

function complainOf(problem) {
  setText($("cancel-problem"), problem);
  $("cancel-problem").hidden = !problem;
  $("cancel-token-row").hidden = token !== "";
  $("cancel-token").required = token === "";
  $("cancel-token").value = "";
}
