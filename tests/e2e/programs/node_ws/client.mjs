// One WebSocket of the package ws, driven from outside: commands come as JSON lines on stdin, and everything that
// happens leaves as JSON lines on stdout. Binary data is in base64.
//
//     node client.mjs URL [SUBPROTOCOL ...]

import {createInterface} from "node:readline";
import WebSocket from "ws";

const [url, ...subprotocols] = process.argv.slice(2);
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const socket = new WebSocket(url, subprotocols, {handshakeTimeout: 20_000, maxPayload: 64 << 20});

socket.on("open", () => tell({type: "open", subprotocol: socket.protocol, extensions: socket.extensions}));
socket.on("message", (data, isBinary) =>
  tell({type: "message", ...(isBinary ? {bytes: data.toString("base64")} : {text: data.toString()})}));
socket.on("ping", () => tell({type: "ping"}));
socket.on("pong", (data) => tell({type: "pong", payload: data.toString()}));
socket.on("close", (code, reason) => tell({type: "close", code, reason: reason.toString()}));
socket.on("error", (error) => tell({type: "error", message: error.message}));
socket.on("unexpected-response", async (request, response) => {
  let body = "";
  for await (const part of response) body += part;
  tell({type: "refused", status: response.statusCode, body});
  request.destroy();
});

const commands = {
  send: ({text, bytes}) => socket.send(text ?? Buffer.from(bytes, "base64")),
  ping: ({payload}) => socket.ping(payload),
  close: ({code, reason}) => socket.close(code, reason),
};
createInterface({input: process.stdin}).on("line", (line) => {
  const {command, ...given} = JSON.parse(line);
  commands[command](given);
});
