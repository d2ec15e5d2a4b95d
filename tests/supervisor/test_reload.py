"""``--reload``: a change brings new code, a mistake is waited out, and nothing open can hold it up."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import STRICT, WAIT_SECONDS, Flavour, ServerProcess, stopped_at_the_end

APP = '''
import sys, anyio

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        while True:
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            await anyio.sleep(0.05)
    if scope["path"] == "/shielded":
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})
        await anyio.sleep(0.01)
        import time
        while True:
            time.sleep(1)
    await send({"type": "http.response.body", "body": b"VERSION"})
'''


class Site:
    """A directory with an application, and the server that reloads it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.module = directory / "site_reload.py"
        self.server: ServerProcess
        self._reloads = self._written = 0

    def write(self, version: str, source: str = APP) -> None:
        """Change the application in one step, as editors do."""
        draft = self.directory / "draft.tmp"
        draft.write_text(source.replace("VERSION", version))
        self._written += 1
        moment = time.time() + self._written  # two files of the same second and size are the same to Python's cache
        os.utime(draft, (moment, moment))
        os.replace(draft, self.module)

    def change(self, version: str, source: str = APP) -> None:
        """Change it, and wait until the old worker has ended and the new one is ready, or has failed."""
        self.write(version, source)
        self._reloads += 1
        self.server.stderr.wait_for("Every worker has had its turn", times=self._reloads)

    def version(self) -> str:
        """What a new connection gets to see."""
        return fetch(self.server.address, "/").body.decode()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write("one")
    return site


@contextmanager
def reloading(site: Site, flavour: Flavour, *options: str, errors_expected: bool = False) -> Iterator[ServerProcess]:
    """The server, from the moment that it watches."""
    command = [
        *STRICT, "-m", "trioserve", "site_reload:app", "--port", "0", *flavour.options, "--app-dir",
        str(site.directory), "--reload", "--reload-dir", str(site.directory), "--reload-delay", "0.05", *options,
    ]
    site.server = server = ServerProcess([sys.executable, *command])
    with stopped_at_the_end(server, errors_expected=errors_expected):
        server.stderr.wait_for("Watching ")
        yield server


