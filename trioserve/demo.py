"""The bundled example: a nursery, watched live in a browser.

    python -m trioserve trioserve.demo:app

The page starts *runs*. A run is one request, ``POST /gather``, whose handler asks six services at once, each in a child
task of one nursery. It can end in five ways: every child finishes, one fails, the deadline passes, the browser hangs
up, or the server cancels the request. In each of them the nursery ends only when all of its children have ended, so the
answer never leaves work behind. ``GET /events`` streams what happens to every open page.

This is an ASGI application like any other. It imports anyio and nothing of trioserve: any server can run it, on trio
or on asyncio. One extension of trioserve is used where it is there: it says that the server begins to stop. ``gather``
is the function to read first.
"""

import json
import math
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qs

import anyio
from anyio.lowlevel import current_token

__all__ = ["app"]

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

SERVICES = {"profile": 1.6, "orders": 3.2, "stock": 4.1, "prices": 5.4, "weather": 6.8, "advice": 8.5}
"""Name of each child and the seconds that its service takes to answer."""

EVENT_STREAM_SECONDS = 15.0  # then the browser connects again: a server without the extension waits no longer to stop
REFRESH_SECONDS = 1.0        # a snapshot at least this often: the figures move, and a browser that left is noticed
STREAM_PAUSE_SECONDS = 0.02  # between two parts of /stream, so that a person can see them arrive
KEPT_RUNS = 4


class ServiceFailed(Exception):
    """A child's service answered with an error: somebody pressed the child's button."""


# -- one request, one nursery ----------------------------------------------------------------------------------------


async def gather(scope: Scope, receive: Receive, send: Send) -> None:
    """Ask every service at once, and answer when the last child has ended, however it ended."""
    board: Board = scope["state"]["board"]
    run = board.start_run(deadline_seconds=query_number(scope, "deadline", default=math.inf, most=60.0))
    try:
        async with anyio.create_task_group() as request_tasks:
            request_tasks.start_soon(cancel_when_client_leaves, receive, run)
            try:
                with run.cancel_scope:
                    async with anyio.create_task_group() as nursery:
                        for child in run.children:
                            nursery.start_soon(child.ask_service, name=child.name)
            except* ServiceFailed:
                pass                                    # its siblings have been cancelled, and have ended, by now
            request_tasks.cancel_scope.cancel()         # the watcher has nothing left to watch
    finally:
        run.end()
    if not run.client_left:
        await send_json(send, run.report())


async def cancel_when_client_leaves(receive: Receive, run: "Run") -> None:
    """A server with ``--on-disconnect cancel`` does this by itself; the demo works with either setting."""
    while (await receive())["type"] != "http.disconnect":
        pass
    run.client_left = True
    run.cancel_scope.cancel()


class Child:
    """One task of a run's nursery. It keeps what the page shows of it; it does not know how it is drawn."""

    def __init__(self, run: "Run", name: str, seconds: float) -> None:
        self.run, self.name, self.seconds = run, name, seconds
        self.state: Literal["running", "finished", "failed", "cancelled"] = "running"
        self.why = ""
        self.ended_after = math.inf
        self.told_to_fail = anyio.Event()

    async def ask_service(self) -> None:
        """Wait as long as the service takes.

        Raises:
            ServiceFailed: the child was told to fail first.
        """
        try:
            with anyio.move_on_after(self.seconds):
                await self.told_to_fail.wait()
                raise ServiceFailed(self.name)
            self.end("finished")
        except ServiceFailed:
            self.end("failed", "the service answered with an error")
            raise
        except anyio.get_cancelled_exc_class():
            self.end("cancelled", self.run.why_cancelled())
            raise                                       # a task that swallows its cancellation is one that leaks

    def end(self, state: Literal["finished", "failed", "cancelled"], why: str = "") -> None:
        self.state, self.why, self.ended_after = state, why, self.run.age()
        self.run.board.tell_pages()

    def report(self) -> dict[str, Any]:
        elapsed = min(self.run.age(), self.ended_after)
        return {"name": self.name, "seconds": self.seconds, "elapsed": round(elapsed, 3), "state": self.state,
                "why": self.why}


