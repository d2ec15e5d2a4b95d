"""Where log lines go and how they look."""

import errno
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trioserve._config import Config
from trioserve._server import TRACE
from trioserve._supervisor.logs import AccessHandler, set_up_logging

log = logging.getLogger("trioserve")
access = logging.getLogger("trioserve.access")


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in (log, access)]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


class Stream(io.StringIO):
    """Counts what it is asked for; fails when told to."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.writes = self.flushes = 0
        self.failure: Exception | None = None
        self._terminal = terminal

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    def flush(self) -> None:
        self.flushes += 1
        if self.failure is not None:
            raise self.failure

    def isatty(self) -> bool:
        return self._terminal


def streams(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> tuple[Stream, Stream]:
    """stdout and stderr."""
    out, err = Stream(terminal=terminal), Stream(terminal=terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    return out, err


def test_lines_go_to_stderr_and_access_lines_to_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config())
    log.info("started %s", "well")
    log.critical("stopped")
    access.info("%s", "GET /")
    assert err.getvalue() == "INFO:     started well\nCRITICAL: stopped\n"
    assert out.getvalue() == "INFO:     GET /\n"


def test_a_traceback_follows_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = streams(monkeypatch)
    set_up_logging(Config())
    log.error("failed", exc_info=ValueError("why"))
    assert err.getvalue() == "ERROR:    failed\nValueError: why\n"


def test_one_of_many_processes_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config(), one_of_many=True)
    log.warning("slow", extra={"request_id": "abc-1"})
    access.info("GET /")
    assert err.getvalue() == f"WARNING:  [{os.getpid()}] slow [abc-1]\n"
    assert out.getvalue() == "INFO:     GET /\n"


def test_nothing_reaches_the_root_logger(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    streams(monkeypatch)
    set_up_logging(Config(access_log=False))
    log.error("failed")
    access.error("failed")
    assert caplog.records == []


def test_set_up_twice_logs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config())
    set_up_logging(Config())
    log.info("once")
    access.info("once")
    assert err.getvalue() == out.getvalue() == "INFO:     once\n"


@pytest.mark.parametrize(("level", "logged"), [
    ("trace", ["TRACE:", "DEBUG:", "INFO:", "WARNING:", "ERROR:"]),
    ("debug", ["DEBUG:", "INFO:", "WARNING:", "ERROR:"]),
    ("warning", ["WARNING:", "ERROR:"]),
    ("critical", []),
])
def test_levels(monkeypatch: pytest.MonkeyPatch, level: str, logged: list[str]) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config.from_options({"log_level": level}))
    for number in (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "line")
    access.info("line")
    assert [line.split()[0] for line in err.getvalue().splitlines()] == logged
    assert bool(out.getvalue()) is ("INFO:" in logged)


def test_access_log_off(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = streams(monkeypatch)
    set_up_logging(Config(access_log=False))
    access.info("GET /")
    assert out.getvalue() == ""


# Colours.


@pytest.mark.parametrize(("terminal", "option", "no_color", "colored"), [
    (True, None, "", True),
    (True, None, "1", False),
    (True, False, "", False),
    (False, None, "", False),
    (False, True, "", True),
    (False, True, "1", True),
])
def test_colors(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, option: bool | None, no_color: str, colored: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    out, err = streams(monkeypatch, terminal=terminal)
    set_up_logging(Config(use_colors=option))
    log.info("line")
    access.info("line")
    [handler] = access.handlers
    assert isinstance(handler, AccessHandler)
    assert err.getvalue() == out.getvalue() == ("\x1b[32mINFO\x1b[0m:     line\n" if colored else "INFO:     line\n")
    assert handler.prefix + "line\n" == out.getvalue()


@pytest.mark.parametrize(("no_color", "force_color", "option", "colored"), [
    ("", "1", None, True), ("1", "1", None, False), ("", "", None, False), ("", "1", False, False),
    ("1", "", True, True),
])
def test_colors_by_the_environment_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, no_color: str, force_color: str, option: bool | None, colored: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("FORCE_COLOR", force_color)
    _, err = streams(monkeypatch)
    set_up_logging(Config(use_colors=option))
    log.info("line")
    assert ("\x1b[32m" in err.getvalue()) == colored


def test_a_level_with_a_long_name_keeps_its_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = streams(monkeypatch)
    set_up_logging(Config(use_colors=True))
    monkeypatch.setitem(logging._levelToName, 21, "IMPORTANT_NOTICE")
    log.log(21, "line")
    assert err.getvalue() == "IMPORTANT_NOTICE\x1b[0m: line\n"


# The access handler.


def test_a_batch_is_one_write_and_one_flush() -> None:
    stream = Stream()
    AccessHandler(stream, prefix="INFO:     ").write_lines([f"line {number}" for number in range(100)])
    assert (stream.writes, stream.flushes) == (1, 1)
    assert stream.getvalue().splitlines() == [f"INFO:     line {number}" for number in range(100)]


def test_a_broken_pipe_is_reported_once_and_nothing_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config())
    out.failure = BrokenPipeError(32, "Broken pipe")
    [handler] = access.handlers
    assert isinstance(handler, AccessHandler)
    handler.write_lines(["first"])
    handler.write_lines(["second"])
    access.info("third")
    assert out.writes == 1
    assert err.getvalue() == "ERROR:    The access log ends here, nobody reads it any more ([Errno 32] Broken pipe)\n"


def test_a_real_pipe_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = streams(monkeypatch)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as pipe:
        handler = AccessHandler(pipe, prefix="")
        set_up_logging(Config())
        handler.write_lines(["first"])
        handler.write_lines(["second"])
        os.dup2(null := os.open(os.devnull, os.O_WRONLY), writing)      # so that closing the file can flush
        os.close(null)
    assert err.getvalue().count("\n") == 1


@pytest.mark.parametrize("closed", [True, False])
def test_a_filter_that_raises_does_not_end_the_task_that_writes(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise ValueError("the filter is broken")

    def full(text: str) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    _, err = streams(monkeypatch)
    out = Stream()
    if closed:
        out.close()
    else:
        monkeypatch.setattr(out, "write", full)
    log.addFilter(refuse)
    try:
        AccessHandler(out, prefix="").write_lines(["first"])
    finally:
        log.removeFilter(refuse)
    assert "access log" in err.getvalue()
    assert "the filter is broken" in err.getvalue()


def test_a_closed_file_is_like_a_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config())
    out.close()
    access.info("first")
    access.info("second")
    assert err.getvalue() == (
        "ERROR:    The access log ends here, nobody reads it any more (I/O operation on closed file)\n")


def test_a_full_disk_is_reported_once_until_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch)
    set_up_logging(Config())
    for failure in (OSError(28, "No space left on device"), OSError(28, "No space left on device"), None,
                    OSError(5, "Input/output error")):
        out.failure = failure
        access.info("line")
    assert err.getvalue() == (
        "ERROR:    Lines of the access log are lost: [Errno 28] No space left on device\n"
        "ERROR:    Lines of the access log are lost: [Errno 5] Input/output error\n")


def test_letters_that_the_terminal_does_not_know_are_escaped() -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        AccessHandler(stream, prefix="INFO:     ").write_lines(["/caf\xe9", "/"])
        assert raw.getvalue() == b"INFO:     /caf\\xe9\nINFO:     /\n"


def test_a_process_without_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = streams(monkeypatch)
    monkeypatch.setattr(sys, "stdout", None)
    set_up_logging(Config())
    access.info("line")
    assert err.getvalue() == ""


# JSON.


def test_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = streams(monkeypatch, terminal=True)
    set_up_logging(Config(log_format="json"))
    log.info("started %s\n", "well", extra={"worker": 5, "path": Path("/a")})
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("failed", stack_info=True)
    access.info("GET /", extra={"status": 200})
    first, second = map(json.loads, err.getvalue().splitlines())
    assert first.pop("time")[-1] == "Z"
    assert first == {
        "level": "info", "logger": "trioserve", "pid": os.getpid(), "message": "started well\n", "worker": 5,
        "path": "/a",
    }
    assert second["message"] == "failed"
    assert second["exception"].startswith("Traceback") and second["exception"].endswith("ValueError: why")
    assert second["stack"].startswith("Stack")
    line = json.loads(out.getvalue())
    assert (line["logger"], line["message"], line["status"]) == ("trioserve.access", "GET /", 200)


def test_lines_that_are_json_already_are_written_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = streams(monkeypatch)
    set_up_logging(Config(log_format="json"))
    [handler] = access.handlers
    assert isinstance(handler, AccessHandler)
    handler.write_lines(["{}", "{}"])
    assert out.getvalue() == "{}\n{}\n"


def test_lines_of_the_users_own_format_have_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = streams(monkeypatch)
    set_up_logging(Config(access_log_format="%(h)s"))
    access.info("192.0.2.1")
    assert out.getvalue() == "192.0.2.1\n"


def test_the_name_of_a_request_follows_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = streams(monkeypatch)
    set_up_logging(Config())
    log.error("failed", exc_info=ValueError("why"), extra={"request_id": "abc-1"})
    assert err.getvalue() == "ERROR:    failed [abc-1]\nValueError: why\n"
