"""What access lines say: every atom, JSON, and mistakes in a format."""

import base64
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.access_lines import BatchHandler, PlainHandler, logged
from tests.helpers.apps import part, reply, start
from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from trioserve._config import DEFAULT_ACCESS_FORMAT, Config
from trioserve._connection.records import status_of
from trioserve._errors import ConfigError
from trioserve._protocol.events import Meaning, RequestHead
from trioserve._server import check
from trioserve._server.access_log import format as access_format
from trioserve._server.access_log.format import access_fields, compile_format, json_format, local_time, utc_time
from trioserve._types import App, Fields, Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Thirteen bytes and two fields of its own; nothing for /empty."""
    body = b"" if scope["path"] == "/empty" else b"Hello, world!"
    await reply(send, body, 201, [(b"Content-Type", b"text/plain"), (b"x-of-app", b' with "quotes" ')])


async def line_of(text: str, request: bytes = b"", **options: Any) -> str:
    """The access line for one request."""
    handler = BatchHandler()
    async with logged(options.pop("app", app), handler, access_log_format=text, **options) as site:
        await site.answer_to(request or get("/a%20b?c=d"))
    [line] = handler.lines
    return line


# -- atoms -----------------------------------------------------------------------------------------------------------

CREDENTIALS = base64.b64encode(b"ann:secret").decode()
FIELDS = (
    "referer: http://a/", 'user-agent: say "hi"\t\x9b31m', f"authorization: Basic {CREDENTIALS}", "X-Of-Client: 1")


@pytest.mark.parametrize(("text", "line"), [
    ("%(h)s", "192.0.2.1"),
    ("%(l)s", "-"),
    ("%(u)s", "ann"),
    ("%(r)s", "GET /a%20b?c=d HTTP/1.1"),
    ("%(m)s", "GET"),
    ("%(U)s", "/a%20b"),
    ("%(q)s", "c=d"),
    ("%(H)s", "HTTP/1.1"),
    ("%(s)s", "201"),
    ("%(st)s", "Created"),
    ("%(B)s %(b)s", "13 13"),
    ("%(f)s", "http://a/"),
    ("%(a)s", r"say \"hi\"\x09\x9b31m"),
    ("%(client)s", "192.0.2.1:50000"),
    ("%(reason)s", "-"),
    ("%({x-of-client}i)s%({X-OF-CLIENT}i)s", "11"),
    ("%({content-type}o)s", "text/plain"),
    ("%({X-Of-App}o)s", r"with \"quotes\""),
    ("%({X_TEST}e)s", r"of \"the\" environment"),
    ("%({missing}i)s%({missing}o)s%({MISSING}e)s", "---"),
    ("no atom", "no atom"),
    ("100 %% {of} 'it' \\ \" %(s)s%(m)s%%", "100 % {of} 'it' \\ \" 201GET%"),
    ("", ""),
])
async def test_atoms(monkeypatch: pytest.MonkeyPatch, text: str, line: str) -> None:
    monkeypatch.setenv("X_TEST", 'of "the" environment')
    assert await line_of(text, get("/a%20b?c=d", *FIELDS)) == line


@pytest.mark.parametrize(("text", "pattern"), [
    ("%(t)s", r"\[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"),
    ("%(T)s", r"0"), ("%(M)s", r"\d+"), ("%(D)s", r"\d+"), ("%(L)s", r"0\.\d{6}"), ("%(ms)s", r"\d+\.\d"),
    ("%(id)s", r"[0-9a-f]{12}-1"),
])
async def test_atoms_that_are_another_each_time(text: str, pattern: str) -> None:
    line = await line_of(text)
    assert re.fullmatch(pattern, line), line


async def test_the_process() -> None:
    assert await line_of("%(p)s") == f"<{os.getpid()}>"


async def test_what_is_not_there_is_a_dash() -> None:
    line = await line_of("%(u)s %(f)s %(a)s %(b)s %(B)s [%(q)s]", get("/empty"))
    assert line == "- - - - 0 []"


@pytest.mark.parametrize("credentials", ["Bearer abc", "Basic !!!", "Basic", "Basic YQ"])
async def test_credentials_that_name_nobody(credentials: str) -> None:
    assert await line_of("%(u)s", get("/", f"authorization: {credentials}")) == "-"


async def test_a_user_name_cannot_forge_a_line() -> None:
    name = base64.b64encode(b"a\n\x1b[31m:").decode()
    assert await line_of("%(u)s", get("/", f"authorization: basic {name}")) == r"a\x0a\x1b[31m"


@pytest.mark.parametrize("target", ['/a"b', '/a\\"b', "/a\\", '/\\\\"', "/\\x0a", '/?a\\"'])
async def test_neither_quotes_nor_backslashes_in_the_target_end_it(target: str) -> None:
    for text in (DEFAULT_ACCESS_FORMAT, '"%(r)s"'):
        assert unescaped(await line_of(text, get(target))) == f"GET {target} HTTP/1.1"
    assert unescaped(await line_of('"%(U)s?%(q)s"', get(target))) == (target if "?" in target else f"{target}?")


def unescaped(line: str) -> str:
    """The first quoted part of ``line``, as whoever reads the log takes it."""
    quoted = re.search(r'"((?:[^"\\]|\\.)*)"', line)
    assert quoted is not None, line
    return re.sub(r"\\(.)", r"\1", quoted[1])


async def test_a_name_that_a_proxy_gives_cannot_forge_a_line() -> None:
    request = get("/", 'x-request-id: a\\"b')
    line = await line_of('"%(id)s"', request, request_id_header="x-request-id", forwarded_allow_ips="*")
    assert unescaped(line) == 'a\\"b'


async def test_a_response_that_the_server_made() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    assert await line_of("%(s)s %(st)s %({server}o)s", app=failing) == "500 Internal Server Error -"


async def test_every_atom_works_before_there_is_a_response() -> None:
    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        """Returns without a response."""

    text = "|".join(f"%({atom})s" for atom in access_format.ATOMS)
    assert len((await line_of(text, app=nothing)).split("|")) == len(access_format.ATOMS)


@dataclass
class Fake:
    """An exchange as far as a line can see it."""

    client: tuple[str, int | None] | None
    status: int  # that the application sent
    state: int  # of the response
    final_status: int
    end_reason: str = ""
    name: str | None = None
    headers: Fields = field(default_factory=list)
    left_first: bool = False

    def __post_init__(self) -> None:
        meaning = Meaning("1.0", True, 0, False, False)
        self.head = RequestHead("GET", b'/"?"\\', '/"', b'/"', b'"\\', self.headers, meaning)
        self.response = SimpleNamespace(state=self.state, status=self.status, body_bytes=5)

    def request_id(self) -> str | None:
        return self.name

    def trace(self) -> tuple[str, str] | None:
        return None


EXCHANGES: list[Any] = [
    Fake(client, *status, reason, name, headers)
    for client in (("192.0.2.1", 5), ("::1", None), None)
    for status in ((200, 4, 200), (599, 2, 599), (0, 0, 0), (200, 1, 504), (0, 0, 408))
    for reason, name, headers in (("", None, []), ("shutdown-deadline", 'a"b', [(b"user-agent", b'"\xe9\\')]))
]


def test_a_json_line_has_the_fields_of_a_record() -> None:
    line = json_format(DEFAULT_ACCESS_FORMAT)
    for exchange in EXCHANGES:
        found = json.loads(line(exchange, 0.0012344))
        assert {found.pop(key) for key in ("level", "logger")} == {"info", "trioserve.access"}
        assert found.pop("message") == f'GET /" {status_of(exchange)}'
        assert found.pop("time")
        assert found.pop("pid") == os.getpid()
        assert found == access_fields(exchange, 0.0012344)


def test_fields_can_be_those_of_a_record() -> None:
    assert not access_fields(EXCHANGES[0], 0).keys() & vars(logging.makeLogRecord({})).keys()


def test_the_default_is_what_its_atoms_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hand-written line is the compiled one, only faster."""
    fast = compile_format(DEFAULT_ACCESS_FORMAT)
    monkeypatch.setattr(access_format, "DEFAULT_ACCESS_FORMAT", "another")
    plain = compile_format(DEFAULT_ACCESS_FORMAT)
    assert fast is not plain
    for exchange in EXCHANGES:
        assert fast(exchange, 0.00123) == plain(exchange, 0.00123)


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "problem"), [
    ("%(x)s", "%(x)s is no atom; atoms are h l u t r"),
    ("%(statu)s", "%(statu)s is no atom"),
    ("a %s b", "'%s' is no atom; an atom looks like %(h)s"),
    ("%(h)d x", "'%(h)d' is no atom"),
    ("%({a}x)s", "'%({a}x)s' is no atom"),
    ("%({}i)s", "'%({}i)s' is no atom"),
    ("100%", "'%' is no atom"),
    ("%h %l", "'%h' is no atom"),
])
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_what_is_no_atom_is_named(text: str, problem: str, log_format: str) -> None:
    with pytest.raises(ConfigError) as failure:
        async with serving(app, access_log=True, access_log_format=text, log_format=log_format):
            raise NotImplementedError
    assert failure.value.option == "access_log_format"
    assert failure.value.problem.startswith(problem)
    with pytest.raises(ConfigError):
        await check(app, Config(access_log_format=text))


