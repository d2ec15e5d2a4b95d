"""The real command: it starts, says where it listens, answers, and ends when it is told to."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

import trioserve
from tests.helpers.server_process import LOOPS, Flavour
from trioserve._supervisor.signals import ECHO_SECONDS

ROOT = Path(trioserve.__file__).parents[1]

APP = '''
import json
import os
import signal
import anyio

async def lifespan(receive, send):
    await receive()
    if os.environ.get("SLOW_START"):
        print("starting", flush=True)
        await anyio.sleep_forever()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("closed", flush=True)
    await send({"type": "lifespan.shutdown.complete"})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["path"] == "/stuck":
        print("stuck", flush=True)
        await anyio.sleep_forever()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
'''

OTHERS = ("TRIOSERVE_", "PORT", "WEB_CONCURRENCY")  # variables that would change what the tests start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send a process these signals")


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def command(
    directory: Path, *arguments: str, source: str = APP, stdout: int = subprocess.PIPE, stdin: int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Iterator["Command"]:
    """The command, serving the application in ``source`` on a free port; killed at the end if it is still there."""
    (directory / "site_app.py").write_text(source)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    with subprocess.Popen(
        [sys.executable, "-m", "trioserve", "site_app:app", "--port", "0", *arguments], cwd=directory,
        env=ours | {"PYTHONPATH": str(ROOT), **environment},
        stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True,
    ) as process:
        try:
            yield Command(process)
        finally:
            process.kill()


class Command:
    """A running command; the stream's end fails a wait, and the blanket timeout of the tests a hang."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.log: list[str] = []

    def wait_for_log(self, pattern: str) -> "re.Match[str]":
        """The next line of the log that matches."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip("\n"))
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in {self.log}")

    def wait_for_output(self, text: str) -> None:
        assert self.wait_for_line() == f"{text}\n"

    def wait_for_line(self) -> str:
        """Of stdout."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def url(self) -> str:
        """Where it listens, once it does."""
        return self.wait_for_log(r"Listening on (http://127\.0\.0\.1:\d+) \((trio|asyncio), (httptools|h11)\)")[1]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """The exit code and the rest of stdout, once it has ended by itself."""
        output, log = self._process.communicate(timeout=30)
        self.log += log.splitlines()
        return self._process.returncode, output


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_ends_at_a_signal(tmp_path: Path, backend: str, number: signal.Signals) -> None:
    with command(tmp_path, "--backend", backend) as running:
        assert get(running.url()) == b"hello"
        running.signal(number)
        code, output = running.end()
    assert code == 0
    access_line, closed = output.splitlines()
    assert re.fullmatch(r'INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK 5 B \d+\.\d ms', access_line)
    assert closed == "closed"
    assert any(number.name in line for line in running.log)


def test_a_second_signal_ends_what_is_in_progress(tmp_path: Path, backend: str) -> None:
    with command(tmp_path, "--backend", backend, "--timeout-graceful-shutdown", "off", "--no-access-log") as running:
        url = running.url()
        with subprocess.Popen([sys.executable, "-c", f"import urllib.request as r; r.urlopen('{url}/stuck')"],
                              stderr=subprocess.DEVNULL) as client:
            running.wait_for_output("stuck")
            running.signal(signal.SIGTERM)
            running.wait_for_log("Shutting down")
            time.sleep(2 * ECHO_SECONDS)
            running.signal(signal.SIGTERM)
            assert running.end() == (0, "closed\n")
            assert client.wait(timeout=30) != 0


def test_a_signal_while_python_ends_changes_nothing(tmp_path: Path, backend: str) -> None:
    """Such as the second of somebody who is impatient."""
    source = APP + (
        "import atexit, sys\n"
        "atexit.register(lambda: (print('leaving', flush=True), sys.stdin.readline()))\n")
    with command(tmp_path, "--backend", backend, source=source, stdin=subprocess.PIPE) as running:
        running.url()
        running.signal(signal.SIGTERM)
        running.wait_for_output("closed")
        running.wait_for_output("leaving")
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)
        assert running.end() == (0, "")


def test_a_signal_during_start_up_ends_it(tmp_path: Path, backend: str) -> None:
    with command(tmp_path, "--backend", backend, environment={"SLOW_START": "1"}) as running:
        running.wait_for_output("starting")
        running.signal(signal.SIGTERM)
        code, _ = running.end()
    assert code == 0
    assert not any("Listening" in line for line in running.log)


def test_ctrl_c_during_the_import_is_quiet(tmp_path: Path, backend: str) -> None:
    # Short sleeps: a signal that comes just before one does not wake it, and Python looks for signals after it.
    slow = "import time\nprint('importing', flush=True)\nfor _ in range(6000):\n    time.sleep(0.01)\n"
    with command(tmp_path, "--backend", backend, source=slow) as running:
        running.wait_for_output("importing")
        running.signal(signal.SIGINT)
        assert running.end() == (130, "")
    assert running.log == []


GATED_APP = """
import os
print("importing", os.getpid(), flush=True)
if os.path.exists("gate"):
    open("gate").read()
""" + APP


