"""From a name to a running server, with a stand-in for the server itself."""

import importlib.util
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sniffio

import trioserve
from trioserve._config import Config
from trioserve._errors import AppLoadFailed, AppNotFound, BindFailed, ConfigError, TrioserveError
from trioserve._supervisor import run as run_module
from trioserve._supervisor.run import run_command
from trioserve._supervisor.signals import STOP_SIGNALS
from trioserve._types import App, Receive, Scope, Send


class StandInServer:
    """Serves by noting what it was given; ``failure`` is raised instead, if there is one."""

    failure: Exception | None = None
    served: "list[StandInServer]"
    has_certificate_files = False

    def __init__(
        self, app: App, config: Config, *, sockets: list[socket.socket] | None,
        ssl_context: ssl.SSLContext | None = None, how_to_stop: str = "",
    ) -> None:  # fmt: skip
        self.app = app
        self.sockets = sockets
        self.config = config
        self.ssl_context = ssl_context
        self.backend = sniffio.current_async_library()
        self.loop: object = None  # asyncio's, if there is one

    async def serve(self) -> None:
        if self.backend == "asyncio":
            import asyncio

            self.loop = asyncio.get_running_loop()
        self.served.append(self)
        if self.failure is not None:
            raise self.failure


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StandInServer]]:
    """Takes the server's place; ``served`` lists the ones that ran. Loggers and imports are as before afterwards."""
    path, modules = sys.path[:], set(sys.modules)
    signals = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    monkeypatch.setattr(threading, "_register_atexit", lambda function: None)  # a run is not this process's last act
    loggers = [logging.getLogger(name) for name in ("trioserve", "trioserve.access")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    StandInServer.served = []
    monkeypatch.setattr(run_module, "Server", StandInServer)
    yield StandInServer
    for number, handler in signals.items():
        signal.signal(number, handler)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("site_"):
            del sys.modules[name]
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Writes the module ``site_run``; returns the options to find it."""

    def write(source: str) -> dict[str, str]:
        (tmp_path / "site_run.py").write_text(source)
        return {"app_dir": str(tmp_path)}

    return write


def spell(option: str) -> str:
    return f"<{option}>"


# run().


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_run_serves_an_application_on_its_backend(backend: str) -> None:
    trioserve.run(app, backend=backend, port=0)
    [server] = StandInServer.served
    assert server.app is app
    assert server.config == Config.from_options({"backend": backend, "port": 0})
    assert server.backend == backend


def test_run_passes_an_ssl_context_on() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trioserve.run(app, ssl_context=context)
    assert StandInServer.served[0].ssl_context is context


def test_run_imports_an_application_by_name(module: Any) -> None:
    trioserve.run("site_run:app", **module("async def app(scope, receive, send): ..."))
    assert StandInServer.served[0].app is sys.modules["site_run"].app


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("own", ["asyncio.run(asyncio.sleep(0))", "trio.run(trio.sleep, 0)"])
def test_an_application_may_run_an_event_loop_of_its_own_while_it_is_imported(
    module: Any, own: str, backend: str
) -> None:
    found = module(f"import asyncio, trio\n{own}\ndef app(scope, receive, send): ...")
    trioserve.run("site_run:app", backend=backend, **found)
    assert len(StandInServer.served) == 1


@pytest.mark.filterwarnings("error")  # of a loop that nobody closes
@pytest.mark.parametrize("loop", ["auto", "asyncio", "site_loop:make"])
def test_an_application_that_asks_for_the_event_loop_while_it_is_imported_gets_the_one_that_will_run(
    module: Any, tmp_path: Path, loop: str
) -> None:
    (tmp_path / "site_loop.py").write_text("from asyncio import new_event_loop as make")
    found = module("import asyncio\nseen = asyncio.get_event_loop()\ndef app(scope, receive, send): ...")
    trioserve.run("site_run:app", backend="asyncio", loop=loop, **found)
    assert StandInServer.served[0].loop is sys.modules["site_run"].seen


@pytest.mark.filterwarnings("error")
def test_the_event_loop_is_closed_when_the_import_fails(module: Any) -> None:
    with pytest.raises(AppLoadFailed):
        trioserve.run("site_run:app", backend="asyncio", **module("1/0"))


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_what_stops_the_server_is_raised_as_it_is(stand_in: type[StandInServer], backend: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "failure", BindFailed("the port is in use"))
    with pytest.raises(BindFailed, match="the port is in use"):
        trioserve.run(app, backend=backend)


@pytest.mark.anyio
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
async def test_where_an_event_loop_runs_there_is_advice(backend: str) -> None:
    """As in a notebook."""
    with pytest.raises(RuntimeError, match=r"await trioserve\.serve\(app, \.\.\.\) there"):
        trioserve.run("nobody:imports_it", backend=backend)


def test_an_unknown_option() -> None:
    with pytest.raises(ConfigError, match="no such option; did you mean 'port'"):
        trioserve.run(app, prot=1)


def test_a_program_that_has_set_up_logging_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger("trioserve"), "handlers", [handler])
    trioserve.run(app)
    assert logging.getLogger("trioserve").handlers == [handler]


def test_a_file_for_logging_is_obeyed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("trioserve"), "handlers", [logging.NullHandler()])
    (tmp_path / "a.json").write_text('{"version": 1, "loggers": {"trioserve": {"handlers": []}}}')
    trioserve.run(app, log_config=str(tmp_path / "a.json"))
    assert logging.getLogger("trioserve").handlers == []


def test_a_program_that_has_not_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("trioserve"), "handlers", [])
    trioserve.run(app)
    assert len(logging.getLogger("trioserve").handlers) == 1


def test_in_another_thread_it_runs_without_signals(module: Any) -> None:
    found = module("async def app(scope, receive, send): ...")
    thread = threading.Thread(target=trioserve.run, args=["site_run:app"], kwargs=found)
    thread.start()
    thread.join(timeout=10)
    assert len(StandInServer.served) == 1


# Advice.

NO_LOOP_YET = "The application is imported before the event loop runs: what needs a running one belongs in its lifespan"


def test_an_application_that_needs_a_running_loop_to_be_imported_gets_advice(module: Any) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", backend="asyncio", **module("import asyncio\nasyncio.get_running_loop()"))
    assert failure.value.__notes__ == [NO_LOOP_YET]


@pytest.mark.parametrize("source", [
    "import asyncio\nasyncio.get_running_loop()",
    "import asyncio\ndef app(scope, receive, send): ...\nasyncio.get_running_loop()",
])
def test_an_application_that_needs_asyncio_gets_advice(module: Any, source: str) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", **module(source))
    assert failure.value.__notes__ == [
        "The application uses asyncio, and this server runs on trio: try --backend asyncio", NO_LOOP_YET]


def test_a_factory_that_needs_asyncio_gets_advice(module: Any) -> None:
    found = module("import asyncio\ndef create(): asyncio.get_running_loop()")
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:create", factory=True, **found)
    assert "--backend asyncio" in failure.value.__notes__[0]


def test_an_application_that_patches_the_event_loop_gets_advice(module: Any) -> None:
    found = module("""raise ValueError("Can't patch loop of type <class 'uvloop.Loop'>")""")  # as nest_asyncio says
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", backend="asyncio", **found)
    assert failure.value.__notes__ == ["nest_asyncio cannot change this event loop: try --loop asyncio"]


def test_any_other_error_gets_none(module: Any) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", **module("1/0"))
    assert not hasattr(failure.value, "__notes__")


# Event loops.


@pytest.mark.parametrize(("loop", "installed", "module_name"), [
    ("auto", True, "uvloop"), ("auto", False, "asyncio.unix_events"), ("asyncio", True, "asyncio.unix_events"),
    ("uvloop", True, "uvloop"),
])
def test_the_event_loop_of_asyncio(
    monkeypatch: pytest.MonkeyPatch, loop: str, installed: bool, module_name: str
) -> None:
    if installed:
        pytest.importorskip("uvloop")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    trioserve.run(app, backend="asyncio", loop=loop)
    assert type(StandInServer.served[0].loop).__module__ == module_name


def test_uvloop_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"loop: uvloop is not installed; install trioserve\[standard\]"):
        trioserve.run(app, backend="asyncio", loop="uvloop")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_an_event_loop_of_asyncio_on_trio(loop: str) -> None:
    with pytest.raises(ConfigError, match="use it with --backend asyncio"):
        trioserve.run(app, loop=loop, backend="trio")


LOOPS = """
import asyncio
class Own(asyncio.SelectorEventLoop): ...
def with_argument(use_subprocess): ...
def raises(): raise LookupError("no such policy")
def nothing(): ...
number = 7
def refuses(loop, coro, **options): raise TypeError("unexpected eager_start")
def with_refusing_factory():
    loop = Own()
    loop.set_task_factory(refuses)
    return loop
def eager():
    loop = Own()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))  # Python 3.12 brings it
    return loop
