"""A filter of the user's that raises costs a line in the log, and neither the server nor a client's answer."""

import errno
import io
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello
from tests.helpers.certificates import files_of, server_certificate
from tests.helpers.lifespans import COMPLETE, LifespanApp, with_lifespan
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, receive_response, status_of
from trioserve import Config, LifespanDied, StartupFailed
from trioserve._complaints import complain
from trioserve._server import Server
from trioserve._server.certificates import LOOK_SECONDS
from trioserve._server.tls import load_certificates
from trioserve._streams import ByteStream
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp, Receive, Scope, Send
from trioserve.testing import settled

log = logging.getLogger("trioserve")


class Reprimand(Exception):
    """What the filter raises."""


@pytest.fixture
def raising_filter() -> Iterator[None]:
    def refuse(record: logging.LogRecord) -> bool:
        raise Reprimand("the filter is broken")

    log.setLevel(logging.INFO)
    log.addFilter(refuse)
    yield
    log.removeFilter(refuse)


# -- one line --------------------------------------------------------------------------------------------------------


def test_where_logging_works_it_is_a_line_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("wrong")
    complain(log, "%d %s", 1, "line", exc_info=error, level=logging.CRITICAL, extra={"request_id": "a"})
    [record] = caplog.records
    assert record.getMessage() == "1 line"
    assert record.levelno == logging.CRITICAL
    assert record.exc_info is not None and record.exc_info[1] is error
    assert vars(record)["request_id"] == "a"
    assert record.funcName == "test_where_logging_works_it_is_a_line_like_any_other"  # and not that of our function


def test_it_is_an_error_unless_it_says_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    complain(log, "100%")
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "100%")


