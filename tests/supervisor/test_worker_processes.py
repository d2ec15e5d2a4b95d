"""Several real worker processes: they start, crash, wedge, are replaced and stop, and nothing is left of them."""

import json
import os
import resource
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.helpers.certificates import files_of, server_certificate
from tests.helpers.curl import Curl
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import STRICT, Flavour, running, serve, wait_until
from tests.helpers.worker_processes import (
    is_running,
    pid_of_answer,
    ready_pids,
    serve_with_workers,
    starting,
    successor_of,
    wait_gone,
    worker_pids,
)

STOP_SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


# -- listening -------------------------------------------------------------------------------------------------------


def test_workers_serve_with_tls_and_without(backend: Flavour, tmp_path: Path) -> None:
    """And so do those that take their place."""
    certificate, key = files_of(server_certificate(), tmp_path)
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    with serve_with_workers("origin:app", backend, *tls, "--insecure-bind", "127.0.0.1:0") as server:
        assert server.scheme == "https"
        for reloads in range(2):
            assert Curl("--insecure", server.url).json()["scheme"] == "https"
            assert Curl(server.insecure_url).json()["scheme"] == "http"
            server.send_signal(signal.SIGHUP)
            server.stderr.wait_for("Every worker has had its turn", times=1 + reloads)


def test_workers_without_certificates_do_not_serve_insecurely(backend: Flavour) -> None:
    with starting("origin:app", backend, "--insecure-bind", "127.0.0.1:0") as server:
        assert server.wait_exit() == 2
        assert server.stderr.text.splitlines()[-1].startswith("Error: --insecure-bind: without certificates ")


# -- what they log ----------------------------------------------------------------------------------------------------


def test_the_lines_of_a_worker_say_which_one_it_was(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend) as server:
        pids = ready_pids(server)
        server.stop()
        for pid in pids:
            assert server.stderr.lines_with(f"INFO:     [{pid}] Stopped")
        assert "INFO:     Stopped" in server.stderr.text.splitlines()     # the supervisor


def test_so_do_their_lines_of_json(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--log-format", "json") as server:
        pid = pid_of_answer(server)
        server.stop()
        lines = [json.loads(line) for line in server.stderr.text.splitlines() if line.startswith("{")]
        stopped = {line["pid"] for line in lines if line["message"] == "Stopped"}
        assert {pid, server.pid} < stopped
        [access] = [json.loads(line) for line in server.stdout.text.splitlines() if "trioserve.access" in line]
        assert access["pid"] == pid


# -- start and stop --------------------------------------------------------------------------------------------------


def test_workers_serve_and_nothing_is_left(backend: Flavour, tmp_path: Path) -> None:
    pid_file = tmp_path / "server.pid"
    with serve_with_workers("probe:app", backend, "--pid-file", str(pid_file)) as server:
        pids = ready_pids(server)
        assert len(pids) == 2
        assert sorted(worker_pids(server)) == sorted(pids)
        assert pid_of_answer(server) in pids
        assert pid_file.read_text() == f"{server.pid}\n"
        server.stop()
        assert not any(is_running(pid) for pid in pids)
        assert not pid_file.exists()
        assert len(server.stderr.lines_with("Listening on")) == 1
        with pytest.raises(ConnectionRefusedError):
            fetch(server.address, "/hello")
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)     # past connections do not count
            again.bind(server.address)
            again.listen()


