"""Plain ASGI, each path one behaviour. What happens inside is said on stderr, where the tests wait for it."""

import asyncio
import gc
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import sniffio
import trio

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def say(text: str) -> None:
    sys.stderr.write(f"probe: {text}\n")  # in one piece: several processes may share the pipe
    sys.stderr.flush()


class Visit:
    """One request, or one WebSocket."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.query = dict(parse_qsl(scope["query_string"].decode()))

    def say(self, text: str) -> None:
        say(f"{self.query.get('token', self.scope['path'])} {text}")

    async def start(self, status: int = 200, **headers: str) -> None:
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})

    async def body(self, data: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, data: bytes, status: int = 200, **headers: str) -> None:
        await self.start(status, content_length=str(len(data)), **headers)
        await self.body(data)

    async def answer_json(self, value: Any) -> None:
        await self.answer(json.dumps(value).encode(), content_type="application/json")

    # A WebSocket's.

    async def accept(self, **answer: Any) -> None:
        await self.receive()
        await self.send({"type": "websocket.accept", **answer})

    async def text(self, text: str) -> None:
        await self.send({"type": "websocket.send", "text": text})

    async def heard_to_the_end(self) -> None:
        """Receive until the client has gone, and say how it went."""
        while (message := await self.receive())["type"] == "websocket.receive":
            pass
        self.say_end(message)

    def say_end(self, message: Message) -> None:
        self.say(f"closed {message['code']} {message['reason']!r}")


# Ordinary behaviour.


async def hello(visit: Visit) -> None:
    await visit.answer(b"Hello, world!", x_client_port=str(visit.scope["client"][1]))


async def echo(visit: Visit) -> None:
    """The whole body, then the whole body back."""
    visit.say("entered")
    parts = []
    while True:
        message = await visit.receive()
        if message["type"] == "http.disconnect":
            visit.say("disconnected")
            return
        parts.append(message["body"])
        if not message["more_body"]:
            break
    await visit.answer(b"".join(parts))


async def digest(visit: Visit) -> None:
    """Length and SHA-256 of the body, read in pieces."""
    count, found = 0, hashlib.sha256()
    while True:
        message = await visit.receive()
        count += len(message["body"])
        found.update(message["body"])
        if not message["more_body"]:
            break
    await visit.answer_json({"bytes": count, "sha256": found.hexdigest(), "method": visit.scope["method"]})


async def mirror(visit: Visit) -> None:
    """Each piece of the body back as soon as it comes."""
    await visit.start()
    await visit.body(b"", more=True)
    while True:
        message = await visit.receive()
        if message["type"] == "http.disconnect":
            visit.say("disconnected")
            return
        await visit.body(message["body"], more=message["more_body"])
        if not message["more_body"]:
            return


async def parts(visit: Visit) -> None:
    """``count`` parts of ``size`` bytes each, the length not announced."""
    await visit.start(content_type="application/octet-stream")
    for _ in range(int(visit.query.get("count", 100))):
        await visit.body(b"x" * int(visit.query.get("size", 1024)), more=True)
    await visit.body(b"")


# Behaviour that does not end by itself.


async def endless(visit: Visit) -> None:
    """A response for as long as there is somebody to send it to."""
    try:
        await visit.start()
        while True:
            await visit.body(b"x" * int(visit.query.get("size", 65536)), more=True)
    except OSError as exc:
        visit.say(f"{type(exc).__name__}")
        raise


async def events(visit: Visit) -> None:
    """Server-Sent Events, many a second."""
    await visit.start(content_type="text/event-stream")
    try:
        while True:
            await visit.body(b"data: tick\n\n", more=True)
            await anyio.sleep(0.02)
    except OSError as exc:
        visit.say(f"{type(exc).__name__}")
        raise
    except anyio.get_cancelled_exc_class():
        visit.say("cancelled")
        raise


async def watch(visit: Visit) -> None:
    """Waits for the client to leave, with the response begun."""
    await visit.receive()
    await visit.start()
    await visit.body(b"watching", more=True)
    visit.say((await visit.receive())["type"])


async def hold(visit: Visit) -> None:
    """Reads nothing and says nothing until somebody says so."""
    await sleep_until_woken(visit)
    await visit.answer(b"let go")


async def hang(visit: Visit) -> None:
    visit.say("hanging")
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        visit.say("cancelled")
        raise


async def hang_midway(visit: Visit) -> None:
    await visit.start()
    await visit.body(b"begun", more=True)
    await hang(visit)


async def spin(visit: Visit) -> None:
    """Busy, but with checkpoints."""
    visit.say("spinning")
    try:
        while True:
            await anyio.lowlevel.checkpoint()
    except anyio.get_cancelled_exc_class():
        visit.say("cancelled")
        raise


# Misbehaviour.


class Deliberate(Exception):
    """Raised on purpose."""


async def fail(visit: Visit) -> None:
    raise Deliberate("before the response")


async def fail_in_group(visit: Visit) -> None:
    async with anyio.create_task_group() as children:
        children.start_soon(fail, visit)
        children.start_soon(anyio.sleep_forever)


async def fail_midway(visit: Visit) -> None:
    await visit.start()
    await visit.body(b"begun", more=True)
    await anyio.lowlevel.checkpoint()
    raise Deliberate("in the middle of the response")


async def leave_process(visit: Visit) -> None:
    sys.exit(1)


async def return_early(visit: Visit) -> None:
    """No response at all."""


async def return_midway(visit: Visit) -> None:
    await visit.start()
    await visit.body(b"begun", more=True)


async def return_short(visit: Visit) -> None:
    await visit.start(content_length="1000")
    await visit.body(b"begun", more=True)


START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b""}
NONSENSE: dict[str, list[Any]] = {
    "not-a-dict": ["http.response.start"],
    "no-type": [{"status": 200}],
    "unknown-type": [{"type": "http.response.begin"}],
    "body-first": [END],
    "start-twice": [START, START],
    "status-text": [{**START, "status": "200"}],
    "status-interim": [{**START, "status": 100}],
    "header-text": [{**START, "headers": [("name", "value")]}],
    "header-injection": [{**START, "headers": [(b"name", b"value\r\nset-cookie: stolen=1")]}],
    "header-name": [{**START, "headers": [(b"bad name", b"value")]}],
    "body-text": [START, {**END, "body": "text"}],
    "body-too-long": [{**START, "headers": [(b"content-length", b"2")]}, {**END, "body": b"long"}],
    "body-too-short": [{**START, "headers": [(b"content-length", b"2")]}, {**END, "body": b"s"}],
    "websocket": [{"type": "websocket.accept"}],
}


async def nonsense(visit: Visit) -> None:
    for message in NONSENSE[visit.query["kind"]]:
        await visit.send(message)


# WebSockets.


async def ws_echo(visit: Visit) -> None:
    """Accepts with the first subprotocol offered; its messages are the client's."""
    await visit.accept(subprotocol=first_subprotocol(visit))
    while (message := await visit.receive())["type"] == "websocket.receive":
        await visit.send({**message, "type": "websocket.send"})
    visit.say_end(message)


