"""The server as its users run it: ``python -m trioserve`` in a process of its own, heard, and judged when it stops."""

import contextlib
import importlib.util
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from trioserve._supervisor.signals import ECHO_SECONDS

__all__ = [
    "APPS", "EVERY_FLAVOUR", "FLAVOURS", "GENERATORS_LEFT_BEHIND", "LOOPS", "STRICT", "WAIT_SECONDS",
    "Flavour", "Output", "ServerProcess", "check_log", "running", "serve", "stopped_at_the_end", "wait_until",
]

APPS: Final = Path(__file__).parents[1] / "e2e" / "apps"
REPORTED_LINES: Final = 200
WAIT_SECONDS: Final = 20.0  # for what takes milliseconds on an idle machine
STRICT: Final = ("-X", "dev", "-W", "error")
GENERATORS_LEFT_BEHIND: Final = (*STRICT, "-W", "ignore:Async generator")
"""For frameworks that leave a streaming response's generator to the garbage collector, of which trio warns."""


# What nobody wants to find in the output of a server, and what an application's own exception looks like there.
_LEFT_BEHIND: Final = (
    "Task was destroyed", "ResourceWarning", "was never awaited", "was never retrieved", "Exception ignored",
    "Unhandled exception", "Fatal Python error", "Fatal error on transport",
)
_ERRORS: Final = ("Traceback (most recent call last)", "ERROR:", "CRITICAL:")
# At the end of a line of text, or of one of JSON.
_START_LINE: Final = re.compile(r'Listening on (?:(https?)://([\d.]+):(\d+)|unix:.+) \((\w+), (\w+)\)(?:"})?$')


@dataclass(frozen=True)
class Flavour:
    """One way to run the same server."""

    backend: str
    http: str = "auto"
    loop: str = "auto"

    @property
    def options(self) -> list[str]:
        return ["--backend", self.backend, "--http", self.http, "--loop", self.loop]

    @property
    def missing(self) -> str | None:
        """The optional package that this flavour needs and that is not installed."""
        needed = {"httptools", "uvloop"} & {self.http, self.loop}
        return next((name for name in sorted(needed) if importlib.util.find_spec(name) is None), None)

    def __str__(self) -> str:
        loop = self.loop if self.backend == "asyncio" else self.backend
        return loop if self.http == "auto" else f"{loop}-{self.http}"


FLAVOURS: Final = (
    Flavour("trio", "httptools"),
    Flavour("trio", "h11"),
    Flavour("asyncio", "httptools", "asyncio"),
    Flavour("asyncio", "httptools", "uvloop"),
)
"""Both parsers and all three event loops."""

EVERY_FLAVOUR: Final = (*FLAVOURS, Flavour("asyncio", "h11", "asyncio"), Flavour("asyncio", "h11", "uvloop"))
"""Each parser on each event loop."""

