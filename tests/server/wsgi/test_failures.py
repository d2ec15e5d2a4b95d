"""WSGI applications that fail: what the client gets, and who is told."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, ok, status_of
from tests.helpers.wsgi_apps import StartResponse

pytestmark = pytest.mark.real_clock


async def test_what_fails_in_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Blocks(list[bytes]):
        def close(self) -> None:
            raise ValueError("in close")

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return Blocks([b"whole"])

    async with serving(app) as site:
        assert await site.answer_to(get("/path")) == ok(b"whole")
    assert "serving GET /path" in caplog.text and "ValueError: in close" in caplog.text


async def test_a_wrong_message_is_told_to_who_writes_next(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Exception] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [("bad name", "x")])
        try:
            while True:
                write(b"x" * 100_000)
        except Exception as exc:
            told.append(exc)
            raise

    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert "bad name" in str(told[0])
    assert "bad name" in caplog.text


async def test_a_wrong_message_that_nobody_was_told_of_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("bad name", "x")])
        return [b"whole"]

    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert "bad name" in caplog.text


async def test_an_error_replaces_a_head_that_was_not_sent() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oops", [("Content-Length", "4")], sys.exc_info())
        return [b"oops"]

    async with serving(app) as site:
        response = await site.answer_to(get())
    assert (status_of(response), body_of(response)) == (500, b"oops")


async def test_an_error_after_the_head_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())

    async with serving(app) as site:
        assert (await site.everything_after(get())).endswith(b"1\r\na\r\n")
    assert "ValueError: too late" in caplog.text


@pytest.mark.parametrize(("app", "problem"), [
    (lambda environ, start_response: [b"a"], "without calling start_response"),
    (lambda environ, start_response: [], "without calling start_response"),
    (lambda environ, start_response: start_response("200 OK", []) and start_response("200 OK", []),
     "start_response was called twice"),
    (lambda environ, start_response: start_response("2000 OK", []), "status '2000 OK'"),
    (lambda environ, start_response: start_response("200OK", []), "status '200OK'"),
    (lambda environ, start_response: start_response(b"200 OK", []), "status b'200 OK'"),
    (lambda environ, start_response: 1 / 0, "ZeroDivisionError"),
    (lambda environ, start_response: sys.exit(3), "SystemExit: 3"),
])
async def test_applications_that_fail(app: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(app) as site:
        assert status_of(await site.everything_after(get())) == 500
    assert problem in caplog.text
    assert "ExceptionGroup" not in caplog.text


@pytest.mark.parametrize("fails", [True, False])
async def test_what_was_returned_is_closed(fails: bool) -> None:
    class Blocks:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b"a"
            if fails:
                raise ValueError

        def close(self) -> None:
            self.closed += 1

    blocks = Blocks()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Blocks:
        start_response("200 OK", [])
        return blocks

    async with serving(app) as site:
        await site.everything_after(get("/", "connection: close"))
    assert blocks.closed == 1