def first_subprotocol(visit: Visit) -> str | None:
    return next(iter(visit.scope["subprotocols"]), None)


async def ws_scope(visit: Visit) -> None:
    """What the handshake said, as JSON, and the last word."""
    await visit.accept(subprotocol=first_subprotocol(visit))
    scope = {name: visit.scope[name] for name in ("type", "scheme", "path", "http_version", "subprotocols")}
    fields = {name.decode(): value.decode() for name, value in visit.scope["headers"]}
    await visit.text(json.dumps({**scope, "query": visit.query, "headers": fields}))
    await visit.heard_to_the_end()


async def ws_close(visit: Visit) -> None:
    """Closes, in the words of the query."""
    await visit.accept()
    await visit.text("the last word")
    reason = visit.query.get("reason", "")
    await visit.send({"type": "websocket.close", "code": int(visit.query["code"]), "reason": reason})


async def ws_refuse(visit: Visit) -> None:
    await visit.receive()
    await visit.send({"type": "websocket.close"})


async def ws_deny(visit: Visit) -> None:
    """An HTTP response instead of a WebSocket."""
    await visit.receive()
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"11"), (b"x-reason", b"quota")]
    await visit.send({"type": "websocket.http.response.start", "status": 429, "headers": fields})
    await visit.send({"type": "websocket.http.response.body", "body": b"no more, ", "more_body": True})
    await visit.send({"type": "websocket.http.response.body", "body": b"ok"})