@STOP_SIGNALS
def test_a_request_in_progress_is_finished(backend: Flavour, number: signal.Signals) -> None:
    """The terminal's Ctrl-C reaches every process at once, and so does systemd's SIGTERM."""
    with serve_with_workers("probe:app", backend) as server, RawClient(server.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        server.stderr.wait_for("/echo entered")
        for pid in (*ready_pids(server), server.pid):
            os.kill(pid, number)
        server.stderr.wait_for(f"Shutting down ({number.name})", times=3)    # two workers and the supervisor
        client.send(b" last")
        response = client.receive_response()
        assert response.body == b"first last"
        assert response.headers["connection"] == "close"
        server.judge_end()
        assert not server.stderr.lines_with("again")
        assert len(server.stderr.lines_with("probe: lifespan ended")) == 2


def test_with_a_delay_the_file_of_a_unix_socket_stays(backend: Flavour, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    options = ["--workers", "2", "--bind", f"unix:{path}", "--shutdown-delay", "60"]
    with serve("origin:app", backend, *options, port=None) as server:
        server.stderr.wait_for("workers are ready")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Accepting connections for 60 s more", times=2)
        assert Curl("--unix-socket", path, "http://a/late").json()["path"] == "/late"
        server.insist(signal.SIGTERM)
        server.judge_end()
        assert not path.exists()


@STOP_SIGNALS
def test_a_second_signal_does_not_wait(backend: Flavour, number: signal.Signals) -> None:
    with serve_with_workers("probe:app", backend) as server, RawClient(server.address) as client:
        client.get("/hang")
        server.stderr.wait_for("/hang hanging")
        server.send_signal(number)
        server.stderr.wait_for("Shutting down", times=3)
        server.insist(number)
        server.judge_end()
        assert server.stderr.lines_with("shutdown-deadline: ended GET /hang")
        assert len(server.stderr.lines_with("probe: lifespan ended")) == 2


def test_a_second_signal_does_not_wait_for_a_wedged_worker(backend: Flavour) -> None:
    """It is killed, and where it stood goes to the log, before the supervisor ends."""
    with serve_with_workers("probe:app", backend, errors_expected=True) as server, RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down (SIGTERM)", times=2)      # the supervisor, and the worker that can
        server.insist(signal.SIGTERM)
        server.judge_end(errors_expected=True)
        assert server.stderr.lines_with("is killed: it did not stop in time")
        assert server.stderr.lines_with("in wedge")


def test_a_third_signal_kills(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, errors_expected=True) as server, RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down (SIGTERM)", times=2)      # the supervisor, and the worker that can
        server.insist(signal.SIGTERM)
        server.stderr.wait_for("SIGTERM again")
        server.insist(signal.SIGTERM)
        server.judge_end(errors_expected=True)


def test_workers_end_when_the_supervisor_is_killed(backend: Flavour) -> None:
    """A request in progress is finished, all the same."""
    with serve_with_workers("probe:app", backend) as server, RawClient(server.address) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        server.stderr.wait_for("/echo entered")
        os.kill(server.pid, signal.SIGKILL)
        server.stderr.wait_for("Shutting down (the supervisor has gone)", times=2)
        client.send(b" last")
        assert client.receive_response().body == b"first last"
        assert server.wait_exit() == -signal.SIGKILL                    # and the pipes of all processes are closed
        assert len(server.stderr.lines_with("probe: lifespan ended")) == 2


def test_a_wedged_worker_ends_when_there_is_no_supervisor(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--timeout-graceful-shutdown", "0.5") as server, \
         RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait_exit() == -signal.SIGKILL


# -- crashes ---------------------------------------------------------------------------------------------------------


def test_a_crashed_worker_is_replaced(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, errors_expected=True) as server:
        before = ready_pids(server)
        with RawClient(server.address) as client:
            client.get("/leave_at_once")
            assert client.is_closed()
        server.stderr.wait_for("ended unexpectedly (exit code 7)")
        server.stderr.wait_for("is ready")
        wait_until(lambda: len(worker_pids(server)) == 2, "two workers")
        assert len(set(worker_pids(server)) & set(before)) == 1
        assert fetch(server.address, "/hello").status == 200


def test_workers_that_crash_again_and_again_are_replaced_ever_later(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, workers=2, errors_expected=True) as server:
        for crash in range(1, 5):
            with RawClient(server.address) as client:
                client.get("/die")
                assert client.is_closed()
            server.stderr.wait_for("ended unexpectedly (SIGKILL)", times=crash)
        server.stderr.wait_for("The next worker is started in 1 seconds")
        assert fetch(server.address, "/hello").status == 200


def test_a_wedged_worker_is_replaced_and_shows_where_it_stood(backend: Flavour) -> None:
    with serve_with_workers(
        "probe:app", backend, "--timeout-worker-healthcheck", "2", errors_expected=True
    ) as server, RawClient(server.address) as client:
        client.get("/wedge")
        server.stderr.wait_for("/wedge wedged")
        server.stderr.wait_for("is killed: its event loop has stood still for 2 seconds")
        server.stderr.wait_for("stood here when it ended:")
        server.stderr.wait_for("in stand_still")
        server.stderr.wait_for("is ready")
        assert client.is_closed()
        assert fetch(server.address, "/hello").status == 200


def test_a_busy_worker_is_left_alone(backend: Flavour) -> None:
    """Its loop turns, if slowly; and a supervisor that was stopped itself does not blame others."""
    with serve_with_workers("probe:app", backend, "--timeout-worker-healthcheck", "2") as server:
        with RawClient(server.address) as client:
            client.get("/spin")
            server.stderr.wait_for("/spin spinning")
            server.send_signal(signal.SIGSTOP)
            client.sock.settimeout(2.5)
            with pytest.raises(TimeoutError):
                client.receive_exactly(1)
            server.send_signal(signal.SIGCONT)
            assert fetch(server.address, "/hello").status == 200
        server.send_signal(signal.SIGTERM)
        server.stderr.wait_for("Shutting down", times=3)
        server.insist(signal.SIGTERM)
        server.judge_end()


def test_a_system_that_has_no_process_left(backend: Flavour) -> None:
    """The supervisor tries again; meanwhile the others serve."""
    with serve_with_workers("probe:app", backend, errors_expected=True) as server:
        first, second = ready_pids(server)
        soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors(), hard))
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for("No worker process can be started: [Errno 24] Too many open files", times=2)
        assert pid_of_answer(server) == second
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
        server.stderr.wait_for("is ready")


def test_stopped_while_there_is_no_process(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, errors_expected=True) as server:
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors(), hard))
        os.kill(ready_pids(server)[0], signal.SIGKILL)
        server.stderr.wait_for("Too many open files")


