"""``trioserve.logging``: what configurations of logging name."""

import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.apps import reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from tests.helpers.ws_client import handshake
from trioserve._types import Receive, Scope, Send
from trioserve.logging import AccessFormatter, DefaultFormatter, JsonFormatter, PathFilter, RequestIdFilter


@pytest.fixture(autouse=True)
def no_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def record(message: str = "line", level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": level, "levelname": logging.getLevelName(level), "msg": message, **extra})


ACCESS: dict[str, Any] = {
    "client": "192.0.2.1", "client_port": 50000, "method": "GET", "path": "/tea", "query": "milk=1",
    "http_version": "1.1", "status": 200, "bytes": 5, "duration_ms": 1.25, "request_id": "abc-1",
}


# Lines about what happens.


@pytest.mark.parametrize(("style", "fmt"), [
    ("%", None), ("{", None), ("$", None), ("%", "%(levelprefix)s %(message)s [%(request_id)s]")])
def test_lines_of_text(style: Any, fmt: str | None) -> None:
    formatter = DefaultFormatter(fmt, style=style)
    assert formatter.format(record(level=logging.WARNING, request_id="abc-1")) == "WARNING:  line [abc-1]"
    assert formatter.format(record()) == ("INFO:     line" if fmt is None else "INFO:     line [-]")


def test_colors() -> None:
    assert DefaultFormatter(use_colors=True).format(record()) == "\x1b[32mINFO\x1b[0m:     line"


def test_colors_are_for_the_stream_that_the_lines_most_likely_go_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for terminal in (sys.stdout, sys.stderr):
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda answer=stream is terminal: answer, raising=False)
        assert DefaultFormatter().use_colors is (terminal is sys.stderr)
        assert AccessFormatter().use_colors is (terminal is sys.stdout)


def test_other_handlers_get_the_record_as_it_was() -> None:
    original = record()
    before = vars(original).copy()
    DefaultFormatter().format(original)
    assert vars(original) == before | {"message": "line"}


def test_uvicorns_formats_can_be_taken_as_they_are() -> None:
    assert DefaultFormatter("%(levelprefix)s %(message)s").format(record()) == "INFO:     line"
    fmt = '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s'
    text = 'INFO:     192.0.2.1:50000 - "GET /tea?milk=1 HTTP/1.1" 200 OK'
    assert AccessFormatter(fmt).format(record(**ACCESS)) == text
    for style in ("%", "{", "$"):
        assert AccessFormatter(style=style).format(record(**ACCESS)) == text


# Access lines.


@pytest.mark.parametrize(("changes", "line"), [
    ({"query": ""}, '192.0.2.1:50000 "GET /tea HTTP/1.1" 200 OK'),
    ({"client": None, "client_port": None}, '- "GET /tea?milk=1 HTTP/1.1" 200 OK'),
    ({"status": 799}, '192.0.2.1:50000 "GET /tea?milk=1 HTTP/1.1" 799'),
    ({"path": '/"'}, '192.0.2.1:50000 "GET /\\"?milk=1 HTTP/1.1" 200 OK'),
    ({"method": None, "path": None, "query": None, "http_version": None, "status": 400},
     '192.0.2.1:50000 "- -" 400 Bad Request'),
])
def test_access_lines(changes: dict[str, Any], line: str) -> None:
    formatter = AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s')
    assert formatter.format(record(**ACCESS | changes)) == line


@pytest.mark.parametrize(("status", "color"), [(204, 32), (302, 33), (404, 31), (500, 91)])
def test_the_status_has_the_color_of_its_class(status: int, color: int) -> None:
    line = AccessFormatter("%(status_code)s", use_colors=True).format(record(**ACCESS | {"status": status}))
    assert line.startswith(f"\x1b[{color}m{status} ")
    assert line.endswith("\x1b[0m")


class Lines(logging.Handler):
    """Keeps them."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def access_lines() -> Iterator[Lines]:
    """All that a server writes into its access log, formatted by our formatter."""
    lines = Lines(AccessFormatter())
    access = logging.getLogger("trioserve.access")
    access.handlers[:], access.propagate = [lines], False
    access.setLevel(logging.INFO)
    yield lines


async def test_every_record_of_the_server_can_be_formatted(access_lines: Lines) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await reply(send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async with serving(app, access_log=True) as site:
        await site.everything_after(get("/a?b", "connection: close"))
        await site.everything_after(b"\x16\x03\x01\r\n\r\n")
        client = site.connect()
        await client.send_all(handshake(target="/chat"))
        await client.receive_rest()
        await client.aclose()
    assert access_lines.lines == [
        'INFO:     192.0.2.1:50000 - "GET /a?b HTTP/1.1" 200 OK',
        'INFO:     192.0.2.1:50000 - "- -" 400 Bad Request',
        'INFO:     192.0.2.1:50000 - "GET /chat HTTP/1.1" 101 Switching Protocols',
        'INFO:     192.0.2.1:50000 - "WEBSOCKET /chat" 1000',
    ]


# Filters.


@pytest.mark.parametrize(("path", "status", "passes"), [
    ("/healthz", 200, False), ("/healthz", 404, True), ("/healthz", 0, True), ("/healthz/more", 200, True),
    ("/tea", 200, True)])
def test_health_checks_are_left_out_while_all_is_well(path: str, status: int, passes: bool) -> None:
    assert bool(PathFilter(["/healthz"]).filter(record(path=path, status=status))) is passes


def test_other_lines_pass_the_filter() -> None:
    assert PathFilter(["/healthz"]).filter(record())


def test_every_line_gets_a_request_id() -> None:
    formatter = logging.Formatter("%(message)s [%(request_id)s]")
    about_one, about_none, without = record(request_id="abc-1"), record(), record(request_id=None)
    assert all(RequestIdFilter(missing="none").filter(line) for line in (about_one, about_none, without))
    assert [formatter.format(line) for line in (about_one, about_none, without)] == [
        "line [abc-1]", "line [none]", "line [none]"]


def test_json() -> None:
    line = json.loads(JsonFormatter().format(record(answer=42)))
    assert (line["level"], line["message"], line["answer"]) == ("info", "line", 42)


@pytest.mark.parametrize("settings", [
    {"()": "trioserve.logging.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s", "use_colors": None},
    {"()": "trioserve.logging.AccessFormatter"},
    {"()": "trioserve.logging.JsonFormatter"},
])
def test_a_dict_config_can_name_them(settings: dict[str, Any]) -> None:
    logging.config.dictConfig({
        "version": 1, "disable_existing_loggers": False, "formatters": {"ours": settings},
        "filters": {"ids": {"()": "trioserve.logging.RequestIdFilter"},
                    "paths": {"()": "trioserve.logging.PathFilter", "paths": ["/healthz"], "below": 500}},
        "handlers": {"nowhere": {"class": "logging.NullHandler", "formatter": "ours", "filters": ["ids", "paths"]}},
    })
