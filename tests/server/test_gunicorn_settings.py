"""What gunicorn's settings become, without gunicorn's processes. Elsewhere the workers run under a real one."""

import logging
import os
import sys
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("gunicorn does not run on Windows", allow_module_level=True)

from gunicorn.config import Config as GunicornConfig  # type: ignore[import-untyped]  # it has no types

from trioserve._config import Config
from trioserve.gunicorn import AsyncioWorker, TrioWorker


def config_of(worker_class: type[TrioWorker] = TrioWorker, **settings: Any) -> Config:
    """As a worker would serve by."""
    gunicorn = GunicornConfig()
    for name, value in settings.items():
        gunicorn.set(name, value)
    log = logging.getLogger("gunicorn")
    log.access_log_enabled = False  # type: ignore[attr-defined]  # gunicorn's logger has it
    worker = worker_class(0, os.getpid(), [], None, 30, gunicorn, log)
    try:
        return Config.from_options({name: given.value for name, given in worker._given().items()})
    finally:
        worker.tmp.close()


@pytest.mark.parametrize(("setting", "value", "option", "expected"), [
    ("keepalive", 7, "timeout_keep_alive", 7.0),
    ("keepalive", 0, "timeout_keep_alive", 0.0),
    ("limit_request_line", 100, "limit_request_line", 100),
    ("limit_request_line", 0, "limit_request_line", 2**31 - 1),
    ("limit_request_fields", 0, "limit_header_count", 32768),
    ("websocket_max_message_size", 0, "ws_max_size", 2**31 - 1),
    ("http2_max_concurrent_streams", 7, "limit_http2_streams", 7),
    ("sendfile", False, "sendfile", False),
    ("root_path", "/api", "root_path", "/api"),
])  # fmt: skip
def test_what_is_set_holds(setting: str, value: Any, option: str, expected: Any) -> None:
    assert getattr(config_of(), option) != expected, "it has to make a difference"
    assert getattr(config_of(**{setting: value}), option) == expected


def test_the_event_loop_is_a_matter_of_asyncio() -> None:
    assert config_of(AsyncioWorker).loop == "auto"
    assert config_of(AsyncioWorker, asgi_loop="asyncio").loop == "asyncio"
    assert config_of(TrioWorker, asgi_loop="asyncio").loop == "auto"


def test_what_nobody_has_set_is_ours() -> None:
    config = config_of()
    assert (config.timeout_keep_alive, config.sendfile) == (75.0, True)


def test_the_variable_that_gunicorn_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDFILE", "no")
    assert not config_of().sendfile


def test_its_settings_count_more_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOSERVE_TIMEOUT_KEEP_ALIVE", "3")
    assert config_of().timeout_keep_alive == 3.0
    assert config_of(keepalive=7).timeout_keep_alive == 7.0