class Run:
    """One ``POST /gather``: a cancel scope around a nursery of children."""

    def __init__(self, board: "Board", number: int, deadline_seconds: float) -> None:
        self.board, self.number, self.deadline_seconds = board, number, deadline_seconds
        self.started_at = anyio.current_time()
        self.ended_after = math.inf
        self.client_left = False
        self.cancel_scope = anyio.CancelScope(deadline=self.started_at + deadline_seconds)
        self.children = [Child(self, name, seconds) for name, seconds in SERVICES.items()]

    def age(self) -> float:
        return anyio.current_time() - self.started_at

    def why_cancelled(self) -> str:
        for child in self.children:
            if child.state == "failed":
                return f"its sibling {child.name} failed"
        if self.client_left:
            return "the browser hung up"
        if anyio.current_time() >= self.cancel_scope.deadline:
            return "the deadline passed"
        return "the server cancelled the request"

    def end(self) -> None:
        self.ended_after = self.age()
        self.board.tell_pages()

    def is_running(self) -> bool:
        return math.isinf(self.ended_after)

    def report(self) -> dict[str, Any]:
        return {"number": self.number, "state": "running" if self.is_running() else "ended",
                "elapsed": round(min(self.age(), self.ended_after), 3),
                "deadline": self.deadline_seconds if math.isfinite(self.deadline_seconds) else None,
                "children": [child.report() for child in self.children]}


# -- what every open page sees ---------------------------------------------------------------------------------------


class Board:
    """The state that all pages share. It lives as long as the lifespan, and reaches requests as ``scope["state"]``."""

    def __init__(self) -> None:
        self.started_at = anyio.current_time()
        self.requests = 0
        self.open_streams = 0
        self.runs: deque[Run] = deque(maxlen=KEPT_RUNS)
        self.runs_started = 0
        self.stopping = False
        self.changed = anyio.Event()

    def start_run(self, deadline_seconds: float) -> Run:
        self.runs_started += 1
        run = Run(self, self.runs_started, deadline_seconds)
        self.runs.appendleft(run)
        self.tell_pages()
        return run

    def tell_pages(self) -> None:
        """Wake every event stream. An Event is set once, so the next change gets a new one."""
        self.changed.set()
        self.changed = anyio.Event()

    def snapshot(self) -> dict[str, Any]:
        event_loop = type(current_token().native_token).__module__
        return {"backend": event_loop.partition(".")[0],                # "trio", "asyncio" or "uvloop"
                "requests": self.requests, "streams": self.open_streams, "stopping": self.stopping,
                "uptime": round(anyio.current_time() - self.started_at),
                "services": SERVICES, "runs": [run.report() for run in self.runs]}

    def has_nothing_left_to_tell(self) -> bool:
        return self.stopping and not any(run.is_running() for run in self.runs)


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """Server-Sent Events, until the stream is old enough, the server stops, or the browser leaves.

    When the browser has left, ``send()`` raises an ``OSError`` of the server's. It may pass, in the group that the
    nursery makes of it: nobody is left to answer.
    """
    board: Board = scope["state"]["board"]
    board.open_streams += 1
    board.tell_pages()
    try:
        async with anyio.create_task_group() as stream_tasks:
            stream_tasks.start_soon(notice_shutdown, scope, board)
            await send_snapshots(send, board)
            stream_tasks.cancel_scope.cancel()          # nobody is left whom a shutdown would interest
    finally:
        board.open_streams -= 1
        board.tell_pages()


async def send_snapshots(send: Send, board: Board) -> None:
    """A snapshot at each change, and one a second when nothing changes."""
    await send_head(send, 200, b"text/event-stream", (b"cache-control", b"no-store"))
    await send_part(send, b"retry: 250\n\n")            # milliseconds until the browser connects again
    end = anyio.current_time() + EVENT_STREAM_SECONDS
    over = False
    while not over:                                     # no deadline around send(): half a part would spoil the stream
        changed = board.changed                         # taken first, so that a change during send() is not missed
        over = anyio.current_time() >= end or board.has_nothing_left_to_tell()
        await send_part(send, b"data: %b\n\n" % json.dumps(board.snapshot()).encode(), more=not over)
        if not over:
            with anyio.move_on_after(REFRESH_SECONDS):
                await changed.wait()