async def ws_fail(visit: Visit) -> None:
    """Fails when the client says something."""
    await visit.accept()
    await visit.receive()
    raise Deliberate("in a WebSocket")


async def ws_undecided(visit: Visit) -> None:
    """Never answers the handshake."""
    await visit.receive()
    visit.say("undecided")
    visit.say_end(await visit.receive())


async def ws_flood(visit: Visit) -> None:
    """Messages for as long as there is somebody to send them to."""
    await visit.accept()
    try:
        while True:
            await visit.text("x" * 1000)
    except OSError as exc:
        visit.say(f"{type(exc).__name__}")
        raise


async def ws_deaf(visit: Visit) -> None:
    """Does not receive until somebody says so; then says how many bytes of messages there have been."""
    await visit.accept()
    await sleep_until_woken(visit)
    await count_bytes(visit)


async def ws_late(visit: Visit) -> None:
    """Does not even answer the handshake until then."""
    await sleep_until_woken(visit)
    await visit.accept()
    await count_bytes(visit)


async def count_bytes(visit: Visit) -> None:
    count = 0
    while (message := await visit.receive())["type"] == "websocket.receive":
        count += len(message["bytes"])
        await visit.text(str(count))
    visit.say_end(message)


SLEEPERS: dict[str, anyio.Event] = {}


async def sleep_until_woken(visit: Visit) -> None:
    woken = SLEEPERS[visit.query["token"]] = anyio.Event()
    visit.say("sleeps")
    await woken.wait()


async def wake(visit: Visit) -> None:
    SLEEPERS.pop(visit.query["token"]).set()
    await visit.answer(b"woken")


# What only a supervisor can mend.


async def die(visit: Visit) -> None:
    """As by the kernel's OOM killer."""
    os.kill(os.getpid(), signal.SIGKILL)


async def leave_at_once(visit: Visit) -> None:
    os._exit(7)


async def wedge(visit: Visit) -> None:
    """The event loop stands still."""
    visit.say("wedged")
    stand_still()


def stand_still() -> None:
    while True:
        time.sleep(1000)


HOARD: list[bytes] = []


async def hoard(visit: Visit) -> None:
    """Keeps ``size`` bytes for good."""
    HOARD.append(b"x" * int(visit.query["size"]))
    await visit.answer(b"kept")


# What the server keeps.


async def census(visit: Visit) -> None:
    """How many tasks and requests there are in this process."""
    gc.collect()
    exchanges = sum(type(found) is Visit for found in gc.get_objects())
    await visit.answer_json({"tasks": count_tasks(), "visits": exchanges, "loop": name_of_loop(), "pid": os.getpid()})


def count_tasks() -> int:
    if sniffio.current_async_library() == "asyncio":
        return len(asyncio.all_tasks())
    root = trio.lowlevel.current_root_task()
    return count_below(root) if root is not None else 0


def count_below(task: trio.lowlevel.Task) -> int:
    return 1 + sum(count_below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


def name_of_loop() -> str:
    if sniffio.current_async_library() == "trio":
        return "trio"
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


HANDLERS = {
    f"/{handler.__name__}": handler
    for handler in (
        hello, echo, digest, mirror, parts, endless, events, watch, hold, hang, hang_midway, spin, fail, fail_in_group,
        fail_midway, leave_process, return_early, return_midway, return_short, nonsense, die, leave_at_once, wedge,
        hoard, census, wake,
    )
}
SOCKET_HANDLERS = {
    handler.__name__.replace("ws_", "/"): handler
    for handler in (ws_echo, ws_scope, ws_close, ws_refuse, ws_deny, ws_fail, ws_undecided, ws_flood, ws_deaf, ws_late)
}


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    say("lifespan began")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    say("lifespan ended")
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    visit = Visit(scope, receive, send)
    if scope["type"] == "websocket":
        await SOCKET_HANDLERS[scope["path"]](visit)
        return
    handler = HANDLERS.get(scope["path"])
    if handler is None:
        await visit.answer(b"no such behaviour", 404)
    else:
        await handler(visit)


async def never_ending(scope: Scope, receive: Receive, send: Send) -> None:
    """Its resources take for ever to close."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await anyio.sleep_forever()
    await app(scope, receive, send)
