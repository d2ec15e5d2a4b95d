"""``--log-level trace``, as a person at a terminal sees it."""

import json
import re

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, serve


def test_the_messages_of_a_request_and_of_the_lifespan(loop: Flavour) -> None:
    with serve("probe:app", loop, "--log-level", "trace") as server:
        assert fetch(server.address, "/hello").status == 200
        server.stop()
    text = server.stderr.text
    lines = [re.sub(r" \[[\w-]+\]$", " [ID]", line) for line in text.splitlines() if line.startswith("TRACE:")]
    assert lines[:3] == [
        "TRACE:    lifespan", "TRACE:      -> lifespan.startup", "TRACE:      <- lifespan.startup.complete"]
    assert re.fullmatch(r"TRACE:    127\.0\.0\.1:\d+", lines[3])
    assert lines[4].startswith("TRACE:      GET /hello HTTP/1.1 headers=[")
    assert lines[5].startswith("TRACE:        <- http.response.start status=200 headers=[")
    assert lines[6].startswith("TRACE:        <- http.response.body body=b'Hello, world!'")
    assert lines[7].startswith("TRACE:      returned after ")
    assert all(line.endswith(" [ID]") for line in lines[4:8])
    assert lines[8:10] == ["TRACE:    lifespan", "TRACE:      -> lifespan.shutdown"]


def test_as_json(loop: Flavour) -> None:
    with serve("probe:app", loop, "--log-level", "trace", "--log-format", "json") as server:
        fetch(server.address, "/hello")
        server.stop()
    lines = [json.loads(line) for line in server.stderr.text.splitlines() if line.startswith("{")]
    traced = [line for line in lines if line["level"] == "trace"]
    assert {line["logger"] for line in traced} == {"trioserve.asgi"}
    assert len({line["request_id"] for line in traced if "request_id" in line}) == 1


def test_nothing_is_traced_at_debug(loop: Flavour) -> None:
    with serve("probe:app", loop, "--log-level", "debug") as server:
        fetch(server.address, "/hello")
        server.stop()
    assert "http.response" not in server.stderr.text
