"""The demo application, called as a server calls it: plain ASGI, no socket, on both backends."""

import inspect
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio.lowlevel
import pytest

from trioserve import demo
from trioserve.demo import app


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody watches here: one child is done at once, the others soon, and an event stream is short."""
    monkeypatch.setattr(demo, "SERVICES", {"profile": 0.0, "orders": 0.01, "advice": 0.02})
    monkeypatch.setattr(demo, "EVENT_STREAM_SECONDS", 0.5)
    monkeypatch.setattr(demo, "REFRESH_SECONDS", 0.01)


@pytest.fixture
def slow_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first take longer than any test."""
    monkeypatch.setattr(demo, "SERVICES", {"profile": 0.0, "orders": 600.0, "advice": 600.0})


class Visit:
    """One request and what came back of it."""

    def __init__(self, state: dict[str, Any], method: str, target: str, body: Sequence[bytes] = ()) -> None:
        path, _, query = target.partition("?")
        self.scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
            "query_string": query.encode(), "headers": [], "client": ("192.0.2.1", 1), "state": state}
        self.incoming = [{"type": "http.request", "body": part, "more_body": True} for part in body]
        self.incoming.append({"type": "http.request", "body": b"", "more_body": False})
        self.left = anyio.Event()
        self.sent: list[Any] = []
        self.body = b""

    async def run(self) -> "Visit":
        await app(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> Any:
        if self.incoming:
            return self.incoming.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.left.is_set():
            raise OSError("the browser has left")
        self.sent.append(message)
        self.body += message.get("body", b"")
        await anyio.lowlevel.checkpoint()

    @property
    def board(self) -> demo.Board:
        board: demo.Board = self.scope["state"]["board"]
        return board

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def is_complete(self) -> bool:
        return not self.sent[-1].get("more_body", False)

    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def started_app() -> AsyncIterator[Callable[..., Visit]]:
    """The application between startup and shutdown of its lifespan; gives what makes a request."""
    state: dict[str, Any] = {}
    shutdown, ready, stopped = anyio.Event(), anyio.Event(), anyio.Event()

    async def receive() -> Any:
        if not ready.is_set():
            return {"type": "lifespan.startup"}
        await shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        {"lifespan.startup.complete": ready, "lifespan.shutdown.complete": stopped}[message["type"]].set()

    async with anyio.create_task_group() as nursery:
        nursery.start_soon(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, receive, send)
        await ready.wait()
        yield partial(Visit, state)
        shutdown.set()
        await stopped.wait()


async def changed(board: demo.Board, condition: Callable[[], object]) -> None:
    """Wait until the board's state is such."""
    while not condition():
        await board.changed.wait()


def states(run: Any) -> dict[str, str]:
    return {child["name"]: child["state"] for child in run["children"]}


def one_finished(board: demo.Board) -> bool:
    return any(child.state == "finished" for run in board.runs for child in run.children)


def reasons(run: Any) -> set[str]:
    return {child["why"] for child in run["children"] if child["state"] == "cancelled"}


# -- the nursery -----------------------------------------------------------------------------------------------------


async def test_the_answer_comes_when_every_child_has_finished() -> None:
    async with started_app() as visit:
        answer = (await visit("POST", "/gather").run()).json()
    assert set(states(answer).values()) == {"finished"}
    assert answer["state"] == "ended"
    assert answer["elapsed"] >= max(child["seconds"] for child in answer["children"])


@pytest.mark.usefixtures("slow_services")
async def test_a_failing_child_cancels_its_siblings() -> None:
    async with started_app() as visit, anyio.create_task_group() as nursery:
        gather = visit("POST", "/gather")
        nursery.start_soon(gather.run)
        await changed(gather.board, lambda: one_finished(gather.board))
        assert (await visit("POST", "/fail?run=1&child=orders").run()).status == 202
    answer = gather.json()
    assert states(answer).pop("orders") == "failed"
    assert reasons(answer) == {"its sibling orders failed"}
    assert "running" not in states(answer).values()


@pytest.mark.usefixtures("slow_services")
async def test_the_deadline_cancels_what_is_not_finished() -> None:
    async with started_app() as visit:
        answer = (await visit("POST", "/gather?deadline=0.02").run()).json()
    assert states(answer)["profile"] == "finished"
    assert states(answer)["advice"] == "cancelled"
    assert reasons(answer) == {"the deadline passed"}


@pytest.mark.usefixtures("slow_services")
async def test_a_browser_that_hangs_up_cancels_the_run() -> None:
    async with started_app() as visit:
        gather = visit("POST", "/gather")
        gather.left.set()
        await gather.run()
        [run] = gather.board.runs
    assert gather.sent == []                                # nobody is left to answer
    assert reasons(run.report()) == {"the browser hung up"}


@pytest.mark.usefixtures("slow_services")
async def test_a_request_cancelled_by_the_server_leaves_no_child_behind() -> None:
    async with started_app() as visit:
        gather = visit("POST", "/gather")
        async with anyio.create_task_group() as connections:
            connections.start_soon(gather.run)
            await changed(gather.board, lambda: one_finished(gather.board))
            connections.cancel_scope.cancel()
        [run] = gather.board.runs
    assert reasons(run.report()) == {"the server cancelled the request"}
    assert "running" not in states(run.report()).values()
    assert run.report()["state"] == "ended"


async def test_only_a_running_child_can_be_told_to_fail() -> None:
    async with started_app() as visit:
        await visit("POST", "/gather").run()
        assert (await visit("POST", "/fail?run=1&child=orders").run()).status == 404
        assert (await visit("POST", "/fail").run()).status == 404


# -- the event stream ------------------------------------------------------------------------------------------------


async def test_the_event_stream_shows_a_run_and_ends_by_itself() -> None:
    async with started_app() as visit, anyio.create_task_group() as nursery:
        stream = visit("GET", "/events")
        nursery.start_soon(stream.run)
        await visit("POST", "/gather").run()
    snapshots = [json.loads(event[6:]) for event in stream.body.split(b"\n\n") if event.startswith(b"data: ")]
    seen = [states(run)["advice"] for snapshot in snapshots for run in snapshot["runs"]]
    assert seen[0] == "running"
    assert seen[-1] == "finished"
    assert snapshots[0]["streams"] == 1
    assert snapshots[-1]["requests"] == 2
    assert snapshots[0]["backend"] in ("trio", "trioserve")     # the package of the event loop, here one of ours
    assert stream.is_complete
    assert stream.board.open_streams == 0


async def test_the_event_stream_ends_when_the_browser_leaves() -> None:
    async with started_app() as visit, anyio.create_task_group() as nursery:
        stream = visit("GET", "/events")

        async def watch() -> None:
            with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="has left")):
                await stream.run()

        nursery.start_soon(watch)
        await changed(stream.board, lambda: stream.board.open_streams == 1)
        stream.left.set()
    assert stream.board.open_streams == 0


