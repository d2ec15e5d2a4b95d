"""Files of options, and the outcome written as one."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioserve._config import OPTIONS, Config, options, sources
from trioserve._config.sources import PREFIX, as_toml, find_file, misspelt_table, read_environment, read_file
from trioserve._errors import ConfigError


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, name: str = "trioserve.toml") -> str:
    Path(name).write_text(text, "utf-8")
    return name


def values(text: str) -> dict[str, Any]:
    return {name: given.value for name, given in read_file(write(text)).items()}


def problem(text: str, name: str = "trioserve.toml") -> str:
    with pytest.raises(ConfigError) as failure:
        read_file(write(text, name))
    assert "\n" not in str(failure.value)
    return str(failure.value)


# The environment.


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(PREFIX) or name in ("FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY", "PORT"):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_variables")
@pytest.mark.parametrize(("variable", "text", "name", "value"), [
    ("TRIOSERVE_TIMEOUT_HEADER", "500ms", "timeout_header", 0.5),
    ("TRIOSERVE_TIMEOUT_HEADER", "off", "timeout_header", None),
    ("TRIOSERVE_BACKLOG", "7", "backlog", 7),
    ("TRIOSERVE_SERVER_HEADER", " No ", "server_header", False),
    ("TRIOSERVE_SERVER_HEADER", "1", "server_header", True),
    ("TRIOSERVE_USE_COLORS", "off", "use_colors", False),
    ("TRIOSERVE_HEADER", "a: 1\n\nb: 2\n", "header", ("a: 1", "b: 2")),
    ("TRIOSERVE_SSL_CERTFILE", "off", "ssl_certfile", "off"),
    ("FORWARDED_ALLOW_IPS", "*", "forwarded_allow_ips", "*"),
])
def test_a_variable(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, name: str, value: Any) -> None:
    monkeypatch.setenv(variable, text)
    assert read_environment() == {name: sources.Given(text, variable)}
    assert getattr(Config.from_options({name: text}), name) == value


@pytest.mark.usefixtures("no_variables")
def test_variables_of_ours_come_first_and_empty_ones_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    monkeypatch.setenv("TRIOSERVE_FORWARDED_ALLOW_IPS", "192.0.2.1")
    monkeypatch.setenv("TRIOSERVE_HEADER", "")
    found = read_environment()
    assert found == {"forwarded_allow_ips": sources.Given("192.0.2.1", "TRIOSERVE_FORWARDED_ALLOW_IPS")}


@pytest.mark.usefixtures("no_variables")
def test_the_address_of_a_service_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:  # as Kubernetes sets it
    monkeypatch.setenv("TRIOSERVE_PORT", "tcp://10.43.0.1:8000")
    assert read_environment() == {}
    monkeypatch.setenv("PORT", "80")
    assert read_environment() == {"port": sources.Given("80", "PORT")}


# Reading.


def test_keys_with_dashes_and_underscores() -> None:
    assert values("timeout-header = 5\nlimit_concurrency = 7") == {"timeout_header": 5, "limit_concurrency": 7}


def test_the_application() -> None:
    assert values('app = "main:app"') == {"app": "main:app"}


@pytest.mark.parametrize(("line", "value"), [
    ('limit-concurrency = "off"', None),
    ('timeout-header = "off"', None),
    ('timeout-header = "5m"', 300.0),
    ('timeout-header = 2.5', 2.5),
    ('port = "8080"', 8080),
    ('header = ["A: 1", "B: 2"]', ("A: 1", "B: 2")),
    ('header = "A: 1"', ("A: 1",)),
    ('forwarded-allow-ips = "::1,unix"', "::1,unix"),
    ('forwarded-allow-ips = ["10.0.0.0/8", "unix"]', "10.0.0.0/8,unix"),
    ('forwarded-allow-ips = ["10.0.0.0/8, ::1", "unix"]', "10.0.0.0/8, ::1,unix"),
    ('forwarded_allow_ips = []', ""),
    ('forwarded-headers = ["x-forwarded-for", "x-forwarded-proto"]', "x-forwarded-for,x-forwarded-proto"),
    ('access-log = false', False),
    ('access-log = "no"', False),
    ('host = "off"', "off"),
    ('[log-config]\nversion = 1', {"version": 1}),
])
def test_values(line: str, value: Any) -> None:
    [(name, found)] = values(line).items()
    assert getattr(Config.from_options({name: found}), name) == value


def test_a_value_knows_its_place() -> None:
    assert read_file(write("timeout-header = 5"))["timeout_header"].origin == "trioserve.toml: timeout-header"
    pyproject = write("[tool.trioserve]\nport = 5", "pyproject.toml")
    assert read_file(pyproject)["port"].origin == "pyproject.toml [tool.trioserve]: port"


def test_a_pyproject_elsewhere(directory: Path) -> None:
    (directory / "site").mkdir()
    path = write("[project]\nname = 'a'\n[tool.trioserve]\nport = 5", "site/pyproject.toml")
    assert read_file(path)["port"].value == 5


@pytest.mark.parametrize(("text", "expected"), [
    ("timeout-keepalive = 5",
     "trioserve.toml: timeout-keepalive: no such option; did you mean 'timeout-keep-alive'?"),
    ("timeout_keepalive = 5",
     "trioserve.toml: timeout_keepalive: no such option; did you mean 'timeout_keep_alive'?"),
    ("[limits]\nconcurrency = 5",
     "trioserve.toml: limits: no such option; options stand at the top of the file, not in tables"),
    ("log-level = 'info'\nlog_level = 'debug'",
     "trioserve.toml: log_level: the option is there twice, with - and with _"),
    ("config = 'other.toml'", "trioserve.toml: config: no such option; did you mean 'log-config'?"),
    ("keep-alive = 5",
     "trioserve.toml: keep-alive: no such option: use timeout-keep-alive"),
    ("no-ws = true", 'trioserve.toml: no-ws: no such option: use ws = "none"'),
    ("worker_class = 'trio'",
     "trioserve.toml: worker_class: no such option: use backend (trio or asyncio; for uvloop --loop uvloop)"),
    ("xyzzy = 1", "trioserve.toml: xyzzy: no such option"),
    ("port = ", "trioserve.toml: the file is not TOML: Invalid value (at end of document)"),
])
def test_mistakes(text: str, expected: str) -> None:
    assert problem(text) == expected


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere\.toml: the file cannot be read: No such file or directory$"):
        read_file("nowhere.toml")


def test_a_file_that_is_no_text(directory: Path) -> None:
    (directory / "trioserve.toml").write_bytes(b"host = '\xff'")
    with pytest.raises(ConfigError, match=r"^trioserve\.toml: the file is not TOML"):
        read_file("trioserve.toml")


@pytest.mark.parametrize("text", ["", "tool = 5", "[tool.black]", "[tool]\ntrioserve = 5"])
def test_a_pyproject_that_does_not_speak_of_us(text: str) -> None:
    assert problem(text, "pyproject.toml") == "pyproject.toml: there is no table [tool.trioserve]"


@pytest.mark.parametrize(("text", "near"), [
    ("[tool.trioserv]", "[tool.trioserv]"), ("[tool.trio-serve]", "[tool.trio-serve]"),
    ("[tool.tirosevre]\n[tool.triosreve]", "[tool.triosreve]"), ("[trioserve]\nport = 1", "[trioserve]"),
])
def test_a_misspelt_table(text: str, near: str) -> None:
    assert problem(text, "pyproject.toml") == (
        f"pyproject.toml: there is no table [tool.trioserve]; did you mean {near}?")
    assert misspelt_table() == near


@pytest.mark.parametrize("text", [
    "", "tool = 5", "[tool.black]", "[tool.trio]", "[tool.bumpserver]", "[tool.trioserv]\n[tool.trioserve]",
])
def test_tables_of_others_are_not_misspelt(text: str) -> None:
    write(text, "pyproject.toml")
    assert misspelt_table() is None


def test_a_table_is_not_looked_for_where_our_file_comes_first() -> None:
    assert misspelt_table() is None
    write("[tool.trioserv]", "pyproject.toml")
    write("")
    assert misspelt_table() is None


# Finding.


def test_no_file() -> None:
    assert find_file() is None


def test_our_file_comes_first() -> None:
    write("[tool.trioserve]", "pyproject.toml")
    assert find_file() == "pyproject.toml"
    write("")
    assert find_file() == "trioserve.toml"


def test_a_pyproject_of_others_is_none() -> None:
    write("[tool.black]", "pyproject.toml")
    assert find_file() is None


def test_directories_above_are_not_searched(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("")
    (directory / "inner").mkdir()
    monkeypatch.chdir(directory / "inner")
    assert find_file() is None


def test_a_directory_of_that_name_is_no_file(directory: Path) -> None:
    (directory / "trioserve.toml").mkdir()
    assert find_file() is None


# The outcome as a file.


CHANGED = Config(port=1, header=("a: \"b\" \\", "c: \xe9"), timeout_header=None, timeout_write=0.25, env_file="\t.env",
                 use_colors=False, limit_concurrency=5, access_log=False, factory=True, timeout_keep_alive=1e9,
                 log_config={"version": 1, "loggers": {"a.b": {"handlers": ["x"], "propagate": False}}})


@pytest.mark.parametrize("config", [Config(), CHANGED])
def test_the_outcome_is_a_file_that_gives_the_same(config: Config) -> None:
    given = values(as_toml("main:app", config, {}))
    assert given.pop("app") == "main:app"
    assert Config.from_options(given) == config
    unset = {name for name, *_ in options() if getattr(config, name) is None}
    assert set(OPTIONS) - set(given) <= unset


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_can_be_shown(text: str) -> None:
    assert tomllib.loads(as_toml(text, Config(ssl_ciphers=text), {}))["ssl-ciphers"] == text


def test_bytes_that_are_no_text_can_be_shown() -> None:
    assert tomllib.loads(as_toml(None, Config(host="a\udcff"), {}))["host"] == r"a\udcff"


def test_each_line_says_where_its_value_came_from() -> None:
    lines = as_toml("main:app", Config(port=1), {"port": "--port", "app": "APP"}).splitlines()
    assert 'app = "main:app"                             # APP' in lines
    assert "port = 1                                     # --port" in lines
    assert 'backend = "trio"                             # default' in lines
    assert "# env-file =                                 # default" in lines
    assert 'timeout-request = "off"                      # default' in lines
    assert "# HTTP" in lines


def test_without_an_application() -> None:
    assert "app" not in tomllib.loads(as_toml(None, Config(), {}))


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = [(name, hint, default, known._replace(secret=name == "root_path"))
              for name, hint, default, known in options()]
    monkeypatch.setattr(sources, "options", lambda: fields)
    assert tomllib.loads(as_toml(None, Config(root_path="/hidden"), {}))["root-path"] == "***"
    assert tomllib.loads(as_toml(None, Config(), {}))["root-path"] == ""
