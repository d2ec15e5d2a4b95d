"""The worker classes under a real gunicorn."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import APPS, STRICT, ServerProcess, check_log, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")


@pytest.fixture(params=["TrioWorker", "AsyncioWorker"])
def worker_class(request: pytest.FixtureRequest) -> str:
    return f"trioserve.gunicorn.{request.param}"


class Gunicorn(ServerProcess):
    """gunicorn with a worker of ours."""

    def wait_started(self) -> None:
        self.start_line = self.stderr.wait_for("Listening at: http://127.0.0.1:")
        self.address = ("127.0.0.1", int(self.start_line.partition("127.0.0.1:")[2].split()[0]))


@contextmanager
def gunicorn(worker_class: str, *options: str, app: str = "probe:app", errors_expected: bool = False,
             directory: Path = APPS) -> Iterator[Gunicorn]:
    command = [
        *STRICT, "-m", "gunicorn", "-k", worker_class, "--bind", "127.0.0.1:0", "--chdir", str(directory),
        "--no-control-socket", *options, app,
    ]
    server = Gunicorn([sys.executable, *command])
    try:
        yield server
        if not server.ended:
            server.send_signal(signal.SIGTERM)
            assert server.wait_exit() == 0
            check_log(server.stderr.text, errors_expected=errors_expected)
    except BaseException as exc:
        server.kill()
        exc.add_note(server.report)
        raise


def booted(server: Gunicorn, times: int = 1) -> int:
    """The process id of a worker whose application has started."""
    server.wait_started()
    server.stderr.wait_for("probe: lifespan began", times=times)
    return int(server.stderr.wait_for("Booting worker with pid: ", times=times).rpartition(": ")[2])


def test_it_serves_and_stops(worker_class: str) -> None:
    with gunicorn(worker_class, "--access-logfile", "-") as server:
        pid = booted(server)
        census = fetch(server.address, "/census").json()
        assert census["pid"] == pid
        assert (census["loop"] == "trio") == ("Trio" in worker_class)
        server.send_signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert server.stderr.lines_with("probe: lifespan ended")
        assert server.stdout.lines_with('"GET /census HTTP/1.1" 200 OK')
        check_log(server.stderr.text)


def test_a_request_in_progress_is_finished(worker_class: str) -> None:
    with gunicorn(worker_class) as server:
        booted(server)
        with RawClient(server.address) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
            server.stderr.wait_for("/echo entered")
            server.send_signal(signal.SIGTERM)
            server.stderr.wait_for("Shutting down (SIGTERM)")
            client.send(b" last")
            assert client.receive_response().body == b"first last"
            assert server.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
def test_a_quick_shutdown_does_not_wait(worker_class: str, number: signal.Signals) -> None:
    with gunicorn(worker_class) as server:
        booted(server)
        with RawClient(server.address) as client:
            client.get("/hang")
            server.stderr.wait_for("/hang hanging")
            server.send_signal(number)
            assert server.wait_exit() == 0
            assert server.stderr.lines_with("probe: lifespan ended")


def test_a_hang_up_brings_new_workers(worker_class: str) -> None:
    with gunicorn(worker_class) as server:
        before = booted(server)
        server.send_signal(signal.SIGHUP)
        after = booted(server, times=2)
        server.stderr.wait_for("probe: lifespan ended")
        assert fetch(server.address, "/census").json()["pid"] == after != before


def test_max_requests(worker_class: str) -> None:
    with gunicorn(worker_class, "--max-requests", "3") as server:
        booted(server)
        for _ in range(3):
            assert fetch(server.address, "/hello").status == 200
        server.stderr.wait_for("Shutting down (max_requests)")
        booted(server, times=2)
        assert fetch(server.address, "/hello").status == 200


def test_a_wedged_worker_is_killed_by_the_arbiter(worker_class: str) -> None:
    with gunicorn(worker_class, "--timeout", "2", errors_expected=True) as server:
        booted(server)
        with RawClient(server.address) as client:
            client.get("/wedge")
            server.stderr.wait_for("WORKER TIMEOUT")
            booted(server, times=2)
            assert fetch(server.address, "/hello").status == 200


def test_a_worker_whose_loop_turns_is_not(worker_class: str) -> None:
    with gunicorn(worker_class, "--timeout", "2") as server:
        booted(server)
        with RawClient(server.address) as client:
            client.sock.settimeout(5)
            client.get("/hang")
            with pytest.raises(TimeoutError):
                client.receive_exactly(1)
            server.send_signal(signal.SIGINT)
            assert server.wait_exit() == 0
        assert not server.stderr.lines_with("WORKER TIMEOUT")


def test_workers_end_when_the_arbiter_is_killed(worker_class: str) -> None:
    with gunicorn(worker_class) as server:
        booted(server)
        os.kill(server.pid, signal.SIGKILL)
        server.stderr.wait_for("Shutting down (the arbiter has gone)")
        assert server.wait_exit() == -signal.SIGKILL


def test_an_application_that_does_not_start_stops_gunicorn(worker_class: str, tmp_path: Path) -> None:
    (tmp_path / "site_failing.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n")
    with gunicorn(worker_class, app="site_failing:app", directory=tmp_path) as server:
        assert server.wait_exit() == 3
        assert server.stderr.lines_with("the application failed to start: no database")


def test_settings_and_options(worker_class: str, tmp_path: Path) -> None:
    """gunicorn's own, where somebody has set them, and ours by a class."""
    (tmp_path / "site_worker.py").write_text(
        f"import {worker_class.rpartition('.')[0]} as workers\n"
        f"class Worker(workers.{worker_class.rpartition('.')[2]}):\n"
        "    OPTIONS = {'server_header': False}\n"
        f"import sys; sys.path.append({str(APPS)!r})\n")
    with gunicorn(
        "site_worker.Worker", "--limit-request-fields", "3", "--pythonpath", str(tmp_path), directory=tmp_path
    ) as server:
        booted(server)
        answer = fetch(server.address, "/hello")
        assert "server" not in answer.headers
        with RawClient(server.address) as client:
            client.get("/hello", "a: 1", "b: 2", "c: 3")
            assert client.receive_response().status == 431


def test_tls_is_refused(worker_class: str, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.touch()
    with gunicorn(worker_class, "--certfile", str(certificate)) as server:
        assert server.wait_exit() == 3
        assert server.stderr.lines_with("serve no TLS")


def test_old_workers_are_gone(worker_class: str) -> None:
    with gunicorn(worker_class, "--workers", "2") as server:
        booted(server, times=2)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        before = set(children.read_text().split())
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & set(children.read_text().split()), "the end of the old workers")
        assert fetch(server.address, "/hello").status == 200


def test_the_configuration_of_the_guide() -> None:
    """It runs two workers, and its grace is ours."""
    conf = Path(__file__).parents[2] / "docs/examples/deploy/gunicorn.conf.py"
    with gunicorn("trioserve.gunicorn.TrioWorker", "--config", str(conf)) as server:
        booted(server, times=2)
        assert fetch(server.address, "/census").json()["loop"] == "trio"