"""


@pytest.mark.parametrize("name", ["Own", "eager"])
def test_an_event_loop_of_the_user_s_own(module: Any, name: str) -> None:
    trioserve.run(app, loop=f"site_run:{name}", backend="asyncio", **module(LOOPS))
    assert type(StandInServer.served[0].loop).__module__ == "site_run"


@pytest.mark.parametrize(("name", "problem"), [
    ("Won", "there is no 'Won' in 'site_run'"), ("number", "cannot be called"),
    ("nothing", "returned None, which is no"),
    ("with_argument", r"is called with \(\); it takes \(use_subprocess\)"),
    ("raises", "raised LookupError: no such policy"),
    ("with_refusing_factory", "returned an event loop whose task factory fails: TypeError: unexpected eager_start")])
def test_an_event_loop_that_cannot_be_made(module: Any, name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"loop: 'site_run:{name}'.* {problem}"):
        trioserve.run(app, loop=f"site_run:{name}", backend="asyncio", **module(LOOPS))


# The environment file.


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variables whose changes are undone."""
    monkeypatch.setenv("SITE_KNOWN", "from outside")
    monkeypatch.setenv("SITE_NEW", "")
    monkeypatch.delenv("SITE_NEW")


@pytest.mark.usefixtures("variables")
def test_the_application_is_imported_with_the_files_variables(module: Any, tmp_path: Path) -> None:
    pytest.importorskip("dotenv")
    (tmp_path / "site.env").write_text("SITE_NEW='caf\u00e9'\nSITE_KNOWN=from the file\n", "utf-8")
    found = module("import os\nseen = os.environ['SITE_NEW']\ndef app(scope, receive, send): ...")
    trioserve.run("site_run:app", env_file=str(tmp_path / "site.env"), **found)
    assert sys.modules["site_run"].seen == "caf\u00e9"
    assert os.environ["SITE_KNOWN"] == "from outside"


