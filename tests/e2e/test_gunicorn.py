"""The worker classes under a real gunicorn."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.helpers.certificates import authority, client_certificate, files_of, server_certificate
from tests.helpers.curl import FAILED_BY_STATUS, Curl
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import APPS, STRICT, ServerProcess, check_log, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")

STRICT_ARBITER: Final = ("--timeout", "4")  # a worker of a busy machine may be some seconds late with a sign of life


@pytest.fixture(params=["TrioWorker", "AsyncioWorker"])
def worker_class(request: pytest.FixtureRequest) -> str:
    return f"trioserve.gunicorn.{request.param}"


class Gunicorn(ServerProcess):
    """gunicorn with a worker of ours."""

    def wait_started(self) -> None:
        self.start_line = self.stderr.wait_for_any(
            ["Listening at: http://127.0.0.1:", "Listening at: https://127.0.0.1:"])
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
        server.stderr.wait_for("Shutting down (limit-max-requests)")
        booted(server, times=2)
        assert fetch(server.address, "/hello").status == 200


def test_a_wedged_worker_is_killed_by_the_arbiter(worker_class: str) -> None:
    with gunicorn(worker_class, *STRICT_ARBITER, errors_expected=True) as server:
        booted(server)
        with RawClient(server.address) as client:
            client.get("/wedge")
            server.stderr.wait_for("WORKER TIMEOUT")
            booted(server, times=2)
            assert fetch(server.address, "/hello").status == 200


def test_a_worker_whose_loop_turns_is_not(worker_class: str) -> None:
    with gunicorn(worker_class, *STRICT_ARBITER) as server:
        booted(server)
        with RawClient(server.address) as client:
            client.sock.settimeout(6)
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


def test_settings_of_applications_and_logs(worker_class: str) -> None:
    with gunicorn(
        worker_class, "--asgi-lifespan", "off", "--access-logfile", "-", "--access-logformat", "%(m)s %(U)s gave %(s)s",
    ) as server:
        server.wait_started()
        assert fetch(server.address, "/hello").status == 200
        server.stdout.wait_for("GET /hello gave 200")
        assert not server.stderr.lines_with("lifespan began")


# -- variables of the environment --------------------------------------------------------------------------------------


def variables(**values: str) -> list[str]:
    """gunicorn sets them for its workers."""
    return [argument for name, value in values.items() for argument in ("--env", f"TRIOSERVE_{name}={value}")]


def test_variables_are_options(worker_class: str) -> None:
    given = variables(SERVER_HEADER="no", HEADER="x-a: 1\nx-b: 2", LIMIT_REQUEST_BODY="5", TIMEOUT_HEADER="1m")
    of_the_arbiter = variables(PORT="1", WORKERS="3", RELOAD="yes", ADMIN="no address")
    with gunicorn(worker_class, *given, *of_the_arbiter) as server:
        booted(server)
        answer = fetch(server.address, "/hello")
        assert "server" not in answer.headers
        assert (answer.headers["x-a"], answer.headers["x-b"]) == ("1", "2")
        with RawClient(server.address) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
            assert client.receive_response().status == 413


def test_settings_come_before_variables_and_the_class_before_both(worker_class: str, tmp_path: Path) -> None:
    given = variables(LIMIT_HEADER_COUNT="50", HEADER="x-from: variable")
    (tmp_path / "site_worker.py").write_text(
        f"import {worker_class.rpartition('.')[0]} as workers\n"
        f"class Worker(workers.{worker_class.rpartition('.')[2]}):\n"
        "    OPTIONS = {'header': ['x-from: class']}\n"
        f"import sys; sys.path.append({str(APPS)!r})\n")
    with gunicorn(
        "site_worker.Worker", "--limit-request-fields", "3", "--pythonpath", str(tmp_path), *given, directory=tmp_path
    ) as server:
        booted(server)
        assert fetch(server.address, "/hello").headers["x-from"] == "class"
        with RawClient(server.address) as client:
            client.get("/hello", "a: 1", "b: 2", "c: 3")
            assert client.receive_response().status == 431


def test_a_variable_with_a_mistake_stops_gunicorn(worker_class: str) -> None:
    with gunicorn(worker_class, *variables(TIMEOUT_HEADER="soon"), errors_expected=True) as server:
        assert server.wait_exit() == 3
        assert server.stderr.lines_with("TRIOSERVE_TIMEOUT_HEADER: 'soon' is not a number of seconds or off")


def test_a_variable_that_is_misspelt_is_named(worker_class: str) -> None:
    with gunicorn(worker_class, "--env", "TRIOSERVE_LIMIT_CONCURENCY=1") as server:
        booted(server)
        [line] = server.stderr.lines_with("TRIOSERVE_LIMIT_CONCURENCY")
        assert line.endswith("is no option; did you mean TRIOSERVE_LIMIT_CONCURRENCY?") and "[WARNING]" in line


def test_the_proxies_that_gunicorn_trusts(worker_class: str) -> None:
    lines = ["--access-logfile", "-"]
    with gunicorn(worker_class, *lines, "--forwarded-allow-ips", "192.0.2.7,192.0.2.8") as server:
        booted(server)
        with RawClient(server.address) as client:
            client.get("/hello", "x-forwarded-for: 203.0.113.9")
            assert client.receive_response().status == 200
        assert server.stdout.wait_for('"GET /hello HTTP/1.1" 200').startswith("127.0.0.1:")


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys, as files."""
    directory = tmp_path_factory.mktemp("certificates")
    files_of(server_certificate(), directory)
    files_of(client_certificate(), directory, "client")
    (directory / "ca.pem").write_bytes(authority().cert_pem.bytes())
    return directory


