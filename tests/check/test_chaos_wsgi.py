"""Chaos and WSGI: clients leave or are slow, and the server stops. What runs in threads is not cancelled."""

from collections.abc import Iterator
from typing import Any

import pytest

from trioserve.testing import chaos, open_test_server, raw_request
from trioserve.testing.chaos_rounds import explore


def upload(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Reads a body, and answers with its length."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(len(body)).encode()]


async def test_nothing_is_found_in_an_upload() -> None:
    report = await chaos(upload, ["POST / some bytes", "GET /"])
    assert report.rounds >= 8  # each has at least a head and a body, which can be left, be slow, or come in a shutdown


async def test_a_client_that_leaves_an_upload() -> None:
    broken_off: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError:
            broken_off.append(environ["PATH_INFO"])
            raise
        start_response("503 Unavailable" if broken_off else "200 OK", [])
        return [b"done"]

    report = await explore(app, ["POST / some"], points=["leave@0"])
    [finding] = report.findings
    assert (finding.kind, finding.request, finding.point) == ("state", "POST /", "leave@0")
    assert "then POST / gets status 503 in place of 200" in finding.text


async def test_what_slow_clients_share() -> None:
    """A slow client makes the thread wait for it, and meanwhile others change what it sends."""
    user = [""]

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        user[0] = environ["QUERY_STRING"]
        start_response("200 OK", [])
        yield b"basket of ".rjust(100_000)  # more than is taken before the client has it
        yield user[0].encode()

    report = await explore(app, ["GET /?ann", "GET /?bob"], points=["slow@0"])
    assert ("overtaken", "GET /?ann") in {(finding.kind, finding.request) for finding in report.findings}


async def test_a_call_of_a_running_server_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """As by a timeout. That is no fault of the application's, and the next one comes to its own strike."""
    async with open_test_server(upload, chaos="cancel@0") as server:
        for _ in range(2):
            client = server.connect()
            await client.send(raw_request(headers={"connection": "close"}))
            assert (await client.receive_rest()).startswith(b"HTTP/1.1 500 ")
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("chaos: ")]
    assert lines == ["chaos: GET / was struck at cancel@0"] * 2


@pytest.mark.parametrize("point", ["cancel@0", "pause@1"])
async def test_threads_are_neither_cancelled_nor_held_up(point: str) -> None:
    with pytest.raises(ValueError, match=f"'{point}' cannot be tried: WSGI runs in threads"):
        await chaos(upload, points=[point])