def test_a_worker_that_is_told_to_stop_while_it_imports_the_application_obeys_and_is_replaced(
    tmp_path: Path, backend: str
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with command(tmp_path, "--workers", "2", "--backend", backend, source=GATED_APP) as running:
        pid = int(running.wait_for_line().removeprefix("importing"))
        os.kill(pid, signal.SIGTERM)
        opened = os.open(gate, os.O_WRONLY)
        gate.unlink()
        os.close(opened)
        running.wait_for_log(rf"\[{pid}\] Shutting down \(SIGTERM\)")
        running.wait_for_log("is ready")
        running.signal(signal.SIGTERM)
        assert running.end()[0] == 0


def test_ctrl_c_while_a_worker_imports_the_application_is_quiet(tmp_path: Path, backend: str) -> None:
    os.mkfifo(tmp_path / "gate")
    with command(tmp_path, "--workers", "2", "--backend", backend, source=GATED_APP) as running:
        pid = int(running.wait_for_line().removeprefix("importing"))
        running.signal(signal.SIGINT)
        os.kill(pid, signal.SIGINT)
        assert running.end()[0] == 0
    assert not any("Traceback" in line for line in running.log)


INTERRUPTING_APP = APP.replace("    if scope[\"path\"] == \"/stuck\":", """\
    if scope["path"] == "/interrupt":
        raise KeyboardInterrupt
    if scope["path"] == "/interrupt-later":
        await anyio.sleep(0)
        raise KeyboardInterrupt
    if scope["path"] == "/stuck":""")


@pytest.mark.parametrize("path", ["/interrupt", "/interrupt-later"])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("loop", LOOPS, ids=str)
def test_a_keyboard_interrupt_of_the_applications_ends_the_server(
    tmp_path: Path, loop: Flavour, before: int, path: str
) -> None:
    """``before``: requests on the same connection, after which the event loop itself begins the next."""
    with command(tmp_path, *loop.options, source=INTERRUPTING_APP) as running:
        client = http.client.HTTPConnection(urlsplit(running.url()).netloc, timeout=10)
        for _ in range(before):
            client.request("GET", "/")
            client.getresponse().read()
        with pytest.raises((OSError, http.client.HTTPException)):
            client.request("GET", path)
            client.getresponse()
        client.close()
        code, output = running.end()
        assert code == 130
    assert any(f"KeyboardInterrupt in the application, serving GET {path}" in line for line in running.log)
    assert f'"GET {path} HTTP/1.1" 0 keyboard-interrupt 0 B' in output


def test_a_reader_of_the_access_log_that_leaves(tmp_path: Path, backend: str) -> None:
    reading, writing = os.pipe()
    buffered = {"PYTHONUNBUFFERED": ""}         # what cannot be written stays in the buffer until the process ends
    with command(tmp_path, "--backend", backend, stdout=writing, environment=buffered) as running:
        os.close(writing)
        os.close(reading)
        url = running.url()
        assert get(url) == b"hello"
        running.wait_for_log("The access log ends here")
        assert get(url) == b"hello"
        running.signal(signal.SIGTERM)
        code, _ = running.end()
    assert sum("access log" in line for line in running.log) == 1
    assert code == 0                            # although the application's own print() has failed, at the very end


def test_the_environment_configures_it(tmp_path: Path) -> None:
    environment = {"BACKEND": "asyncio", "HTTP": "h11", "HEADER": "X-Served-By: us, as ever"}
    with command(tmp_path, environment={f"TRIOSERVE_{name}": value for name, value in environment.items()}) as running:
        listening = running.wait_for_log(r"Listening on (\S+) \((.*)\)")
        assert listening[2] == "asyncio, h11"
        with urllib.request.urlopen(listening[1], timeout=10) as answer:
            assert answer.headers["X-Served-By"] == "us, as ever"
        running.signal(signal.SIGTERM)
        assert running.end()[0] == 0


def test_json_logs_with_the_names_of_requests(tmp_path: Path, backend: str) -> None:
    source = APP.replace("/stuck", "/fail").replace('print("stuck", flush=True)', "1/0")
    with command(tmp_path, "--backend", backend, "--log-format", "json", source=source) as running:
        url = running.url()
        request = urllib.request.Request(f"{url}/fail?a=b", headers={"X-Request-ID": "from-a-proxy"})
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(request, timeout=10)
        running.signal(signal.SIGTERM)
        code, output = running.end()
    assert code == 0
    access = json.loads(output.splitlines()[0])
    assert (access["status"], access["path"], access["query"]) == (500, "/fail", "a=b")
    [failure] = [json.loads(line) for line in running.log if "exception" in line]
    assert failure["exception"].endswith("ZeroDivisionError: division by zero")
    assert failure["request_id"] == access["request_id"] == "from-a-proxy"


def test_a_file_configures_it(tmp_path: Path, backend: str) -> None:
    (tmp_path / "trioserve.toml").write_text(f"""
        backend = "{backend}"
        access-log-format = '%(m)s %(U)s %(s)s %({{x-request-id}}i)s'
        timeout-graceful-shutdown = "10s"
        """)
    with command(tmp_path) as running:
        assert get(running.url()) == b"hello"
        running.signal(signal.SIGTERM)
        assert running.end() == (0, "GET / 200 -\nclosed\n")


UMASK_APP = '''
import os

async def app(scope, receive, send):
    assert scope["type"] == "http"
    os.umask(mask := os.umask(0))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%03o" % mask})
'''


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["single process", "workers"])
def test_the_umask_is_the_applications(tmp_path: Path, backend: str, options: list[str]) -> None:
    with command(tmp_path, "--backend", backend, "--umask", "037", *options, source=UMASK_APP) as running:
        assert get(running.url()) == b"037"
        running.signal(signal.SIGTERM)
        assert running.end()[0] == 0
