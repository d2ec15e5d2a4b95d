"""Logging as a file says, in each format, and what is said about files that cannot be used."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trioserve._config import Config
from trioserve._errors import ConfigError
from trioserve._server import TRACE
from trioserve._supervisor.logs import set_up_logging

log = logging.getLogger("trioserve")
access = logging.getLogger("trioserve.access")

DICT: dict[str, Any] = {
    "version": 1,
    "formatters": {"short": {"format": "%(levelname)s|%(name)s|%(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "short", "stream": "ext://sys.stdout"}},
    "loggers": {"trioserve": {"handlers": ["out"], "level": "TRACE", "propagate": False}},
}
TOML = """
version = 1
[formatters.short]
format = "%(levelname)s|%(name)s|%(message)s"
[handlers.out]
class = "logging.StreamHandler"
formatter = "short"
stream = "ext://sys.stdout"
[loggers.trioserve]
handlers = ["out"]
level = "TRACE"
propagate = false
"""
INI = """
[loggers]
keys=root,trioserve
[handlers]
keys=out
[formatters]
keys=short
[logger_root]
handlers=
[logger_trioserve]
handlers=out
level=TRACE
qualname=trioserve
propagate=0
[handler_out]
class=StreamHandler
formatter=short
args=(sys.stdout,)
[formatter_short]
format=%(levelname)s|%(name)s|%(message)s
"""
JSON = json.dumps(DICT)  # which is YAML too
FILES = {"a.json": JSON, "a.yaml": JSON, "a.YML": JSON, "a.toml": TOML, "a.ini": INI, "a.conf": INI}


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "trioserve", "trioserve.access", "site.earlier")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate, logger.disabled) for logger in loggers]
    yield
    for logger, handlers, level, propagate, disabled in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled


@pytest.mark.parametrize("name", FILES)
def test_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    access.handlers[:] = []
    access.propagate = True
    access.setLevel(logging.NOTSET)
    (tmp_path / name).write_text(FILES[name])
    set_up_logging(Config(log_config=str(tmp_path / name), log_level="error", log_format="json"))
    log.log(TRACE, "caf\xe9")
    access.info("GET /")
    assert capsys.readouterr().out == "TRACE|trioserve|caf\xe9\nINFO|trioserve.access|GET /\n"


def test_a_dict(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Config(log_config=DICT))
    log.info("line")
    assert capsys.readouterr().out == "INFO|trioserve|line\n"


def test_a_dict_that_cannot_be_used() -> None:
    with pytest.raises(ConfigError) as failure:
        set_up_logging(Config(log_config={}))
    assert str(failure.value) == "log_config: the dict: dictionary doesn't specify a version"


@pytest.mark.parametrize("name", FILES)
def test_loggers_that_are_not_mentioned_go_on(tmp_path: Path, name: str) -> None:
    earlier = logging.getLogger("site.earlier")
    (tmp_path / name).write_text(FILES[name])
    set_up_logging(Config(log_config=str(tmp_path / name)))
    assert not earlier.disabled


def test_unless_the_file_says_so(tmp_path: Path) -> None:
    earlier = logging.getLogger("site.earlier")
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "disable_existing_loggers": True}))
    set_up_logging(Config(log_config=str(tmp_path / "a.json")))
    assert earlier.disabled
    for logger in (logging.getLogger(name) for name in logging.root.manager.loggerDict):
        logger.disabled = False


@pytest.mark.parametrize(("name", "text", "problem"), [
    ("a.json", "{", "is not JSON: Expecting property name"),
    ("a.toml", "a = ", "is not TOML: Invalid value"),
    ("a.yaml", "a: [", "is not YAML: while parsing"),
    ("a.json", "[]", "holds no mapping"),
    ("a.yaml", "", "holds no mapping"),
    ("a.json", "{}", ": dictionary doesn't specify a version"),
    ("a.yaml", "{version: 1, handlers: {out: {class: site.Nowhere}}}",
     ": Unable to configure handler 'out': Cannot resolve 'site.Nowhere'"),
    ("a.json", json.dumps({**DICT, "formatters": {}}), "Unable to set formatter 'short': 'short' is missing"),
    ("a.ini", "[loggers]\nkeys=root\n", ": 'formatters' is missing"),
    ("a.ini", INI.replace("qualname=trioserve", ""), ": 'qualname' is missing"),
    ("a.ini", "no section", "a.ini is invalid: File contains no section headers"),
])
def test_files_that_cannot_be_used(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as failure:
        set_up_logging(Config(log_config=str(tmp_path / name)))
    assert failure.value.option == "log_config"
    assert failure.value.problem.startswith(f"'{tmp_path / name}'")
    assert problem in failure.value.problem
    assert "\n" not in failure.value.problem


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as failure:
        set_up_logging(Config(log_config="nowhere.yaml"))
    assert failure.value.problem == "'nowhere.yaml' cannot be read: No such file or directory"


def test_yaml_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "a.yaml").write_text(FILES["a.yaml"])
    with pytest.raises(ConfigError, match=r"PyYAML is not installed; install trioserve\[standard\]"):
        set_up_logging(Config(log_config=str(tmp_path / "a.yaml")))
