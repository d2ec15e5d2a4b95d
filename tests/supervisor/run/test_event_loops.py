"""Which event loop of asyncio runs: uvloop, asyncio's own, or one of the user's."""

import importlib.util
from typing import Any

import pytest

import trioserve
from tests.helpers.stand_in_server import StandInServer, app
from trioserve._errors import ConfigError


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
