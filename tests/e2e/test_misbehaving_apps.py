"""Applications that raise, hang, spin, give up or talk nonsense: one request suffers, the others do not."""

import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.helpers.raw_http import RawClient, Response, fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until

MEBIBYTE = 1024 * 1024
CUT_SHORT = (EOFError, ConnectionResetError)


@pytest.fixture(scope="module")
def server(loop: Flavour) -> Iterator[ServerProcess]:
    with serve("probe:app", loop, "--timeout-request", "1", errors_expected=True) as server:
        yield server


@pytest.fixture(autouse=True)
def others_are_served(request: pytest.FixtureRequest) -> Iterator[None]:
    """Before and after, and nothing of what was in between is left."""
    if "server" not in request.fixturenames:
        yield
        return
    server = request.getfixturevalue("server")

    def count() -> tuple[int, int]:
        census = fetch(server.address, "/census").json()
        return census["tasks"], census["visits"]

    def nothing_stays() -> bool:
        return all(now <= then for now, then in zip(count(), before, strict=True))

    before = count()
    yield
    wait_until(nothing_stays, f"no more than {before} tasks and requests")


def check_refusal(response: Response, status: int = 500) -> None:
    """A whole answer that says no more than it must."""
    assert response.status == status
    assert response.headers["connection"] == "close"
    assert b"Traceback" not in response.body
    assert b"Deliberate" not in response.body


# -- raise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/fail", "/fail_in_group"])
def test_an_exception(server: ServerProcess, path: str) -> None:
    logged = len(server.stderr.lines_with("Deliberate: before the response"))
    check_refusal(fetch(server.address, path))
    server.stderr.wait_for(f"Exception in the application, serving GET {path}")
    server.stderr.wait_for("Deliberate: before the response", times=logged + 1)


def test_an_exception_in_the_middle_of_a_response(server: ServerProcess) -> None:
    with RawClient(server.address) as client:
        client.get("/fail_midway")
        with pytest.raises(CUT_SHORT):
            client.receive_response()
    server.stderr.wait_for("Deliberate: in the middle of the response")


def test_system_exit_is_one_requests_affair(server: ServerProcess) -> None:
    check_refusal(fetch(server.address, "/leave_process"))
    server.stderr.wait_for("SystemExit")


def test_a_pipeline_ends_with_the_request_that_failed(server: ServerProcess) -> None:
    with RawClient(server.address) as client:
        for path in ("/hello", "/fail", "/hello"):
            client.get(path)
        assert client.receive_response().status == 200
        check_refusal(client.receive_response())
        assert client.is_closed()


# -- return ----------------------------------------------------------------------------------------------------------


def test_no_response(server: ServerProcess) -> None:
    check_refusal(fetch(server.address, "/return_early"))
    server.stderr.wait_for("returned without a response, serving GET /return_early")


@pytest.mark.parametrize("path", ["/return_midway", "/return_short"])
def test_half_a_response(server: ServerProcess, path: str) -> None:
    with RawClient(server.address) as client:
        client.get(path)
        with pytest.raises(CUT_SHORT):
            client.receive_response()


def test_half_a_response_is_in_the_log(server: ServerProcess) -> None:
    """Otherwise nobody could tell it from a client that left."""
    with RawClient(server.address) as client:
        client.get("/return_midway?logged")
        with pytest.raises(CUT_SHORT):
            client.receive_response()
    server.stderr.wait_for("GET /return_midway?logged")


# -- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [
    "not-a-dict", "no-type", "unknown-type", "body-first", "start-twice", "status-text", "status-interim",
    "header-text", "header-injection", "header-name", "body-text", "body-too-long", "body-too-short", "websocket",
])
def test_nonsense(server: ServerProcess, kind: str) -> None:
    check_refusal(fetch(server.address, f"/nonsense?kind={kind}"))
    server.stderr.wait_for(f"Exception in the application, serving GET /nonsense?kind={kind}")


# -- never return ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hang", "/spin"])
def test_a_request_that_takes_too_long(server: ServerProcess, path: str) -> None:
    cancelled = len(server.stderr.lines_with(f"{path} cancelled"))
    check_refusal(fetch(server.address, path), 504)
    server.stderr.wait_for(f"{path} cancelled", times=cancelled + 1)
    line = server.stderr.wait_for(f"request-timeout: ended GET {path} after ")
    assert "probe.py" in line


def test_a_response_that_takes_too_long(server: ServerProcess) -> None:
    with RawClient(server.address) as client:
        client.get("/hang_midway")
        with pytest.raises(CUT_SHORT):
            client.receive_response()
    server.stderr.wait_for("request-timeout: ended GET /hang_midway after ")


def test_an_endless_response_takes_too_long(server: ServerProcess) -> None:
    with RawClient(server.address) as client:
        client.get("/endless")
        with pytest.raises(CUT_SHORT):
            while True:
                client.receive_exactly(MEBIBYTE)
    server.stderr.wait_for("request-timeout: ended GET /endless after ")


def test_others_get_their_turn(loop: Flavour) -> None:
    """Beside applications that never wait, as long as they have checkpoints."""
    with (
        serve("probe:app", loop, "--on-disconnect", "cancel") as server,
        RawClient(server.address) as spinning, RawClient(server.address) as streaming,
    ):
        spinning.get("/spin")
        streaming.get("/endless?size=1000")
        streaming.sock.setblocking(False)       # whoever streams is read, too
        server.stderr.wait_for("/spin spinning")
        for _ in range(20):
            assert fetch(server.address, "/hello").status == 200
            with suppress(BlockingIOError):
                streaming.sock.recv(MEBIBYTE)


# -- for a long time -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="reads the server's memory from /proc")
def test_memory_does_not_grow(loop: Flavour) -> None:
    """The same mix again and again, ten times as often as was needed to get warm."""
    mix = ("/hello", "/fail", "/fail_in_group", "/fail_midway", "/return_early", "/return_midway", "/parts?count=5",
           "/nonsense?kind=header-injection", "/nonsense?kind=body-too-long", "/leave_process")

    def visit(server: ServerProcess, rounds: int) -> None:
        for _ in range(rounds):
            for path in mix:
                with RawClient(server.address) as client, suppress(*CUT_SHORT):
                    client.get(path, "Connection: close")
                    client.receive_all()

    with serve("probe:app", loop, "--no-access-log", python_options=(), errors_expected=True) as server:
        visit(server, 10)
        fetch(server.address, "/census")        # collects garbage
        memory, descriptors = server.resident_bytes(), server.descriptors()
        visit(server, 100)
        fetch(server.address, "/census")
        assert server.resident_bytes() - memory < 2 * MEBIBYTE
        wait_until(lambda: server.descriptors() <= descriptors, "no descriptor is left over")