def test_what_cannot_be_logged_goes_to_stderr(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    complain(log, "%d %s", 1, "line", exc_info=ValueError("wrong"))
    shown = capsys.readouterr().err
    assert shown.startswith("1 line\nValueError: wrong\nThis line could not be logged:\nTraceback ")
    assert shown.endswith("Reprimand: the filter is broken\n")


def test_what_is_not_enabled_is_nowhere(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    complain(log, "a detail", level=logging.DEBUG)
    assert capsys.readouterr().err == ""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise Reprimand("no text")


def test_arguments_that_cannot_be_shown(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    complain(log, "it was %s", Unspeakable(), exc_info=Unspeakable())
    assert capsys.readouterr().err.startswith("it was %s\n")


class Empty(Exception):
    """Which counts as false."""

    def __len__(self) -> int:
        return 0


class Hollow(Exception):
    """Both logging and what makes tracebacks ask whether it is true."""

    def __bool__(self) -> bool:
        raise Reprimand("neither true nor false")


def test_an_exception_that_is_false_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    complain(log, "a line", exc_info=(error := Empty()))
    [record] = caplog.records
    assert record.exc_info is not None and record.exc_info[1] is error


def test_an_exception_that_cannot_be_shown(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    complain(log, "a line", exc_info=Hollow())
    assert capsys.readouterr().err.startswith(
        "a line\nHollow, which cannot be shown: Reprimand\nThis line could not be logged:\n")


async def test_an_application_that_raises_such_an_exception(capsys: pytest.CaptureFixture[str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise Hollow

    async with serving(app) as site:
        assert [status_of(await site.answer_to(get())) for _ in range(2)] == [500, 500]
    assert capsys.readouterr().err.count("Hollow, which cannot be shown") == 2


def test_a_handler_that_raises_is_like_a_filter(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise Reprimand("the handler is broken")

    log.addHandler(Broken())
    complain(log, "a line")
    assert "a line\nThis line could not be logged" in capsys.readouterr().err


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stderr", [None, closed()], ids=["none", "closed"])
def test_without_stderr_it_is_lost(
    stderr: io.StringIO | None, raising_filter: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    complain(log, "a line", exc_info=ValueError("wrong"))
    assert capsys.readouterr().out == ""


def test_control_c_passes_through() -> None:
    def interrupt(record: logging.LogRecord) -> bool:
        raise KeyboardInterrupt

    log.addFilter(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            complain(log, "a line")
    finally:
        log.removeFilter(interrupt)


# -- a server with a filter that raises ------------------------------------------------------------------------------


class Exhausted(MemoryListener):
    """Its first ``accept`` finds no free descriptor, and its last one a connection that is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False

    async def accept(self) -> ByteStream:
        if not self.has_failed:
            self.has_failed = True
            raise OSError(errno.EMFILE, "too many open files")
        return await super().accept()

    def accept_nowait(self) -> ByteStream | None:
        raise OSError(errno.ECONNABORTED, "connection aborted")


async def serve_once(app: AnyApp, *, settle: float = 0.0, **options: Any) -> None:
    """Start a server, have it answer, and stop it. Raises what ``serve`` raises."""
    listener = Exhausted()
    server = Server(app, Config.from_options({"access_log": False, **options}), listeners=[listener])
    client = listener.connect()

    async def use() -> None:
        await client.send_all(get())
        assert status_of(await receive_response(client)) == 200
        server.request_shutdown("test", settle=settle)

    async with anyio.create_task_group() as using:
        using.start_soon(use)
        await server.serve()


async def test_a_server_starts_accepts_answers_and_stops(
    raising_filter: None, capsys: pytest.CaptureFixture[str]
) -> None:
    app = LifespanApp(hello)
    await serve_once(app, settle=0.5)
    assert app.events == ["startup", "started", "request /", "end of /", "shutdown", "stopped"]
    said = re.findall(r"^(\w+)\b.*\nThis line could not be logged:$", capsys.readouterr().err, re.MULTILINE)
    assert said == ["Listening", "Cannot", "Shutting", "Connections", "Stopped"]


async def test_an_application_without_lifespan(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    await serve_once(hello)
    assert "The application has no lifespan" in capsys.readouterr().err


async def raises_at_start(receive: Receive, send: Send) -> None:
    await receive()
    raise RuntimeError("no running event loop")  # as asyncio says it: there is advice for this one


async def fails_at_length(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback\nno database"})


@pytest.mark.parametrize("lifespan", [raises_at_start, fails_at_length])
async def test_an_application_that_does_not_start(lifespan: Any, raising_filter: None) -> None:
    with pytest.raises(StartupFailed):
        await Server(with_lifespan(lifespan), Config(), listeners=[MemoryListener()]).serve()


async def raises_at_the_end(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    raise ValueError("the database is gone")


async def fails_at_the_end(receive: Receive, send: Send) -> None:
    await receive()
    await send(COMPLETE)
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the database is gone"})


@pytest.mark.parametrize("lifespan", [raises_at_the_end, fails_at_the_end])
async def test_an_application_that_fails_to_stop(
    lifespan: Any, raising_filter: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await serve_once(with_lifespan(lifespan))
    shown = capsys.readouterr().err
    assert "the database is gone" in shown
    assert "\nStopped" in shown


async def test_a_lifespan_that_does_not_end(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    await serve_once(LifespanApp(hello, shutdown_seconds=3600))
    shown = capsys.readouterr().err
    assert "shutdown-deadline: the application's lifespan did not end in time\n" in shown
    assert "\nStopped" in shown


async def test_a_lifespan_that_dies(raising_filter: None, capsys: pytest.CaptureFixture[str]) -> None:
    app = LifespanApp(hello)
    server = Server(app, Config(access_log=False), listeners=[MemoryListener()])

    async def die() -> None:
        await settled()
        app.die.set()

    with pytest.raises(ExceptionGroup) as raised:
        async with anyio.create_task_group() as nursery:
            nursery.start_soon(die)
            await server.serve()
    assert raised.group_contains(LifespanDied, depth=1)
    assert "Shutting down (lifespan-died)\n" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{}, {"ssl_ca_certs": "server.pem"}])
async def test_certificates_are_watched_all_the_same(
    options: Mapping[str, Any], raising_filter: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files_of(server_certificate(), tmp_path)
    good = (tmp_path / "server.pem").read_bytes()
    certificates = load_certificates(
        Config.from_options({"ssl_certfile": "server.pem", "ssl_keyfile": "server.key", **options}), None)
    assert certificates is not None
    before = certificates.identity.context
    async with anyio.create_task_group() as watching:
        watching.start_soon(certificates.watch)
        (tmp_path / "server.pem").unlink()
        await anyio.sleep(3 * LOOK_SECONDS)
        assert certificates.identity.context is before
        (tmp_path / "server.pem").write_bytes(good)
        await anyio.sleep(3 * LOOK_SECONDS)
        assert certificates.identity.context is not before
        watching.cancel_scope.cancel()