async def notice_shutdown(scope: Scope, board: Board) -> None:
    """Without this a server that stops would have to wait for the event streams of all open pages."""
    if extension := scope.get("extensions", {}).get("trioserve.shutdown"):
        await extension["wait"]()
        board.stopping = True
        board.tell_pages()


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell one running child to fail: ``POST /fail?run=3&child=orders``."""
    board: Board = scope["state"]["board"]
    number, name = query_number(scope, "run", default=0), query(scope).get("child")
    for run in board.runs:
        for child in run.children:
            if (run.number, child.name, child.state) == (number, name, "running"):
                child.told_to_fail.set()
                return await send_json(send, {"told": name}, status=202)
    await send_json(send, {"error": "no such child is running"}, status=404)


# -- small endpoints to try a server with ----------------------------------------------------------------------------


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """The page itself: one file, nothing else to load."""
    await send_head(send, 200, b"text/html; charset=utf-8", (b"content-length", b"%d" % len(PAGE)))
    await send_part(send, PAGE, more=False)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """The smallest useful answer, and what the server says about itself and the client."""
    await send_json(send, {"hello": "world", "asgi": scope["asgi"], "http_version": scope["http_version"],
                           "client": scope.get("client")})


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """A hundred parts of a body without Content-Length, each on its way before the next is made."""
    await send_head(send, 200, b"text/plain; charset=utf-8")
    for number in range(1, 101):
        await send_part(send, b"part %3d of 100\n" % number)
        await anyio.sleep(STREAM_PAUSE_SECONDS)
    await send_part(send, b"", more=False)


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    """Count a request body while it arrives. Nothing is kept, so its size does not matter."""
    started_at = anyio.current_time()
    body_bytes = parts = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body_bytes += len(message.get("body", b""))
        parts += 1
        more = message.get("more_body", False)
    await send_json(send, {"bytes": body_bytes, "parts": parts,
                           "seconds": round(anyio.current_time() - started_at, 3)})


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer late: ``GET /slow?seconds=5``. Press Ctrl-C while it waits, and the answer still arrives."""
    seconds = query_number(scope, "seconds", default=2.0, most=60.0)
    await anyio.sleep(seconds)
    await send_json(send, {"slept": seconds})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket whose messages come back."""
    await receive()                                     # websocket.connect
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Make the board before the first request; it is gone after the last."""
    await receive()                                     # lifespan.startup
    scope["state"]["board"] = Board()
    await send({"type": "lifespan.startup.complete"})
    await receive()                                     # lifespan.shutdown: every connection is closed by now
    await send({"type": "lifespan.shutdown.complete"})


PAGE = Path(__file__).with_name("demo.html").read_bytes()

ROUTES: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
    "GET /": page,
    "GET /events": events,
    "GET /hello": hello,
    "GET /slow": slow,
    "GET /stream": stream,
    "POST /fail": fail,
    "POST /gather": gather,
    "POST /upload": upload,
    "WEBSOCKET /echo": echo,
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application: one coroutine per request, called by the server."""
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    if scope["type"] not in ("http", "websocket"):
        raise NotImplementedError(f"the demo has no {scope['type']}")
    scope["state"]["board"].requests += 1
    method = scope.get("method", "WEBSOCKET").replace("HEAD", "GET")    # the server leaves the body of a HEAD out
    handler = ROUTES.get(f"{method} {scope['path']}")
    if handler is None and scope["type"] == "websocket":
        return await send({"type": "websocket.close"})                  # before it is accepted: 403
    if handler is None:
        return await send_json(send, {"error": "not found", "try": list(ROUTES)}, status=404)
    await handler(scope, receive, send)


# -- ASGI by hand ----------------------------------------------------------------------------------------------------


async def send_head(send: Send, status: int, content_type: bytes, *fields: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type), *fields]})


async def send_part(send: Send, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def send_json(send: Send, answer: object, *, status: int = 200) -> None:
    data = json.dumps(answer, indent=2).encode() + b"\n"
    await send_head(send, status, b"application/json", (b"content-length", b"%d" % len(data)))
    await send_part(send, data, more=False)


def query(scope: Scope) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("ascii", "replace")).items()}


def query_number(scope: Scope, name: str, *, default: float, most: float = math.inf) -> float:
    """The number that the query gives, between 0 and ``most``; ``default`` when it gives none."""
    try:
        return min(max(0.0, float(query(scope)[name])), most)
    except (KeyError, ValueError):
        return default