@pytest.mark.usefixtures("slow_services")
async def test_the_event_stream_ends_when_the_server_stops_and_no_run_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EVENT_STREAM_SECONDS", 600.0)
    shutdown = anyio.Event()
    async with started_app() as visit, anyio.create_task_group() as nursery:
        gather, stream = visit("POST", "/gather"), visit("GET", "/events")
        stream.scope["extensions"] = {"trioserve.shutdown": {"wait": shutdown.wait}}
        nursery.start_soon(gather.run)
        nursery.start_soon(stream.run)
        await changed(stream.board, lambda: one_finished(stream.board) and stream.board.open_streams)
        shutdown.set()
        await changed(stream.board, lambda: stream.board.stopping)
        assert stream.board.open_streams == 1           # there is still something to tell
        gather.left.set()
    last = json.loads(stream.body.split(b"\n\n")[-2][6:])
    assert last["stopping"]
    assert last["runs"][0]["state"] == "ended"
    assert stream.is_complete


# -- the small endpoints ---------------------------------------------------------------------------------------------


async def test_the_page_loads_nothing_from_elsewhere() -> None:
    async with started_app() as visit:
        page = await visit("GET", "/").run()
    assert page.body.startswith(b"<!doctype html>")
    assert (b"content-length", b"%d" % len(page.body)) in page.sent[0]["headers"]
    assert b"src=" not in page.body
    assert b"//cdn" not in page.body


async def test_the_page_shows_the_code_that_runs() -> None:
    code = between(demo.PAGE.decode(), '<code id="code">', "</code>").replace("</span>", "\n")
    lines = [re.sub(r"<[^>]*>|#.*", "", line).strip() for line in code.splitlines()]
    source = inspect.getsource(demo.gather).replace("anyio.", "").replace(", name=child.name", "")
    found = 0
    for line in lines:                                      # in this order
        found = source.index(line, found)
    assert len(lines) == 9


def between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


async def test_small_endpoints() -> None:
    async with started_app() as visit:
        assert (await visit("GET", "/hello").run()).json()["hello"] == "world"
        assert (await visit("HEAD", "/hello").run()).status == 200
        assert (await visit("GET", "/slow?seconds=0.01").run()).json() == {"slept": 0.01}
        assert (await visit("POST", "/upload", [b"x" * 1000] * 3).run()).json()["bytes"] == 3000
        assert (await visit("GET", "/nothing").run()).status == 404
        assert (await visit("POST", "/hello").run()).status == 404


async def test_stream_sends_a_hundred_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STREAM_PAUSE_SECONDS", 0)
    async with started_app() as visit:
        stream = await visit("GET", "/stream").run()
    assert len(stream.body.splitlines()) == 100
    assert stream.is_complete


async def test_an_upload_cut_short_is_not_answered() -> None:
    async with started_app() as visit:
        upload = visit("POST", "/upload", [b"half of it"])
        upload.incoming.pop()
        upload.left.set()
        await upload.run()
    assert upload.sent == []


async def test_a_websocket_echoes_until_it_is_closed() -> None:
    incoming: list[Any] = [
        {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"},
        {"type": "websocket.receive", "bytes": b"hello"}, {"type": "websocket.disconnect", "code": 1001}]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async with started_app() as visit:
        scope = visit("GET", "/echo").scope
        del scope["method"]
        await app({**scope, "type": "websocket"}, receive, send)
        await app({**scope, "type": "websocket", "path": "/"}, receive, send)
    assert sent == [
        {"type": "websocket.accept"},
        {"type": "websocket.send", "text": "hello", "bytes": None},
        {"type": "websocket.send", "text": None, "bytes": b"hello"},
        {"type": "websocket.close"},
    ]


@pytest.mark.parametrize(("query", "number"), [
    (b"", 2.0), (b"seconds=3", 3.0), (b"seconds=-1", 0.0), (b"seconds=1e9", 60.0), (b"seconds=nan", 0.0),
    (b"seconds=soon", 2.0), (b"seconds=%ff", 2.0), (b"\xff", 2.0),
])
async def test_a_number_in_the_query_is_kept_in_bounds(query: bytes, number: float) -> None:
    assert demo.query_number({"query_string": query}, "seconds", default=2.0, most=60.0) == number


async def test_other_protocols_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="no webtransport"):
        await app({"type": "webtransport"}, never, never)


async def never(*message: Any) -> Any:
    raise AssertionError("the application has to refuse the scope before it receives or sends")