PIECES = st.sampled_from(
    ["%", "%%", "%(h)s", "%({a}i)s", "%({a'}o)s", '%({"""}e)s', "'", '"', "\\", "{", "}", "\n", ")", "s"])


@settings(deadline=None)
@given(st.lists(PIECES | st.text(st.characters(codec="utf-8"), max_size=5)).map("".join))
def test_any_text_is_a_format_or_a_mistake(text: str) -> None:
    try:
        line = compile_format(text)
    except ConfigError:
        return
    for exchange in EXCHANGES:
        exchange.response.field = lambda name: None
        assert line(exchange, 0.5).count("\n") == text.count("\n")


# -- JSON ------------------------------------------------------------------------------------------------------------


async def test_a_line_of_json() -> None:
    request = get('/a%20b?c="d', 'user-agent: "caf\xe9"')
    line = json.loads(await line_of(DEFAULT_ACCESS_FORMAT, request, log_format="json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("duration_ms") < 60_000
    assert re.fullmatch("[0-9a-f]{12}-1", line.pop("request_id"))
    assert line == {
        "level": "info", "logger": "trioserve.access", "pid": os.getpid(), "message": "GET /a%20b 201",
        "client": "192.0.2.1", "client_port": 50000, "method": "GET", "path": "/a%20b", "query": 'c="d',
        "http_version": "1.1", "status": 201, "bytes": 13, "user_agent": '"caf\xe9"', "reason": None, "trace_id": None,
        "span_id": None,
    }


async def test_the_message_of_a_json_line_is_what_the_format_says() -> None:
    assert json.loads(await line_of('"%(m)s" %%', log_format="json"))["message"] == '"GET" %'


TRACEPARENT = f"traceparent: 00-{'4bf92f35' * 4}-{'00f067aa' * 2}-01"


async def test_a_traced_request_can_be_found_by_its_trace() -> None:
    request = get("/", TRACEPARENT)
    line = json.loads(await line_of(DEFAULT_ACCESS_FORMAT, request, log_format="json"))
    assert (line["trace_id"], line["span_id"]) == ("4bf92f35" * 4, "00f067aa" * 2)
    assert await line_of("%(trace)s", request) == "4bf92f35" * 4
    assert await line_of("%(trace)s") == "-"


async def test_an_absent_user_agent_is_null() -> None:
    assert json.loads(await line_of(DEFAULT_ACCESS_FORMAT, log_format="json"))["user_agent"] is None


async def test_without_names_the_request_id_is_null() -> None:
    line = await line_of(DEFAULT_ACCESS_FORMAT, log_format="json", request_id_header="off")
    assert json.loads(line)["request_id"] is None
    assert await line_of("%(id)s", request_id_header="off") == "-"


async def test_ordinary_records_carry_the_same_fields() -> None:
    class Records(PlainHandler):
        def __init__(self) -> None:
            super().__init__()
            self.records: list[logging.LogRecord] = []

        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            self.records.append(record)

    handler = Records()
    async with logged(app, handler, log_format="json") as site:
        await site.answer_to(get("/a?b"))
    [record] = handler.records
    assert record.getMessage().startswith('192.0.2.1:50000 - "GET /a?b HTTP/1.1" 201 Created 13 B ')
    assert {key: vars(record)[key] for key in ("path", "query", "status", "bytes", "client")} == {
        "path": "/a", "query": "b", "status": 201, "bytes": 13, "client": "192.0.2.1"}


# -- times -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "XXX+03:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_local_time(zone: None) -> None:
    assert local_time(1_700_000_001) == "[14/Nov/2023:18:43:21 -0330]"
    assert local_time(1_700_000_002) == "[14/Nov/2023:18:43:22 -0330]"


def test_utc_time() -> None:
    assert utc_time(1_700_000_000.0016) == "2023-11-14T22:13:20.001Z"
    assert utc_time(1_700_000_000.9999) == "2023-11-14T22:13:20.999Z"
    assert utc_time(1_700_000_001) == "2023-11-14T22:13:21.000Z"


# -- what ended a request --------------------------------------------------------------------------------------------


async def half(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"x")
    await receive()
    await receive()
    await part(send, b"x")


@pytest.mark.parametrize("ending", [app, half])
async def test_a_request_that_was_not_ended_has_no_reason(ending: App) -> None:
    handler = BatchHandler()
    async with logged(ending, handler, access_log_format="%(reason)s %(s)s") as site:
        client = site.connect()
        await client.send_all(get())
        await client.receive_some()
        client.abort()
    assert handler.lines[0].split()[0] == "-"