def pair(directory: Path) -> list[str]:
    return ["--certfile", str(directory / "server.pem"), "--keyfile", str(directory / "server.key")]


def curl(server: Gunicorn, directory: Path, *arguments: str | Path) -> Curl:
    return Curl("--cacert", directory / "ca.pem", *arguments, f"https://localhost:{server.address[1]}/")


def test_tls(worker_class: str, directory: Path) -> None:
    with gunicorn(worker_class, *pair(directory), app="tls_app:app") as server:
        server.wait_started()
        found = curl(server, directory)
        answer = found.json()
        assert answer["scheme"] == "https"
        assert answer["tls"]["server_cert"] == server_certificate().cert_chain_pems[0].bytes().decode()
        assert "server accepted h2" in found.talk or "accepted to use h2" in found.talk
        assert Curl("--fail", f"http://localhost:{server.address[1]}/").code == FAILED_BY_STATUS


def test_client_certificates(worker_class: str, directory: Path) -> None:
    verify = ["--ca-certs", str(directory / "ca.pem"), "--cert-reqs", "2"]
    with gunicorn(worker_class, *pair(directory), *verify, app="tls_app:app") as server:
        server.wait_started()
        known = curl(server, directory, "--cert", directory / "client.pem", "--key", directory / "client.key").json()
        assert len(known["tls"]["client_cert_chain"]) >= 1
        assert curl(server, directory).code != 0


def test_the_hook_that_makes_the_context(worker_class: str, directory: Path, tmp_path: Path) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text(
        "import ssl\n"
        "def ssl_context(config, default_ssl_context_factory):\n"
        "    context = default_ssl_context_factory()\n"
        "    context.minimum_version = ssl.TLSVersion.TLSv1_3\n"
        "    return context\n")
    with gunicorn(worker_class, "--config", str(conf), *pair(directory), app="tls_app:app") as server:
        server.wait_started()
        found = curl(server, directory)
        assert found.json()["tls"]["tls_version"] == 0x0304
        assert "server accepted h2" in found.talk or "accepted to use h2" in found.talk
        assert curl(server, directory, "--tls-max", "1.2").code != 0


def test_what_gunicorn_has_no_setting_for_is_a_variable(worker_class: str, directory: Path) -> None:
    newest = variables(SSL_MIN_VERSION="1.3")
    with gunicorn(worker_class, *pair(directory), *newest, app="tls_app:app") as server:
        server.wait_started()
        assert curl(server, directory).json()["tls"]["tls_version"] == 0x0304
        assert curl(server, directory, "--tls-max", "1.2").code != 0


def test_a_certificate_that_cannot_be_used_stops_gunicorn(worker_class: str, directory: Path, tmp_path: Path) -> None:
    key = tmp_path / "empty.key"
    key.touch()
    files = ["--certfile", str(directory / "server.pem"), "--keyfile", str(key)]
    with gunicorn(worker_class, *files, errors_expected=True) as server:
        assert server.wait_exit() == 3
        assert server.stderr.lines_with(f"gunicorn's keyfile: '{key}' holds no usable private key")


def test_a_hook_that_fails_stops_gunicorn(worker_class: str, directory: Path, tmp_path: Path) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("def ssl_context(config, default_ssl_context_factory):\n    raise OSError('no key here')\n")
    with gunicorn(worker_class, "--config", str(conf), *pair(directory), errors_expected=True) as server:
        assert server.wait_exit() == 3
        assert server.stderr.lines_with("ssl_context: gunicorn's hook raised OSError('no key here')")


# -- more than one worker ----------------------------------------------------------------------------------------------


def test_old_workers_are_gone(worker_class: str) -> None:
    with gunicorn(worker_class, "--workers", "2") as server:
        booted(server, times=2)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        before = set(children.read_text().split())
        server.send_signal(signal.SIGHUP)
        booted(server, times=4)     # a worker that still starts would not hear the end
        wait_until(lambda: not before & set(children.read_text().split()), "the end of the old workers")
        assert fetch(server.address, "/hello").status == 200


def test_the_configuration_of_the_guide() -> None:
    """It runs two workers, and its grace is ours."""
    conf = Path(__file__).parents[2] / "docs/examples/deploy/gunicorn.conf.py"
    with gunicorn("trioserve.gunicorn.TrioWorker", "--config", str(conf)) as server:
        booted(server, times=2)
        assert fetch(server.address, "/census").json()["loop"] == "trio"


def test_each_worker_of_the_guide_shows_itself(tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / "docs/examples/deploy/gunicorn_worker.py").read_text("utf-8")
    (tmp_path / "shop_worker.py").write_text(
        f"{example.replace('/run/shop', str(tmp_path))}\nimport sys; sys.path.append({str(APPS)!r})\n")
    with gunicorn("shop_worker.Worker", "--workers", "2", "--pythonpath", str(tmp_path), directory=tmp_path) as server:
        booted(server, times=2)
        addresses = sorted(tmp_path.glob("*.sock"))
        assert len(addresses) == 2
        for address in addresses:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(address)), base_url="http://localhost") as client:
                root = client.get("/tree").json()["root"]
                metrics = client.get("/metrics").text
            assert root["id"].partition("-")[0] == address.stem
            assert f'trioserve_worker_start_time_seconds{{pid="{address.stem}"}}' in metrics
    assert not list(tmp_path.glob("*.sock"))


def test_an_async_context_manager_as_the_application(worker_class: str) -> None:
    with gunicorn(worker_class, app="opened:open_app") as server:
        server.wait_started()
        server.stderr.wait_for("opened")
        assert fetch(server.address, "/").body == b"open"
    assert server.stderr.lines_with("closed")