@pytest.mark.parametrize(("name", "problem"), [
    ("missing.env", "No such file or directory"), ("", "Is a directory"), ("binary.env", "'utf-8' codec can't decode"),
])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, problem: str) -> None:
    pytest.importorskip("dotenv")
    (tmp_path / "binary.env").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=f"cannot be read: {problem}") as failure:
        trioserve.run(app, env_file=str(tmp_path / name))
    assert failure.value.option == "env_file"
    assert StandInServer.served == []


def test_python_dotenv_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(ConfigError, match=r"python-dotenv is not installed; install trioserve\[standard\]"):
        trioserve.run(app, env_file=".env")


# run_command().


def command(target: str, options: dict[str, Any]) -> int:
    return run_command(target, Config.from_options(options), spell)


def test_a_server_that_stops_normally_is_exit_code_0(module: Any) -> None:
    assert command("site_run:app", module("def app(scope, receive, send): ...")) == 0


@pytest.mark.parametrize(("failure", "code"), [
    (BindFailed("in use"), 3), (trioserve.StartupFailed("in use"), 3), (trioserve.LifespanDied("in use"), 3),
    (ConfigError("http", "in use"), 2),
])
def test_an_error_is_one_line_and_an_exit_code(
    module: Any, stand_in: type[StandInServer], failure: TrioserveError, code: int, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stand_in, "failure", failure)
    assert command("site_run:app", module("def app(scope, receive, send): ...")) == code
    assert capsys.readouterr().err == ("Error: <http>: in use\n" if code == 2 else "Error: in use\n")


