"""``trioserve.run``: from an application, or its name, to a running server."""

import logging
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import trioserve
from tests.helpers.stand_in_server import StandInServer, app
from trioserve._config import Config
from trioserve._errors import AppLoadFailed, BindFailed, ConfigError


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


# -- worker processes ------------------------------------------------------------------------------------------------


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
