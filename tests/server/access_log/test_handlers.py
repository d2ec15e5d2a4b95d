"""Which path an access line takes, and what handlers and filters that fail do to the server."""

import io
import logging
import re
import sys
from collections.abc import Callable

import anyio
import pytest

from tests.helpers.access_lines import BatchHandler, PlainHandler, access_logger, logged
from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from tests.helpers.ws_client import echo as websocket_echo
from tests.helpers.ws_client import open_websocket
from trioserve._config import Config
from trioserve._server.access_log.lines import AccessLogger
from trioserve._supervisor.logs import AccessHandler


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
