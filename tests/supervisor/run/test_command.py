"""The command's exit codes, and what it prints when the server, or the import, fails."""

import os
import sys
from typing import Any

import pytest

import trioserve
from tests.helpers.stand_in_server import NO_LOOP_YET, StandInServer
from trioserve._config import Config
from trioserve._errors import AppNotFound, BindFailed, ConfigError, TrioserveError
from trioserve._supervisor.run import run_command


def spell(option: str) -> str:
    return f"<{option}>"


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
