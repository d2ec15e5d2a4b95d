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
from tests.helpers.server_process import STRICT, WAIT_SECONDS, Flavour, ServerProcess
from trioserve._errors import ConfigError
from trioserve._supervisor.reload import FileFilter

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
    try:
        server.stderr.wait_for("Watching ")
        yield server
        if not server.ended:
            server.stop(errors_expected=errors_expected)
    except BaseException as exc:
        server.kill()
        exc.add_note(server.report)
        raise


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


# -- what counts as a change -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "counts"), [
    ("main.py", True), ("package/module.py", True), ("page.html", False), (".hidden.py", False),
    (".venv/lib/module.py", False), ("node_modules/tool.py", False), ("__pycache__/main.cpython-311.py", False),
    ("~main.py", False), ("main.py~", False), ("main.pyc", False), ("../elsewhere.py", False),
])
def test_python_files_count(tmp_path: Path, path: str, counts: bool) -> None:
    files = FileFilter([str(tmp_path)], [], [])
    assert files(os.path.normpath(tmp_path / path)) is counts


@pytest.mark.parametrize(("include", "exclude", "path", "counts"), [
    (["*.html"], [], "templates/page.html", True),
    (["*.html"], [], "main.py", True),
    (["templates/*.html"], [], "templates/page.html", True),
    (["templates/*.html"], [], "other/page.html", False),
    ([], ["test_*.py"], "test_main.py", False),
    ([], ["generated"], "generated/deep/main.py", False),
    ([], ["deep/*"], "deep/main.py", False),
    ([], ["deep/*"], "shallow/main.py", True),
    (["*.html"], ["*.html"], "page.html", False),
])
def test_patterns(tmp_path: Path, include: list[str], exclude: list[str], path: str, counts: bool) -> None:
    files = FileFilter([str(tmp_path)], include, exclude)
    assert files(str(tmp_path / path)) is counts


@pytest.mark.parametrize(("pattern", "path", "matches"), [
    ("{here}/src/templates/*.html", "src/templates/page.html", True),
    ("{here}/src/templates/*.html", "src/other/page.html", False),
    ("{here}/*/page.html", "src/other/page.html", True),
    ("./src/page.html", "src/page.html", True),
    ("./src/page.html", "src/deep/src/page.html", False),
    ("../here/src/*.html", "src/page.html", True),
    ("{here}/src/.cache/*.html", "src/.cache/page.html", True),
    ("{here}/src/.page.html", "src/.page.html", True),
])
def test_patterns_that_say_where_they_begin(here: Path, pattern: str, path: str, matches: bool) -> None:
    pattern = pattern.format(here=here)
    files = FileFilter(["src"], [pattern], [])
    assert files(str(here / path)) is matches
    assert not files.out_of_reach
    assert FileFilter(["src"], ["*.html", ".*"], [pattern])(str(here / path)) is not matches


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with one to watch; ``conf.yaml`` is beside that one, and ``link.yaml`` leads there."""
    here = tmp_path / "here"
    (here / "src").mkdir(parents=True)
    (here / "conf.yaml").touch()
    (here / "src" / "link.yaml").symlink_to(here / "conf.yaml")
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("name", ["conf.yaml", "../here/conf.yaml", "{here}/conf.yaml", "src/link.yaml"])
def test_a_file_outside_that_is_named(here: Path, name: str) -> None:
    files = FileFilter(["src"], [name.format(here=here)], [])
    assert files.outside == [str(here / "conf.yaml")]
    assert files.directories == [str(here / "src")]
    assert files(str(here / "conf.yaml"))
    assert files(str(here / "src" / "link.yaml")) is ("link" in name)
    assert not files(str(here / "main.py"))
    assert not files.enters(str(here / "other"))
    assert files.inside(str(here / "conf.yaml")) == str(here / "conf.yaml")
    assert not FileFilter(["src"], [name.format(here=here)], ["./conf.yaml"])(str(here / "conf.yaml"))


@pytest.mark.parametrize("pattern", ["./missing.yaml", "./other/*.yaml"])
def test_a_pattern_that_nothing_can_match(here: Path, pattern: str) -> None:
    assert FileFilter(["src"], [pattern], []).out_of_reach == [str(here / pattern)]


@pytest.mark.parametrize(("include", "path", "counts"), [
    ([".env"], ".env", True),
    ([".env"], "deep/.env", True),
    ([".env"], ".envrc", False),
    ([".*"], ".env", True),
    ([".*"], ".main.py.swp", False),
    ([".*"], ".git/HEAD", False),
    (["*.env"], ".env", True),
    (["*.html"], ".#page.html", False),
    (["*.html"], ".cache/page.html", False),
    ([".config"], ".config/settings.toml", True),
    ([".config"], ".config/deep/settings.toml", True),
    ([".config"], ".config/.swap", False),
    ([".config/*.toml"], ".config/settings.toml", True),
    ([".config/*.toml"], ".config/settings.ini", False),
    (["node_modules"], "node_modules/tool.js", True),
])
def test_what_is_left_out_counts_when_it_is_asked_for(
    tmp_path: Path, include: list[str], path: str, counts: bool
) -> None:
    files = FileFilter([str(tmp_path)], include, [])
    assert files(str(tmp_path / path)) is counts
    assert files.enters(str(tmp_path / path).rpartition("/")[0]) or not counts


@pytest.mark.parametrize("watched", [".", ".hidden"])
def test_a_hidden_directory_that_is_named(tmp_path: Path, watched: str) -> None:
    """It is named as one to watch, or as one in which everything counts; it may be in one that is watched anyway."""
    hidden = tmp_path / ".hidden" / ".inner"
    hidden.mkdir(parents=True)
    for files in (
        FileFilter([str(tmp_path / watched)], [str(hidden)], []), FileFilter([str(tmp_path), str(hidden)], [], []),
    ):
        assert files(str(hidden / "settings.py"))
        assert not files(str(hidden / ".swap"))
        assert not files(str(tmp_path / ".other" / "settings.py"))
        assert files.enters(str(hidden))
        assert files.enters(str(hidden.parent))


def test_what_is_excluded_does_not_count_although_it_is_asked_for(tmp_path: Path) -> None:
    files = FileFilter([str(tmp_path)], [".*"], [".env.local"])
    assert files(str(tmp_path / ".env"))
    assert not files(str(tmp_path / ".env.local"))


def test_directories_in_the_place_of_patterns(tmp_path: Path) -> None:
    watched, assets, built = (tmp_path / name for name in ("src", "assets", "src/built"))
    for directory in (watched, assets, built):
        directory.mkdir()
    files = FileFilter([str(watched)], [str(assets)], [str(built)])
    assert files.directories == [str(watched), str(assets)]
    assert files(str(assets / "logo.svg"))
    assert files(str(watched / "main.py"))
    assert not files(str(built / "main.py"))
    assert not files.enters(str(built))
    assert not files(str(assets / ".swap"))


def test_a_directory_inside_of_another_is_watched_once(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    assert FileFilter([str(tmp_path), str(tmp_path / "inside")], [], []).directories == [str(tmp_path)]


def test_no_directory_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert FileFilter([], [], []).directories == [str(tmp_path)]


def test_a_current_directory_that_does_not_exist_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(ConfigError, match="the current directory does not exist any more") as failure:
        FileFilter([], [], [])
    assert failure.value.option == "reload_dir"


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory") as failure:
        FileFilter([str(tmp_path / "missing")], [], [])
    assert failure.value.option == "reload_dir"