LOOPS: Final = (Flavour("trio"), Flavour("asyncio", loop="asyncio"), Flavour("asyncio", loop="uvloop"))
"""All three event loops, for what takes its time and does not depend on the parser."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Ask again until ``condition()`` is true; for what the kernel knows and does not tell."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)


def check_log(text: str, *, errors_expected: bool = False) -> None:
    """Nothing in it tells of a leak or, if none is expected, of an error."""
    for sign in _LEFT_BEHIND if errors_expected else _LEFT_BEHIND + _ERRORS:
        assert sign not in text, f"{sign!r} in the log\n{text}"


class Output:
    """The lines of a process, read by a thread as they come."""

    def __init__(self, pipe: IO[str]) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._note(line.rstrip("\n"))
        self._note(None)

    def _note(self, line: str | None) -> None:
        with self._changed:
            if line is None:
                self._ended = True
            else:
                self._lines.append(line)
            self._changed.notify_all()

    def wait_for(self, text: str, *, times: int = 1, seconds: float = WAIT_SECONDS) -> str:
        """The line that brings the number of those that contain ``text`` to ``times``, now or when it comes."""
        return self.wait_for_any([text], times=times, seconds=seconds)

    def wait_for_any(self, texts: Sequence[str], *, times: int = 1, seconds: float = WAIT_SECONDS) -> str:
        """The same for lines that contain one of ``texts``, counted together."""
        def enough() -> bool:
            return len(self.lines_with(*texts)) >= times or self._ended

        with self._changed:
            self._changed.wait_for(enough, seconds)
            found = self.lines_with(*texts)
        assert len(found) >= times, f"{texts}: {len(found)} of {times} lines, in\n{self.end}"
        return found[times - 1]

    def lines_with(self, *texts: str) -> list[str]:
        return [line for line in list(self._lines) if any(text in line for text in texts)]

    def wait_for_end(self) -> None:
        self._reader.join(WAIT_SECONDS)
        assert not self._reader.is_alive(), "somebody keeps the pipe open"

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    @property
    def end(self) -> str:
        """As much of it as somebody will read."""
        return "\n".join(self._lines[-REPORTED_LINES:])


def _environment(*, measured: bool) -> dict[str, str]:
    """Ours, without options of the server.

    Two things would make every start slower. If a coverage run measures the process, a start takes half as long again;
    so it measures those on trio only, because what is of asyncio's own is tested in the tests' process. Python's
    development mode looks for memory errors of C code, of which there is none in the server: a tenth.
    """
    options = {name for name in os.environ if name.startswith("TRIOSERVE_")} | {"PORT", "WEB_CONCURRENCY"}
    unwanted = options if measured else options | {"COVERAGE_PROCESS_CONFIG"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"PYTHONMALLOC": "pymalloc"}


class ServerProcess:
    """A running server.

    Attributes:
        address, url, ws_url: where it listens, if not on a unix socket.
        stderr: its log, and what the application says.
        stdout: its access log.
    """

    def __init__(self, command: Sequence[str | Path], *, pass_fds: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            command, cwd=APPS, env=_environment(measured="asyncio" not in command), text=True, pass_fds=pass_fds,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stderr is not None
        self.stdout = Output(self._process.stdout)
        self.stderr = Output(self._process.stderr)
        self.scheme = ""
        self.address = ("", 0)
        self.start_line = ""

    def wait_started(self) -> None:
        self.start_line = self.stderr.wait_for("Listening on ")
        match = _START_LINE.search(self.start_line)
        assert match is not None, self.start_line
        if match[1] is not None:
            self.scheme, self.address = match[1], (match[2], int(match[3]))

    @property
    def insecure_url(self) -> str:
        """Of the one address of ``--insecure-bind``."""
        match = _START_LINE.search(self.stderr.wait_for("Listening on http://"))
        assert match is not None
        return f"http://{match[2]}:{match[3]}"

    @property
    def url(self) -> str:
        return "{}://{}:{}".format(self.scheme, *self.address)

    @property
    def ws_url(self) -> str:
        scheme = "wss" if self.scheme == "https" else "ws"
        return f"{scheme}://{self.address[0]}:{self.address[1]}"

    @property
    def pid(self) -> int:
        return self._process.pid

    # What a person at a terminal can do.

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def insist(self, number: signal.Signals) -> None:
        """The same once more, and not so soon that it would be an echo."""
        time.sleep(2 * ECHO_SECONDS)
        self.send_signal(number)

    def wait_exit(self, seconds: float = WAIT_SECONDS) -> int:
        """The exit code. A server that does not end is made to show where it stands, and fails the test."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGABRT)  # faulthandler answers with a traceback of each thread
            raise AssertionError(f"the server did not end within {seconds} s\n{self.report}") from None
        self.stdout.wait_for_end()
        self.stderr.wait_for_end()
        return code

    def stop(self, *, errors_expected: bool = False) -> None:
        """SIGTERM, a clean end, and nothing in the output that tells of a leak or, if none is expected, an error."""
        self.send_signal(signal.SIGTERM)
        self.judge_end(errors_expected=errors_expected)

    def judge_end(self, *, errors_expected: bool = False) -> None:
        """The same, when the server has been told already."""
        code = self.wait_exit()
        assert code == 0, f"exit code {code}\n{self.report}"
        check_log(self.stderr.text, errors_expected=errors_expected)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait()
        self.stdout.wait_for_end()
        self.stderr.wait_for_end()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def report(self) -> str:
        return f"-- stdout\n{self.stdout.end}\n-- stderr\n{self.stderr.end}\n--"

    # What the kernel knows (Linux).

    def descriptors(self) -> int:
        """Without ``/dev/null``, which libuv opens when it first needs a stream of its own, to have one to spare."""
        opened = Path(f"/proc/{self.pid}/fd")
        count = 0
        for descriptor in os.listdir(opened):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                count += os.readlink(opened / descriptor) != os.devnull
        return count

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def limit_descriptors(self, count: int) -> None:
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (count, count))


@contextmanager
def serve(
    app: str, flavour: Flavour, *options: str, python_options: Sequence[str] = STRICT, errors_expected: bool = False,
    port: int | None = 0,
) -> Iterator[ServerProcess]:
    """Serve ``app``, a module of ``tests/e2e/apps``, for the length of the block; then stop it and judge how it ended.

    A server that the test itself has ended, with ``wait_exit`` or ``judge_end``, is left alone. ``port=None``: the
    options say where to listen.
    """
    listen = [] if port is None else ["--port", str(port)]
    command = [*python_options, "-m", "trioserve", app, *listen, *flavour.options, *options]
    with running(command, errors_expected=errors_expected) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str | Path], *, errors_expected: bool = False, pass_fds: Sequence[int] = ()
) -> Iterator[ServerProcess]:
    """The same for any Python program that serves and says so in trioserve's way; ``command`` follows ``python``."""
    server = ServerProcess([sys.executable, *command], pass_fds=pass_fds)
    with stopped_at_the_end(server, errors_expected=errors_expected):
        server.wait_started()
        yield server


@contextmanager
def stopped_at_the_end(server: ServerProcess, *, errors_expected: bool = False) -> Iterator[None]:
    """Of the block, gracefully; or, if the block raises, at once, and what the server has said is added."""
    try:
        yield
        if not server.ended:
            server.stop(errors_expected=errors_expected)
    except BaseException as exc:
        server.kill()
        exc.add_note(server.report)
        raise