def test_an_application_that_fails_shows_its_own_traceback(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("site_run:app", module("def fail():\n    1/0\nfail()")) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split(", ")[1:] for line in lines if line.startswith("  File")] == [
        ["line 3", "in <module>"], ["line 2", "in fail"]]
    assert lines[-2:] == [
        "ZeroDivisionError: division by zero",
        "Error: 'site_run:app' could not be imported: ZeroDivisionError: division by zero"]


def test_advice_is_the_last_line(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("site_run:app", module("import asyncio\nasyncio.get_running_loop()")) == 3
    assert capsys.readouterr().err.endswith(f"loop\nThe application uses asyncio, and this server runs on trio: "
                                            f"try --backend asyncio\n{NO_LOOP_YET}\n")


def test_a_wrong_name_shows_no_traceback(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("site_run:app", module("")) == AppNotFound.exit_code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_ctrl_c_during_the_import_is_quiet(module: Any, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = module("import signal\nsignal.raise_signal(signal.SIGINT)\nsignal.pause()")
    assert command("site_run:app", {"backend": backend, **found}) == 130
    assert capsys.readouterr().err == ""


def test_a_broken_stdout_does_not_change_the_exit_code(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        pipe.write("unread")
        monkeypatch.setattr(sys, "stdout", pipe)
        assert command("site_run:app", module("def app(scope, receive, send): ...")) == 0


def test_a_process_without_stdout(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert command("site_run:app", module("def app(scope, receive, send): ...")) == 0


# Worker processes.


def test_logging_that_cannot_be_given_to_other_processes() -> None:
    log_config = {"version": 1, "handlers": {"out": {"class": "logging.StreamHandler", "stream": sys.stdout}}}
    with pytest.raises(ConfigError, match=r"^log_config: the dict cannot be given to worker processes, name a file: "):
        trioserve.run("site_run:app", workers=2, log_config=log_config)


@pytest.mark.parametrize("options", [{"workers": 2}, {"reload": True}])
def test_an_application_that_other_processes_cannot_import(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"needs the application's name, such as 'main:app', not the application"):
        trioserve.run(app, **options)


@pytest.mark.parametrize("options", [{"workers": 2}, {"reload": True}])
def test_a_system_without_such_processes(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigError, match="needs a system with POSIX processes"):
        trioserve.run("main:app", **options)


def test_a_start_imports_nothing_that_nobody_has_asked_for() -> None:
    code = "import trioserve._supervisor.run, sys; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    of_workers = {f"trioserve._supervisor.{name}" for name in ("supervisor", "control", "slots")}
    of_tls = {"trioserve._server.certificates"}
    of_proxies = {"trioserve._streams.proxied", "trioserve._protocol.proxy_line"}
    of_websockets = {"trioserve._connection.websocket", "trioserve._protocol.websocket.handshake"}
    of_http2 = {"trioserve._connection.http2", "trioserve._protocol.http2.engine"}
    assert "trioserve._supervisor.run" in imported
    assert not (of_workers | of_tls | of_proxies | of_websockets | of_http2) & set(imported)
