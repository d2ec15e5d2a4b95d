"""A configuration of logging that leaves the server mute is noticed."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trioserve._config import Config
from trioserve._supervisor.logs import set_up_logging

NAMES = (None, "trioserve", "trioserve.access", "uvicorn", "uvicorn.error", "uvicorn.access", "site")
UVICORNS_OWN: dict[str, Any] = {
    "handlers": {"out": {"class": "logging.StreamHandler"}},
    "loggers": {
        "uvicorn": {"handlers": ["out"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"handlers": ["out"], "level": "INFO", "propagate": False},
    },
}
OUT: dict[str, Any] = {"handlers": ["out"], "level": "INFO"}


@pytest.fixture(autouse=True)
def loggers_of_a_new_process() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers[:], logger.propagate = [], True
        logger.setLevel(logging.WARNING if logger.name == "root" else logging.NOTSET)
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate, logger.disabled = handlers, propagate, False
        logger.setLevel(level)


def warning(tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]) -> str:
    """What is said about a file with these settings."""
    path = tmp_path / "logging.json"
    path.write_text(json.dumps({"version": 1, **settings}))
    logging.root.handlers[:] = []  # pytest's own
    set_up_logging(Config(log_config=str(path)))
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "more", [{}, {"root": {"handlers": ["out"]}}, {"root": {"handlers": ["out"], "level": "ERROR"}}])
def test_one_that_was_written_for_uvicorn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: dict[str, Any]
) -> None:
    assert warning(tmp_path, capsys, UVICORNS_OWN | more) == (
        f"Warning: with {tmp_path / 'logging.json'} the lines of this server go nowhere: name trioserve what is there "
        "for uvicorn and uvicorn.error; name trioserve.access what is there for uvicorn.access\n")


def test_one_that_only_names_the_loggers_of_an_application(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"handlers": {"out": {"class": "logging.StreamHandler"}}, "loggers": {"site": OUT}}
    assert "go nowhere: name the loggers trioserve and trioserve.access in it\n" in warning(tmp_path, capsys, settings)


def test_one_that_switches_off_what_it_does_not_mention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"disable_existing_loggers": True, "handlers": {"out": {"class": "logging.StreamHandler"}}, "root": OUT}
    try:
        assert "go nowhere" in warning(tmp_path, capsys, settings)
    finally:
        for name in logging.root.manager.loggerDict:
            logging.getLogger(name).disabled = False


@pytest.mark.parametrize("settings", [
    {"handlers": {"out": {"class": "logging.StreamHandler"}}, "root": OUT},
    {"handlers": {"out": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["out"], "level": "ERROR"}},
    UVICORNS_OWN | {"root": OUT},
    UVICORNS_OWN | {"loggers": UVICORNS_OWN["loggers"] | {"trioserve": OUT}},
    UVICORNS_OWN | {"loggers": UVICORNS_OWN["loggers"] | {"trioserve": {"handlers": [], "propagate": False}}},
    UVICORNS_OWN | {"loggers": UVICORNS_OWN["loggers"] | {"trioserve": {"level": "ERROR"}}},
])
def test_one_that_has_thought_of_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    assert warning(tmp_path, capsys, settings) == ""
