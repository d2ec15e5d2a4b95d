"""The command with a file: which source wins, what mistakes are called, and what ``--print-config`` shows."""

import tomllib
from pathlib import Path

import pytest

from tests.helpers.command_line import Calls, invoke, mistake
from trioserve._config import OPTIONS, Config


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, without a file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_in_the_current_directory(calls: Calls, directory: Path) -> None:
    (directory / "trioserve.toml").write_text('app = "main:app"\nport = 9000\ntimeout-header = "1m"')
    assert invoke().output == ""
    assert calls == [("main:app", Config(port=9000, timeout_header=60.0))]
    assert calls.file == "trioserve.toml"
    assert calls.spelled["port"] == "trioserve.toml: port"
    assert calls.spelled["host"] == "--host"


def test_pyproject(calls: Calls, directory: Path) -> None:
    (directory / "pyproject.toml").write_text('[tool.trioserve]\napp = "main:app"\nport = 9000')
    invoke()
    assert calls == [("main:app", Config(port=9000))]


@pytest.mark.parametrize("by_flag", [True, False])
def test_the_named_file_is_the_only_one(calls: Calls, directory: Path, by_flag: bool) -> None:
    (directory / "trioserve.toml").write_text("port = 9000\nbacklog = 7")
    (directory / "other.toml").write_text("port = 9001")
    if by_flag:
        invoke("main:app", "--config", "other.toml", TRIOSERVE_CONFIG="nowhere.toml")
    else:
        invoke("main:app", TRIOSERVE_CONFIG="other.toml")
    assert calls == [("main:app", Config(port=9001))]


@pytest.mark.parametrize(("arguments", "environment"), [
    (["--no-config"], {}), (["--no-config"], {"TRIOSERVE_CONFIG": "other.toml"}), ([], {"TRIOSERVE_CONFIG": ""}),
    (["--config", ""], {}),
])
def test_no_file_is_read(
    calls: Calls, directory: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    (directory / "trioserve.toml").write_text("host = '0.0.0.0'")
    assert invoke("main:app", *arguments, **environment).output == ""
    assert calls == [("main:app", Config())]
    assert calls.file is None


def test_a_file_and_no_file_contradict_each_other(calls: Calls) -> None:
    assert mistake("main:app", "--no-config", "--config", "a.toml") == "--config: cannot be combined with --no-config"


def test_a_misspelt_table_is_a_warning(calls: Calls, directory: Path) -> None:
    (directory / "pyproject.toml").write_text("[tool.trioserv]\nport = 1")
    assert invoke("main:app").output == (
        "Warning: pyproject.toml: [tool.trioserv] is not read; did you mean [tool.trioserve]?\n")
    assert calls == [("main:app", Config())]


def test_flag_before_environment_before_file_before_default(calls: Calls, directory: Path) -> None:
    (directory / "trioserve.toml").write_text(
        "app = 'file:app'\nport = 1\nbacklog = 1\nheader = ['a: file']\nhost = 'h'")
    invoke("flag:app", "--port", "3", "--header", "a: flag", TRIOSERVE_PORT="2", TRIOSERVE_BACKLOG="2",
           TRIOSERVE_APP="env:app", TRIOSERVE_HEADER="a: env")
    assert calls == [("flag:app", Config(port=3, backlog=2, host="h", header=("a: flag",)))]


def test_a_platforms_variable_comes_before_the_file(calls: Calls, directory: Path) -> None:
    (directory / "trioserve.toml").write_text("port = 1")
    invoke("main:app", PORT="2")
    assert calls[0][1].port == 2


@pytest.mark.parametrize(("text", "problem"), [
    ("prot = 1", "trioserve.toml: prot: no such option; did you mean 'port'?"),
    ("port = 'http'", "trioserve.toml: port: 'http' is not a whole number"),
    ("timeout-header = 0", "trioserve.toml: timeout-header: 0 is out of range, it must be at least 0.001 or off"),
    ("backend = 'tokio'", "trioserve.toml: backend: 'tokio' is not one of trio, asyncio; did you mean 'trio'?"),
    ("port = 2026-11-21", "trioserve.toml: port: datetime.date(2026, 11, 21) is not a whole number"),
    ("app = 5", "trioserve.toml: app: 5 is not a text of the form MODULE:ATTRIBUTE"),
    ("port 1", "trioserve.toml: the file is not TOML: Expected '=' after a key in a key/value pair (at line 1, "
               "column 6)"),
])
def test_a_mistake_names_file_and_key(calls: Calls, directory: Path, text: str, problem: str) -> None:
    (directory / "trioserve.toml").write_text(text)
    assert mistake() == problem
    assert calls == []


def test_a_named_file_that_is_not_there(calls: Calls) -> None:
    problem = "nowhere.toml: the file cannot be read: No such file or directory"
    assert mistake("main:app", "--config", "nowhere.toml") == problem
    assert mistake("main:app", TRIOSERVE_CONFIG="nowhere.toml") == problem


def test_no_application_anywhere(calls: Calls, directory: Path) -> None:
    (directory / "trioserve.toml").write_text("port = 1")
    assert mistake().startswith("APP is missing")


# --print-config.


def test_every_option_is_shown_with_its_source(calls: Calls, directory: Path) -> None:
    (directory / "trioserve.toml").write_text("app = 'main:app'\nport = 1\nbacklog = 7")
    result = invoke("--print-config", "--port", "3", "--no-access-log", TRIOSERVE_HOST="::")
    assert result.exit_code == 0
    assert calls == []
    shown = {line.split(" = ")[0]: line.split("# ")[-1] for line in result.output.splitlines() if " = " in line}
    assert shown["app"] == "trioserve.toml: app"
    assert shown["port"] == "--port"
    assert shown["backlog"] == "trioserve.toml: backlog"
    assert shown["host"] == "TRIOSERVE_HOST"
    assert shown["access-log"] == "--access-log"
    assert shown["backend"] == "default"
    for name in OPTIONS:
        assert f"{name.replace('_', '-')} =" in result.output
    assert tomllib.loads(result.output)["port"] == 3


def test_the_application_of_the_command_line_is_shown(calls: Calls) -> None:
    assert 'app = "main:app"                             # APP\n' in invoke("main:app", "--print-config").output


def test_a_mistake_is_not_shown(calls: Calls) -> None:
    assert mistake("--print-config", "--port", "x") == "--port: 'x' is not a whole number"
