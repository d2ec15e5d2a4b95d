"""The access log: one line for each response, on either path, and none is lost."""

import io
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, post, receive_response
from tests.helpers.ws_client import accept, handshake, open_websocket
from tests.helpers.ws_client import echo as websocket_echo
from tests.helpers.ws_frames import BINARY, PING, TEXT, frame
from trioserve._config import Config
from trioserve._server.access_log.lines import AccessLogger
from trioserve._supervisor.logs import AccessHandler
from trioserve._types import App, Receive, Scope, Send
from trioserve.testing import settled

access_logger = logging.getLogger("trioserve.access")


class BatchHandler(logging.Handler):
    """Takes lines in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def write_lines(self, lines: list[str]) -> None:
        self.batches.append(lines)

    @property
    def lines(self) -> list[str]:
        return [line for batch in self.batches for line in batch]


class PlainHandler(logging.Handler):
    """Takes records, as any handler of the standard library."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.INFO
        self.lines.append(record.getMessage())


@pytest.fixture(params=[BatchHandler, PlainHandler], ids=["batches", "records"])
def handler(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def batches() -> BatchHandler:
    return BatchHandler()


@asynccontextmanager
async def logged(app: App, *handlers: logging.Handler, **options: Any) -> AsyncIterator[Site]:
    """Serve ``app``; its access log goes to ``handlers`` alone."""
    access_logger.handlers[:] = handlers
    access_logger.propagate = False
    access_logger.setLevel(logging.INFO)
    async with serving(app, access_log=True, **options) as site:
        yield site


def assert_line(line: str, request_line: str, status: str, size: int) -> None:
    pattern = rf'192\.0\.2\.1:50000 - "{re.escape(request_line)}" {status} {size} B \d+\.\d ms'
    assert re.fullmatch(pattern, line), line


# -- lines -----------------------------------------------------------------------------------------------------------


async def test_a_line_for_each_response(handler: Any) -> None:
    async with logged(hello, handler) as site:
        client = site.connect()
        for target in ("/a?b=c", "/d"):
            await client.send_all(get(target))
            await receive_response(client)
    first, second = handler.lines
    assert_line(first, "GET /a?b=c HTTP/1.1", "200 OK", 2)
    assert_line(second, "GET /d HTTP/1.1", "200 OK", 2)


async def test_lines_of_several_connections(handler: Any) -> None:
    async with logged(hello, handler) as site:
        clients = [site.connect() for _ in range(100)]
        for client in clients:
            await client.send_all(get())
        for client in clients:
            await receive_response(client)
    assert len(handler.lines) == 100


async def test_the_body_is_counted_without_its_framing(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(3):
            await part(send, b"x" * 10)
        await part(send, b"", more=False)

    async with logged(app, handler) as site:
        await site.answer_to(get(version="1.1"))
        await site.answer_to(get(version="1.0"))
    assert_line(handler.lines[0], "GET / HTTP/1.1", "200 OK", 30)
    assert_line(handler.lines[1], "GET / HTTP/1.0", "200 OK", 30)


async def test_a_head_response_has_no_bytes(handler: Any) -> None:
    async with logged(hello, handler) as site:
        await site.everything_after(get("/", "connection: close", method="HEAD"))
    assert_line(handler.lines[0], "HEAD / HTTP/1.1", "200 OK", 0)


async def test_an_unregistered_status_has_no_phrase(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, status=599)

    async with logged(app, handler) as site:
        await site.answer_to(get())
    assert_line(handler.lines[0], "GET / HTTP/1.1", "599 ?", 0)


async def test_a_failing_application_is_a_500(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    async with logged(app, handler) as site:
        await site.everything_after(get())
    [line] = handler.lines
    assert '"GET / HTTP/1.1" 500 Internal Server Error' in line


async def test_a_request_that_times_out_is_a_504(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with logged(app, handler, timeout_request=5) as site:
        await site.everything_after(get())
    [line] = handler.lines
    assert '"GET / HTTP/1.1" 504 Gateway Timeout' in line


async def test_a_body_that_never_comes_is_a_408(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)

    async with logged(app, handler) as site:
        await site.everything_after(post(b"", length=5))
    [line] = handler.lines
    assert '"POST / HTTP/1.1" 408 Request Timeout' in line


async def test_a_client_that_left_before_its_answer_is_a_499(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(10)
        await reply(send, b"too late")

    async with logged(app, handler) as site:
        client = site.connect()
        await client.send_all(get("/gone"))
        await settled()
        client.abort()
        await anyio.sleep(11)
    [line] = handler.lines
    assert_line(line, "GET /gone HTTP/1.1", "499 Client Closed Request", 0)


@pytest.mark.parametrize("app_raises", [False, True])
async def test_nobody_gets_an_answer_of_the_servers_after_leaving(handler: Any, *, app_raises: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(4 if app_raises else 3600)
        raise RuntimeError("planned")

    async with logged(app, handler, timeout_request=5, http2=True) as site, http2_client(site) as client:
        stream = await client.ask("/gone")
        await settled()
        client.h2.reset_stream(stream)
        await client.say()
        await anyio.sleep(6)
    [line] = handler.lines
    assert_line(line, "GET /gone HTTP/2", "499 Client Closed Request", 0)


async def test_a_request_cancelled_because_its_client_left_is_a_499(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with logged(app, handler, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get("/gone"))
        await anyio.sleep(1)
        client.abort()
        await settled()
    [line] = handler.lines
    assert "499 Client Closed Request" in line


async def test_a_client_that_left_in_the_middle_keeps_its_status(handler: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"x" * 10)
        await anyio.sleep(10)
        await part(send, b"x" * 10)
        await anyio.sleep(10)
        await part(send, b"", more=False)

    async with logged(app, handler) as site:
        client = site.connect()
        await client.send_all(get("/gone"))
        await client.receive_some()
        client.abort()
        await anyio.sleep(30)
    [line] = handler.lines
    assert '"GET /gone HTTP/1.1" 200 OK' in line


async def test_bytes_of_the_target_that_are_no_ascii_are_one_line(handler: Any) -> None:
    async with logged(hello, handler) as site:
        await site.answer_to(get("/caf%C3%A9%0D%0Afake"))
    [line] = handler.lines
    assert "\r" not in line
    assert "\n" not in line


# -- when they are written -------------------------------------------------------------------------------------------


async def test_lines_of_one_moment_are_written_together(batches: BatchHandler) -> None:
    async with logged(hello, batches) as site:
        for _ in range(10):
            await site.answer_to(get())
        await anyio.sleep(1)
        assert [len(batch) for batch in batches.batches] == [10]


async def test_a_line_is_written_within_a_moment(batches: BatchHandler) -> None:
    async with logged(hello, batches) as site:
        for count in range(1, 4):
            await site.answer_to(get())
            await anyio.sleep(0.2)
            assert len(batches.lines) == count


async def test_nothing_is_lost_when_the_server_ends_at_once(batches: BatchHandler) -> None:
    async with logged(hello, batches) as site:
        for _ in range(10):
            await site.answer_to(get())
        site.server.force_shutdown()
    assert len(batches.lines) == 10


async def test_requests_of_the_drain_are_logged(batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(5)
        await reply(send)

    async with logged(app, batches) as site:
        client = site.connect()
        await client.send_all(get("/last"))
        await settled()
        site.server.request_shutdown("test")
        await client.receive_rest()
    assert len(batches.lines) == 1


async def test_requests_cancelled_at_the_deadline_are_logged(batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    async with logged(app, batches) as site:
        client = site.connect()
        await client.send_all(get("/last"))
        await settled()
        site.server.force_shutdown()
    assert len(batches.lines) == 1


# -- which path, and whether at all ----------------------------------------------------------------------------------


async def test_the_handler_of_the_command_line_takes_batches(capsys: pytest.CaptureFixture[str]) -> None:
    async with logged(hello, AccessHandler(sys.stdout, prefix="INFO:     ")) as site:
        await site.answer_to(get())
    line = capsys.readouterr().out
    assert re.fullmatch(r'INFO: +192\.0\.2\.1:50000 - "GET / HTTP/1\.1" 200 OK 1 B \d+\.\d ms\n', line)


async def test_with_another_handler_beside_it_everybody_gets_records() -> None:
    one, other = PlainHandler(), PlainHandler()
    one.write_lines = lambda lines: None  # type: ignore[attr-defined]  # could take batches
    async with logged(hello, one, other) as site:
        await site.answer_to(get())
    assert len(one.lines) == len(other.lines) == 1


async def test_propagated_records_reach_the_root(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(hello, access_log=True) as site:
        await site.answer_to(get("/root"))
    assert '"GET /root HTTP/1.1" 200 OK' in caplog.text


async def test_the_option_switches_it_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(hello, access_log=False) as site:
        await site.answer_to(get("/silent"))
    assert "/silent" not in caplog.text


async def test_the_level_switches_it_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "trioserve.access")
    async with serving(hello, access_log=True) as site:
        await site.answer_to(get("/silent"))
    assert "/silent" not in caplog.text


def pass_all(record: logging.LogRecord) -> bool:
    return True


@pytest.mark.parametrize("somebody_looks", [
    lambda handler: access_logger.handlers.append(PlainHandler()),
    lambda handler: setattr(access_logger, "propagate", True),
    lambda handler: access_logger.addFilter(pass_all),
    lambda handler: handler.addFilter(pass_all),
    lambda handler: handler.setLevel(logging.WARNING),
])
def test_records_are_made_when_somebody_looks_at_them(
    batches: BatchHandler, somebody_looks: Callable[[logging.Handler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_logger, "filters", [])
    access_logger.handlers[:] = [batches]
    access_logger.propagate = False
    assert not AccessLogger(Config()).needs_context
    somebody_looks(batches)
    assert AccessLogger(Config()).needs_context


async def test_a_filter_of_the_handler_holds(capsys: pytest.CaptureFixture[str]) -> None:
    handler = AccessHandler(sys.stdout, prefix="")
    handler.addFilter(lambda record: "/health" not in record.getMessage())
    async with logged(hello, handler) as site:
        for target in ("/health", "/a"):
            await site.answer_to(get(target))
    [line] = capsys.readouterr().out.splitlines()
    assert "/a" in line


async def test_a_filter_that_raises_ends_neither_connection_nor_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(record: logging.LogRecord) -> bool:
        raise LookupError("of a user's filter")

    monkeypatch.setattr(access_logger, "filters", [failing])
    async with logged(hello, PlainHandler()) as site:
        client = site.connect()
        for target in ("/a", "/b"):
            await client.send_all(get(target))
            assert await receive_response(client) == ok(target.encode())
        await client.send_all(b"nonsense\r\n\r\n")
        assert (await client.receive_rest()).startswith(b"HTTP/1.1 400 ")
    async with logged(websocket_echo, PlainHandler()) as site:
        websocket = await open_websocket(site)
        await websocket.close(1000)
        await websocket.receive_rest()
    assert capsys.readouterr().err.count("LookupError: of a user") == 5


class FailingHandler(BatchHandler):
    """Takes lines, then raises."""

    def write_lines(self, lines: list[str]) -> None:
        super().write_lines(lines)
        raise LookupError("of a user's filter")


async def test_a_batch_that_fails_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    handler = FailingHandler()
    async with logged(hello, handler, access_log_format="%(U)s") as site:
        for target in ("/a", "/b"):
            assert await site.answer_to(get(target)) == ok(target.encode())
            await anyio.sleep(1)
    assert handler.batches == [["/a"], ["/b"]]
    complaints = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in complaints] == ["Access lines could not be written"] * 2
    for record in complaints:
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], LookupError)


async def test_a_filter_that_raises_when_nobody_reads_the_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(record: logging.LogRecord) -> bool:
        raise LookupError("of a user's filter")

    class BrokenPipe(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(logging.getLogger("trioserve"), "filters", [failing])  # the handler complains to that logger
    async with logged(hello, AccessHandler(BrokenPipe(), prefix="")) as site:
        for target in ("/a", "/b"):
            assert await site.answer_to(get(target)) == ok(target.encode())
            await anyio.sleep(1)
    assert capsys.readouterr().err.count("LookupError: of a user") == 1


@pytest.mark.parametrize("stderr", [None, "closed"])
async def test_complaints_that_nobody_can_read(monkeypatch: pytest.MonkeyPatch, stderr: str | None) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stderr is not None else None)
    async with logged(hello, FailingHandler()) as site:
        assert await site.answer_to(get()) == ok(b"/")
        await anyio.sleep(1)
        assert await site.answer_to(get()) == ok(b"/")


async def test_a_handler_that_fails_does_not_end_the_server() -> None:
    async with logged(hello, logging.Handler()) as site:  # its emit() raises NotImplementedError
        for _ in range(2):
            assert await site.answer_to(get()) == ok(b"/")


# -- every way to end a request before its time ----------------------------------------------------------------------

REASON = "%(s)s %(st)s; %(reason)s"


async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)


async def flooding(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    while True:
        await part(send, b"x" * 10_000)


@pytest.mark.parametrize(("app", "request_", "options", "line"), [
    (stuck, get(), {"timeout_request": 5}, "504 Gateway Timeout; request-timeout"),
    (reading, post(b"", length=5), {}, "408 Request Timeout; body-timeout"),
    (flooding, get(), {}, "200 OK; write-timeout"),
])
async def test_a_timeout_is_the_reason(
    batches: BatchHandler, app: App, request_: bytes, options: dict[str, Any], line: str
) -> None:
    async with logged(app, batches, access_log_format=REASON, **options) as site:
        client = site.connect()
        await client.send_all(request_)
        await anyio.sleep(100)
    assert batches.lines == [line]


async def test_a_client_that_left_is_the_reason(batches: BatchHandler) -> None:
    async with logged(stuck, batches, access_log_format=REASON, on_disconnect="cancel") as site:
        client = site.connect()
        await client.send_all(get())
        await anyio.sleep(1)
        client.abort()
        await settled()
    assert batches.lines == ["499 Client Closed Request; client-disconnect"]


async def test_a_shutdown_is_not_the_clients_doing(batches: BatchHandler) -> None:
    async with logged(stuck, batches, access_log_format=REASON) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        site.server.force_shutdown()
    assert batches.lines == ["0 shutdown-deadline; shutdown-deadline"]


async def test_a_request_that_is_turned_away_has_its_line(batches: BatchHandler) -> None:
    async with logged(stuck, batches, access_log_format="%(m)s %(U)s %(s)s", limit_concurrency=1) as site:
        first = site.connect()
        await first.send_all(get("/first"))
        await settled()
        assert b" 503 " in await site.everything_after(get("/second"))
        await anyio.sleep(1)
        assert batches.lines == ["GET /second 503"]


# -- websockets --------------------------------------------------------------------------------------------------------


async def test_a_line_when_a_websocket_opens_and_one_when_it_closes(handler: Any) -> None:
    async with logged(websocket_echo, handler) as site:
        client = await open_websocket(site, target="/chat?room=1")
        await settled()
        await client.send(frame(TEXT, b"hello"), frame(BINARY, b"x" * 200), frame(PING))
        await settled()
        await anyio.sleep(12)
        await client.close(4001)
        await client.receive_rest()
        await client.stream.aclose()
    opened, closed = handler.lines
    assert_line(opened, "GET /chat?room=1 HTTP/1.1", "101 Switching Protocols", 0)
    pattern = (
        r'192\.0\.2\.1:50000 - "WEBSOCKET /chat\?room=1" 4001 '
        r"received 2 \(205 B\) sent 2 \(205 B\) \d+\.\d s"
    )
    assert re.fullmatch(pattern, closed), closed


async def test_the_target_of_a_websocket_does_not_end_its_line(batches: BatchHandler) -> None:
    async with logged(websocket_echo, batches) as site:
        client = await open_websocket(site, target='/\\"')
        await client.close(1000)
        await client.receive_rest()
    assert r'"WEBSOCKET /\\\"" 1000 ' in batches.lines[1]


@pytest.mark.parametrize(("end", "code"), [("return", 1000), ("raise", 1011), ("vanish", 1006)])
async def test_the_code_says_how_a_websocket_ended(end: str, code: int, batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await accept(receive, send)
        if end == "raise":
            raise ValueError
        if end == "vanish":
            await receive()

    async with logged(app, batches) as site:
        client = await open_websocket(site)
        client.stream.send_eof()
        await client.receive_rest()
    assert f'"WEBSOCKET /" {code} received 0 (0 B)' in batches.lines[1]


@pytest.mark.parametrize(("wire", "status"), [
    (handshake(), "403 Forbidden 10 B"), (handshake(version="8"), "426 Upgrade Required 39 B"),
    (handshake(target="/fail"), "500 Internal Server Error 22 B")])
async def test_a_refused_handshake_has_one_line(wire: bytes, status: str, batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise ValueError

    async with logged(app, batches) as site:
        await site.everything_after(wire)
    [line] = batches.lines
    assert f'HTTP/1.1" {status} ' in line


async def test_a_websocket_in_a_format_of_the_operators(batches: BatchHandler) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "headers": [(b"x-room", b"one")]})

    async with logged(app, batches, access_log_format="%(m)s %(U)s %(s)s %({x-room}o)s") as site:
        client = await open_websocket(site, target="/chat")
        await client.close(1000)
        await client.receive_rest()
    assert batches.lines[0] == "GET /chat 101 one"
    assert batches.lines[1].startswith('192.0.2.1:50000 - "WEBSOCKET /chat" 1000 received 0 (0 B) sent 0 (0 B) ')


END: dict[str, Any] = {
    "client": "192.0.2.1", "client_port": 50000, "method": "WEBSOCKET", "path": "/chat", "query": "room=1",
    "close_code": 1006, "received_messages": 1, "received_bytes": 1, "sent_messages": 1, "sent_bytes": 1,
    "request_id": None, "reason": "ping-timeout"}  # fmt: skip


async def test_the_end_of_a_websocket_as_json(batches: BatchHandler) -> None:
    async with logged(websocket_echo, batches, log_format="json", request_id_header="off") as site:
        client = await open_websocket(site, target="/chat?room=1")
        await client.text("a")
        await client.receive_rest()
    opened, closed = map(json.loads, batches.lines)
    assert (opened["status"], opened["path"]) == (101, "/chat")
    assert {name: closed[name] for name in END} == END
    assert closed["message"].startswith('192.0.2.1:50000 - "WEBSOCKET /chat?room=1" 1006 received 1 (1 B) ')
    assert {"time", "level", "logger", "pid", "duration_ms"} <= closed.keys()


async def test_the_end_of_a_websocket_as_a_record(caplog: pytest.LogCaptureFixture) -> None:
    async with logged(websocket_echo, caplog.handler, request_id_header="off") as site:
        client = await open_websocket(site, target="/chat?room=1")
        await client.text("a")
        await client.receive_rest()
    record = caplog.records[-1]
    assert {name: getattr(record, name) for name in END} == END
