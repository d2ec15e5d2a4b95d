"""Access lines for what is answered without having become a request."""

import json
import logging
import os
import re
from typing import Any

import anyio
import pytest

from tests.helpers.access_lines import BatchHandler, logged
from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, post, receive_response, status_of
from trioserve._server.access_log import format as access_format

GARBAGE = b"\x16\x03\x01 \"quoted\" \\\x1b[31m\r\n\r\n"
TWO_HOSTS = get("/a%20b?c=d", "host: b")
WHOLE = "%(h)s %(client)s %(m)s %(U)s %(q)s %(H)s %(s)s %(st)s"


async def refusal_of(handler: Any, request: bytes, **options: Any) -> bytes:
    """The answer to ``request``, which no application has seen."""
    async with logged(hello, handler, **options) as site:
        return await site.everything_after(request)


async def line_of(request: bytes, **options: Any) -> str:
    handler = BatchHandler()
    await refusal_of(handler, request, **options)
    [line] = handler.lines
    return line


@pytest.mark.parametrize(("request_", "request_line", "status"), [
    (TWO_HOSTS, "GET /a%20b?c=d HTTP/1.1", "400 Bad Request"),
    (GARBAGE, r'\x16\x03\x01 \"quoted\" \\\x1b[31m', "400 Bad Request"),
    (b"\r\n\r\n\r\n", "-", "400 Bad Request"),
    (b"GET / HTTP/2.0\r\n\r\n", "GET / HTTP/2.0", "505 HTTP Version Not Supported"),
    (get("http://a/", *(["x: y"] * 100)), "GET http://a/ HTTP/1.1", "431 Request Header Fields Too Large"),
    (get("/cart", f"cookie: {'x' * 70_000}"), "GET /cart HTTP/1.1", "431 Request Header Fields Too Large"),
    (post(target="/up", length=6), "POST /up HTTP/1.1", "413 [a-zA-Z ]+"),
    (b"GET /" + b"x" * 20_000, "GET /" + "x" * 195 + "...", "414 [a-zA-Z -]+"),
])
async def test_a_line_for_what_is_refused(handler: Any, request_: bytes, request_line: str, status: str) -> None:
    answer = await refusal_of(handler, request_, limit_request_body=5)
    [line] = handler.lines
    size = len(body_of(answer))
    assert re.fullmatch(rf'192\.0\.2\.1:50000 - "{re.escape(request_line)}" {status} {size} B - ms', line), line
    assert line.split('" ')[-1].startswith(str(status_of(answer)))


async def test_a_head_that_does_not_come_to_its_end() -> None:
    text = "%(r)s|%(m)s|%(s)s|%(reason)s"
    assert await line_of(b"GET / HT", access_log_format=text) == "GET / HT|-|408|the request head took too long"
    assert await line_of(get()[:-2], access_log_format=text) == "GET / HTTP/1.1|GET|408|the request head took too long"


async def test_a_connection_on_which_nothing_comes_has_no_line(handler: Any) -> None:
    async with logged(hello, handler) as site:
        silent = site.connect()
        assert await silent.receive_rest() == b""
        gone = site.connect()
        await gone.aclose()
        await anyio.sleep(1)
    assert handler.lines == []


async def test_after_a_request_that_was_well(handler: Any) -> None:
    async with logged(hello, handler) as site:
        client = site.connect()
        await client.send_all(get("/fine"))
        await receive_response(client)
        await client.send_all(b"nonsense\r\n\r\n")
        await client.receive_rest()
    assert [re.sub(r"\d+\.\d ms", "- ms", line) for line in handler.lines] == [
        '192.0.2.1:50000 - "GET /fine HTTP/1.1" 200 OK 5 B - ms',
        '192.0.2.1:50000 - "nonsense" 400 Bad Request 23 B - ms',
    ]


@pytest.mark.parametrize(("request_", "line"), [
    (TWO_HOSTS, "192.0.2.1 192.0.2.1:50000 GET /a%20b c=d HTTP/1.1 400 Bad Request"),
    (get("/x", "host: b"), "192.0.2.1 192.0.2.1:50000 GET /x  HTTP/1.1 400 Bad Request"),
    (GARBAGE, "192.0.2.1 192.0.2.1:50000 - - - - 400 Bad Request"),
])
async def test_atoms(request_: bytes, line: str) -> None:
    assert await line_of(request_, access_log_format=WHOLE) == line


async def test_every_atom_has_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_TEST", "mine")
    atoms = [f"%({atom})s" for atom in access_format.ATOMS]
    text = "|".join([*atoms, "%({host}i)s", "%({server}o)s", "%({X_TEST}e)s", "%%"])
    values = (await line_of(GARBAGE, access_log_format=text)).split("|")
    assert len(values) == len(atoms) + 4
    assert values[-4:] == ["-", "-", "mine", "%"]
    unknown = {atom for atom, value in zip(access_format.ATOMS, values, strict=False) if value == "-"}
    assert unknown == {"l", "u", "m", "U", "q", "H", "f", "a", "T", "M", "D", "L", "ms", "id", "trace"}


async def test_a_line_of_json() -> None:
    line = json.loads(await line_of(TWO_HOSTS, log_format="json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("bytes") > 0
    assert line.pop("reason")  # in the words of the engine that is installed
    assert line == {
        "level": "info", "logger": "trioserve.access", "pid": os.getpid(), "message": "GET /a%20b 400",
        "client": "192.0.2.1", "client_port": 50000, "method": "GET", "path": "/a%20b", "query": "c=d",
        "http_version": "1.1", "status": 400, "duration_ms": None, "user_agent": None, "request_id": None,
        "trace_id": None, "span_id": None,
    }


async def test_json_has_the_same_keys_whatever_came() -> None:
    fine, broken = [json.loads(await line_of(request, log_format="json")) for request in (
        get("/", "connection: close"), GARBAGE)]
    assert fine.keys() == broken.keys()
    assert broken["message"] == r'\x16\x03\x01 \"quoted\" \\\x1b[31m 400'
    assert (broken["method"], broken["path"], broken["query"], broken["http_version"]) == (None, None, None, None)


async def test_the_message_of_a_json_line_is_what_the_format_says() -> None:
    line = await line_of(GARBAGE, log_format="json", access_log_format="%(s)s of %(h)s")
    assert json.loads(line)["message"] == "400 of 192.0.2.1"


async def test_the_option_switches_it_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    async with serving(hello, access_log=False) as site:
        await site.everything_after(GARBAGE)
    assert "400" not in caplog.text