def hide_watchfiles(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Server processes that are started from now on find it not installed."""
    hiding = directory / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "find_spec = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *args: None if name == 'watchfiles' else find_spec(name, *args)\n")
    monkeypatch.setenv("PYTHONPATH", f"{hiding}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


LARGE = '''
import atexit, os
from pathlib import Path

class Part:
    """One of very many, in a cycle as they mostly are."""

    def __init__(self):
        self.myself = self

    def __del__(self):
        Path("taken_apart").touch()

part = Part()
os.chdir(Path(__file__).parent)
atexit.register(Path("exit_function").touch)
''' + APP


def test_a_worker_that_is_replaced_is_not_taken_apart(backend: Flavour, site: Site) -> None:
    site.write("one", LARGE)
    with reloading(site, backend) as server:
        server.wait_started()
    assert (site.directory / "exit_function").exists()
    assert not (site.directory / "taken_apart").exists()


def test_a_change_brings_the_new_code(backend: Flavour, site: Site) -> None:
    with reloading(site, backend) as server:
        server.wait_started()
        assert site.version() == "one"
        for version in ("two", "three"):
            site.change(version)
            assert site.version() == version
        assert server.stderr.lines_with("Replacing the workers (site_reload.py changed)")


def test_nobody_is_refused_meanwhile(backend: Flavour, site: Site) -> None:
    """Who comes too late for the old worker waits for the new one."""
    with reloading(site, backend) as server:
        server.wait_started()
        site.write("two")
        while site.version() == "one":
            pass
        assert site.version() == "two"


def test_a_mistake_is_shown_and_the_next_change_tried(backend: Flavour, site: Site) -> None:
    with reloading(site, backend, errors_expected=True) as server:
        server.wait_started()
        site.change("", source="def app(:")
        server.stderr.wait_for("SyntaxError: invalid syntax")
        server.stderr.wait_for("the next change is waited for")
        site.change("two")
        assert site.version() == "two"


def test_a_mistake_at_the_beginning(backend: Flavour, site: Site) -> None:
    site.write("", source="raise ValueError('unfinished')")
    with reloading(site, backend, errors_expected=True) as server:
        server.stderr.wait_for("could not be imported: ValueError: unfinished; the next change is waited for")
        site.change("two")
        server.wait_started()
        assert site.version() == "two"


def test_an_import_that_hangs(backend: Flavour, site: Site) -> None:
    site.write("", source="import sys, time\nprint('hanging', file=sys.stderr, flush=True)\ntime.sleep(1000)")
    with reloading(site, backend) as server:
        server.stderr.wait_for("hanging")
        site.change("two")
        server.wait_started()
        assert site.version() == "two"


def test_an_open_stream_does_not_hold_it_up(backend: Flavour, site: Site) -> None:
    with reloading(site, backend, errors_expected=True) as server:
        server.wait_started()
        with RawClient(server.address) as client:
            client.get("/stream")
            assert client.receive_until(b"tick")
            site.change("two")
            assert site.version() == "two"
            server.stderr.wait_for("shutdown-deadline: ended GET /stream")


def test_a_worker_that_does_not_listen_is_killed(backend: Flavour, site: Site) -> None:
    with reloading(site, backend, errors_expected=True) as server:
        server.wait_started()
        with RawClient(server.address) as client:
            client.get("/shielded")
            assert client.receive_until(b"tick")
            site.change("two")
            assert site.version() == "two"
            server.stderr.wait_for("is killed: it did not stop in time")


def test_stopped_while_it_reloads(backend: Flavour, site: Site) -> None:
    with reloading(site, backend) as server:
        server.wait_started()
        site.write("", source="import sys, time\nprint('hanging', file=sys.stderr, flush=True)\ntime.sleep(1000)")
        server.stderr.wait_for("hanging")
        server.send_signal(signal.SIGINT)
        server.judge_end()
        assert server.stderr.lines_with("is ended while it imports the application")


def test_without_watchfiles(backend: Flavour, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again and again finds the same."""
    hide_watchfiles(tmp_path, monkeypatch)
    with reloading(site, backend) as server:
        server.wait_started()
        server.stderr.wait_for("looking again and again")
        assert site.version() == "one"
        site.change("number two")
        assert site.version() == "number two"


def test_a_directory_whose_name_is_not_utf_8(backend: Flavour, tmp_path: Path) -> None:
    """Watchfiles does not take it."""
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    directory.mkdir()
    site = Site(directory)
    site.write("one")
    with reloading(site, backend) as server:
        server.wait_started()
        site.change("number two")
        assert site.version() == "number two"


def test_a_file_whose_name_is_not_utf_8(backend: Flavour, site: Site) -> None:
    """Watchfiles fails at it, whatever it is."""
    with reloading(site, backend) as server:
        server.wait_started()
        (site.directory / os.fsdecode(b"caf\xe9.txt")).touch()
        server.stderr.wait_for("by looking again and again from now on, as watchfiles has failed: Unable to decode")
        site.change("number two")
        assert site.version() == "number two"


@pytest.fixture(params=["watchfiles", "looking"])
def watcher(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either way to notice changes."""
    if request.param == "looking":
        hide_watchfiles(tmp_path, monkeypatch)
    return str(request.param)


def test_a_directory_that_is_moved_counts_as_a_whole(
    backend: Flavour, site: Site, watcher: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The system reports the directory, and nothing of what is in it."""
    package = tmp_path_factory.mktemp("elsewhere") / "package"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "models.py").touch()
    with reloading(site, backend) as server:
        server.wait_started()
        os.rename(package, site.directory / "package")
        server.stderr.wait_for("Every worker has had its turn")
        os.rename(site.directory / "package", package)
        server.stderr.wait_for("Every worker has had its turn", times=2)
        assert len(server.stderr.lines_with("Replacing the workers (package")) == 2


def test_a_file_outside_that_is_asked_for(
    backend: Flavour, site: Site, watcher: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Written in place or replaced, as some editors do, and more than once."""
    conf = tmp_path_factory.mktemp("elsewhere") / "conf.yaml"
    conf.write_text("a: 1")
    with reloading(site, backend, "--reload-include", str(conf)) as server:
        assert str(conf) in server.stderr.wait_for("Watching ")
        server.wait_started()
        for reloads, text in enumerate(["a: 10", "a: 100", "a: 1000"], 1):
            draft = conf.with_name("conf.draft")
            draft.write_text(text)
            os.replace(draft, conf)
            server.stderr.wait_for("Every worker has had its turn", times=reloads)
        conf.write_text("in place")
        server.stderr.wait_for("Every worker has had its turn", times=4)
        assert server.stderr.lines_with(f"Replacing the workers ({conf} changed)")


def test_what_a_link_leads_to_counts_when_the_link_is_asked_for(
    backend: Flavour, site: Site, watcher: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    conf = tmp_path_factory.mktemp("elsewhere") / "conf.yaml"
    conf.write_text("a: 1")
    (site.directory / "link.yaml").symlink_to(conf)
    with reloading(site, backend, "--reload-include", str(site.directory / "link.yaml")) as server:
        server.wait_started()
        conf.write_text("a: 10")
        server.stderr.wait_for("Every worker has had its turn")


def test_a_pattern_that_nothing_can_match_is_a_warning(backend: Flavour, site: Site) -> None:
    with reloading(site, backend, "--reload-include", "/nowhere/*.yaml") as server:
        line = server.stderr.wait_for("WARNING:  --reload-include /nowhere/*.yaml has no effect")
        assert line.endswith("; --reload-dir watches one")
        server.wait_started()


def test_a_hidden_file_that_is_asked_for(backend: Flavour, site: Site, watcher: str) -> None:
    with reloading(site, backend, "--reload-include", ".env") as server:
        server.wait_started()
        (site.directory / ".env").write_text("A=1")
        server.stderr.wait_for("Replacing the workers (.env changed)")
        server.stderr.wait_for("Every worker has had its turn")


def test_the_terminal_is_closed(backend: Flavour, site: Site) -> None:
    """The server ends with it, and so gives up its port."""
    terminal, slave = os.openpty()
    command = [
        sys.executable, "-m", "trioserve", "site_reload:app", "--port", "0", *backend.options, "--reload", "--app-dir",
        str(site.directory), "--reload-dir", str(site.directory),
    ]
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        server = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        shown = b""
        while b"Listening on " not in shown:
            shown += screen.read(1000)  # an error, once the server has ended
    try:
        assert server.wait(WAIT_SECONDS) == 0
    finally:
        server.kill()  # its worker ends with it
        server.wait()


def test_nohup_keeps_it(backend: Flavour, site: Site) -> None:
    """Who starts it so that it outlives the terminal gets what was asked for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with reloading(site, backend) as server:
            server.wait_started()
            server.send_signal(signal.SIGHUP)
            site.change("two")
            assert site.version() == "two"
            assert not server.stderr.lines_with("SIGHUP")
    finally:
        signal.signal(signal.SIGHUP, before)