# -- replacement -----------------------------------------------------------------------------------------------------


def test_sighup_replaces_the_workers_one_by_one(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend) as server:
        before = ready_pids(server)
        descriptors = server.descriptors()
        for turn in range(1, 3):
            server.send_signal(signal.SIGHUP)
            server.stderr.wait_for("Every worker has had its turn (SIGHUP)", times=turn)
        successors = [successor_of(server, pid) for pid in before]
        for pid in before:
            wait_gone(pid)
        assert not set(worker_pids(server)) & {*before, *successors}
        assert len(worker_pids(server)) == 2
        assert server.descriptors() == descriptors
        server.stop()
        at = [index for index, line in enumerate(server.stderr.text.splitlines())
              if "takes the place" in line or line == "probe: lifespan ended"]
        text = server.stderr.text.splitlines()
        assert ["takes" in text[index] for index in at] == [True, False] * 4 + [False] * 2


def test_the_old_worker_finishes_what_it_has_begun(backend: Flavour) -> None:
    """And a request that comes on a connection of an old worker in that moment is answered."""
    with serve_with_workers("probe:app", backend, workers=2) as server, RawClient(server.address) as slow, \
         RawClient(server.address) as quick:
        slow.send(b"POST /mirror HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        assert b"first" in slow.receive_until(b"first\r\n")
        for pid in ready_pids(server):
            os.kill(pid, signal.SIGSTOP)                                # so that they find all of it together
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("takes the place of worker ")
        quick.get("/hello")
        for pid in ready_pids(server):
            os.kill(pid, signal.SIGCONT)
        server.stderr.wait_for("Shutting down (SIGHUP)")
        assert quick.receive_response().body == b"Hello, world!"
        slow.send(b" last")
        assert slow.receive_chunk() == b" last"
        assert slow.receive_chunk() == b""
        server.stderr.wait_for("Every worker has had its turn")


def test_workers_are_added_and_removed(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend) as server:
        server.send_signal(signal.SIGTTIN)
        server.stderr.wait_for("the number of workers is 3")
        assert len(worker_pids(server)) == 3
        for count in (2, 1):
            server.send_signal(signal.SIGTTOU)
            server.stderr.wait_for(f"the number of workers is {count}", times=1)
            wait_until(lambda: len(worker_pids(server)) == count, f"{count} workers")  # noqa: B023
        server.send_signal(signal.SIGTTOU)
        server.stderr.wait_for("No worker is removed: the last one stays")
        assert fetch(server.address, "/hello").status == 200


def test_a_worker_that_has_served_its_time_goes_on_until_there_is_another(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--limit-max-requests", "3") as server:
        before = ready_pids(server)
        for _ in range(20):
            assert fetch(server.address, "/hello").status == 200
        gone = int(server.stderr.wait_for("(limit-max-requests)").split()[-2])
        assert gone in before
        assert successor_of(server, gone) not in before


def test_a_worker_that_is_old_is_replaced(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--limit-max-age", "500ms") as server:
        before = ready_pids(server)
        server.stderr.wait_for("(limit-max-age)", times=2)
        assert {successor_of(server, pid) for pid in before}.isdisjoint(before)


def test_a_worker_that_holds_too_much_memory_is_replaced(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, "--limit-max-rss", "256MiB") as server:
        before = ready_pids(server)
        assert fetch(server.address, f"/hoard?size={256 * 1024**2}").body == b"kept"
        gone = int(server.stderr.wait_for("(limit-max-rss)").split()[-2])
        assert gone in before
        assert server.stderr.lines_with(f"[{gone}] This process holds ")
        assert successor_of(server, gone) not in before


# -- signals in bad moments ------------------------------------------------------------------------------------------


SLOW_START = '''
import os, sys, anyio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("starting", os.getpid(), file=sys.stderr, flush=True)
        if os.path.exists("{block}") and os.path.getsize("{block}"):
            await anyio.sleep_forever()
        while os.path.exists("{block}"):
            await anyio.sleep(0.01)
        print("started", file=sys.stderr, flush=True)
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        print("closed", file=sys.stderr, flush=True)
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"%d" % os.getpid()}})

{more}
'''


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """While this file exists, the application's lifespan does not start; if something is in it, it never does."""
    return tmp_path / "block"


def write_app(directory: Path, block: Path, more: str = "") -> list[str]:
    """Write the module ``site_workers``; return the options to find it."""
    (directory / "site_workers.py").write_text(SLOW_START.format(block=block, more=more))
    return ["--app-dir", str(directory)]


@STOP_SIGNALS
def test_stopped_while_it_starts(backend: Flavour, tmp_path: Path, block: Path, number: signal.Signals) -> None:
    block.touch()
    options = write_app(tmp_path, block)
    with starting("site_workers:app", backend, *options) as server:
        server.stderr.wait_for("starting")
        server.send_signal(number)
        server.judge_end()
        assert not server.stderr.lines_with("Listening")


def test_stopped_when_the_application_has_just_started(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """What has been opened is closed, although nobody has been served: the supervisor has no sockets any more."""
    block.touch()
    with starting("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        server.stderr.wait_for("starting")
        os.kill(server.pid, signal.SIGSTOP)
        block.unlink()
        server.stderr.wait_for("started")
        server.send_signal(signal.SIGTERM)
        os.kill(server.pid, signal.SIGCONT)
        server.judge_end()
        assert server.stderr.lines_with("closed")


def test_stopped_while_a_successor_starts(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """One that still imports the application hears nothing; it is killed, with an error, if that takes two seconds."""
    with serve_with_workers("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        block.touch()
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("starting", times=3)
        server.send_signal(signal.SIGHUP)
        server.send_signal(signal.SIGTERM)
        server.judge_end(errors_expected=True)


def test_a_successor_that_hangs_is_overtaken(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """Somebody mends what made it hang, and asks again. No reload is over before every worker has been replaced."""
    with serve_with_workers("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        before = ready_pids(server)
        block.write_text("forever")
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("starting", times=3)
        assert int(fetch(server.address, "/").body) in before
        block.unlink()
        server.send_signal(signal.SIGHUP)
        for pid in before:
            successor_of(server, pid)
        server.stderr.wait_for("Every worker has had its turn", times=2)
        assert len(worker_pids(server)) == 2
        told = [line for line in server.stderr.text.splitlines() if "takes the place" in line or "its turn" in line]
        assert ["takes the place" in line for line in told] == [True, True, False, False]


def test_a_hang_up_while_the_server_starts(backend: Flavour, tmp_path: Path, block: Path) -> None:
    block.touch()
    with starting("site_workers:app", backend, *write_app(tmp_path, block)) as server:
        server.stderr.wait_for("starting")
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("Replacing the workers (SIGHUP)")
        block.unlink()
        server.stderr.wait_for("2 workers are ready")
        server.stderr.wait_for("Every worker has had its turn")
        server.stop()


def test_a_successor_that_cannot_start_changes_nothing(backend: Flavour, tmp_path: Path, block: Path) -> None:
    options = write_app(tmp_path, block)
    with serve_with_workers("site_workers:app", backend, *options, errors_expected=True) as server:
        before = ready_pids(server)
        write_app(tmp_path, block, more="raise ValueError('not finished')")
        server.send_signal(signal.SIGHUP)
        for pid in before:
            line = server.stderr.wait_for(f"worker {pid} stays")
            assert "could not be imported: ValueError: not finished" in line
        server.stderr.wait_for("Every worker has had its turn")
        assert sorted(worker_pids(server)) == sorted(before)
        assert int(fetch(server.address, "/").body) in before


def test_a_successor_without_a_current_directory_changes_nothing(
    backend: Flavour, tmp_path: Path, block: Path
) -> None:
    """A deployment has deleted it; whoever replaces the workers did not mean this directory."""
    here = tmp_path / "here"
    here.mkdir()
    write_app(here, block)
    program = "import os, sys; os.chdir(sys.argv.pop(1)); from trioserve.cli import main; main()"
    options = ["site_workers:app", "--port", "0", "--workers", "2", *backend.options]
    with running([*STRICT, "-c", program, here, *options], errors_expected=True) as server:
        before = ready_pids(server)
        shutil.rmtree(here)
        server.send_signal(signal.SIGHUP)
        for pid in before:
            line = server.stderr.wait_for(f"worker {pid} stays")
            assert "the current directory does not exist any more" in line
        server.stderr.wait_for("Every worker has had its turn")
        assert sorted(worker_pids(server)) == sorted(before)
        assert "Traceback" not in server.stderr.text


def test_a_crashed_worker_whose_successor_cannot_start(backend: Flavour, tmp_path: Path, block: Path) -> None:
    """The next try comes later, or when somebody asks for it."""
    options = write_app(tmp_path, block)
    with serve_with_workers("site_workers:app", backend, *options, errors_expected=True) as server:
        first, _ = ready_pids(server)
        write_app(tmp_path, block, more="raise ValueError('not finished')")
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for("could not start: 'site_workers:app' could not be imported: ValueError: not finished")
        server.stderr.wait_for("The next worker is started in 1 seconds")
        write_app(tmp_path, block)
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("Every worker has had its turn")
        assert len(worker_pids(server)) == 2


# -- who cannot start ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "code", "line"), [
    ("raise ValueError('broken')", 3, "Error: 'site_workers:app' could not be imported: ValueError: broken"),
    ("import os; os._exit(7)", 3, "Error: the worker process ended before it was ready (exit code 7)"),
    ("del app", 2, "Error: 'site_workers:app': there is no 'app' in 'site_workers'"),
])
def test_a_first_worker_that_cannot_start_stops_the_server(
    backend: Flavour, tmp_path: Path, block: Path, more: str, code: int, line: str
) -> None:
    with starting("site_workers:app", backend, *write_app(tmp_path, block, more)) as server:
        assert server.wait_exit() == code
        assert server.stderr.lines_with(line)[0].startswith(line)
        assert len(server.stderr.lines_with(line)) == 1
        assert len(server.stderr.lines_with("Traceback")) == ("ValueError" in more)


def test_an_address_in_use(backend: Flavour) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, \
         starting("probe:app", backend, "--port", str(other.getsockname()[1])) as server:
        assert server.wait_exit() == 3
        assert "the port is in use" in server.stderr.text
        assert not server.stderr.lines_with("lifespan")
