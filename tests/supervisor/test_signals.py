"""Signals, sent to this very process, become calls."""

import importlib.util
import logging
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import pytest

from trioserve._streams import caller_from_threads
from trioserve._supervisor.signals import (
    ECHO_SECONDS,
    STOP_SIGNALS,
    EarlySignal,
    heard_during_import,
    held_back,
    obey_signals,
    survived,
)

pytestmark = pytest.mark.anyio


MANY = 2000  # small writes to a socket pair; a few hundred fill it

LOOPS: dict[str, Any] = {"trio": "trio", "asyncio": "asyncio"}
if importlib.util.find_spec("uvloop"):
    LOOPS["uvloop"] = ("asyncio", {"use_uvloop": True})


@pytest.fixture(params=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return LOOPS[request.param]


class RecordingServer:
    """Remembers what it was asked for, and when it was."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.was_asked = anyio.Event()

    def request_shutdown(self, reason: str, *, settle: float = 0.0) -> None:
        self.settle = settle
        self._record(reason)

    def force_shutdown(self) -> None:
        self._record("forced")

    def reload_certificates(self) -> None:
        self._record("certificates")

    def _record(self, what: str) -> None:
        self.asked.append(what)
        self.was_asked.set()

    async def after_again(self, number: signal.Signals) -> list[str]:
        """The same, and not so soon that it would be an echo."""
        await anyio.sleep(2 * ECHO_SECONDS)
        return await self.after(number)

    async def after(self, number: signal.Signals) -> list[str]:
        """Everything it was asked for once ``number`` has arrived."""
        self.was_asked = anyio.Event()
        signal.raise_signal(number)
        with anyio.fail_after(5):
            await self.was_asked.wait()
        return self.asked


@pytest.mark.parametrize(("first", "second"), [
    (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM),
])
async def test_the_first_signal_asks_and_later_ones_force(
    first: signal.Signals, second: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    server = RecordingServer()
    async with anyio.create_task_group() as listening:
        await listening.start(obey_signals, server)
        assert await server.after(first) == [first.name]
        assert await server.after_again(second) == [first.name, "forced"]
        assert await server.after_again(second) == [first.name, "forced", "forced"]
        listening.cancel_scope.cancel()
    assert f"{second.name} again" in caplog.text


@pytest.mark.parametrize("echo", STOP_SIGNALS)
async def test_an_order_that_comes_twice_is_one(echo: signal.Signals) -> None:
    """``timeout`` sends SIGTERM to its child and to its group; others pass on what the terminal sends to all."""
    server = RecordingServer()
    async with anyio.create_task_group() as listening:
        await listening.start(obey_signals, server)
        assert await server.after(signal.SIGINT) == ["SIGINT"]
        signal.raise_signal(echo)
        assert await server.after_again(signal.SIGTERM) == ["SIGINT", "forced"]
        signal.raise_signal(echo)
        assert await server.after_again(signal.SIGTERM) == ["SIGINT", "forced", "forced"]
        listening.cancel_scope.cancel()


async def test_a_signal_is_heard_whatever_threads_have_posted() -> None:
    """asyncio's pipe is full then: nobody has read what woke the event loop."""
    server = RecordingServer()
    posted: list[int] = []
    async with anyio.create_task_group() as listening:
        await listening.start(obey_signals, server)
        post = caller_from_threads()
        for number in range(MANY):
            post(partial(posted.append, number))
        assert await server.after(signal.SIGTERM) == ["SIGTERM"]
        listening.cancel_scope.cancel()
    assert posted == list(range(MANY))


async def test_an_echo_may_come_when_the_server_has_stopped() -> None:
    hurried: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    server = RecordingServer()
    try:
        async with anyio.create_task_group() as listening:
            await listening.start(partial(obey_signals, server, afterwards=lambda number, _: hurried.append(number)))
            await server.after(signal.SIGTERM)
            listening.cancel_scope.cancel()
        signal.raise_signal(signal.SIGTERM)
        assert hurried == []
        await anyio.sleep(2 * ECHO_SECONDS)
        signal.raise_signal(signal.SIGTERM)
        assert hurried == [signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_a_log_filter_that_raises_does_not_come_between(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise ValueError("the filter is broken")

    log = logging.getLogger("trioserve")
    log.addFilter(refuse)
    server = RecordingServer()
    try:
        async with anyio.create_task_group() as listening:
            await listening.start(obey_signals, server)
            await server.after(signal.SIGTERM)
            assert await server.after_again(signal.SIGTERM) == ["SIGTERM", "forced"]
            listening.cancel_scope.cancel()
    finally:
        log.removeFilter(refuse)
    assert capsys.readouterr().err.startswith("SIGTERM again")


async def test_a_hang_up_reloads_certificates_and_counts_for_nothing_else() -> None:
    server = RecordingServer()
    async with anyio.create_task_group() as listening:
        others = {signal.SIGHUP: server.reload_certificates}
        await listening.start(partial(obey_signals, server, others=others))
        assert await server.after(signal.SIGHUP) == ["certificates"]
        assert await server.after(signal.SIGHUP) == ["certificates"] * 2
        assert await server.after(signal.SIGTERM) == ["certificates"] * 2 + ["SIGTERM"]
        assert await server.after(signal.SIGHUP) == ["certificates"] * 2 + ["SIGTERM", "certificates"]
        listening.cancel_scope.cancel()


async def test_a_hang_up_that_stops_may_come_more_than_once() -> None:
    """A terminal that closes sends it, and so does the shell that runs in it."""
    server = RecordingServer()
    async with anyio.create_task_group() as listening:
        await listening.start(obey_signals, server, (*STOP_SIGNALS, signal.SIGHUP))
        assert await server.after(signal.SIGHUP) == ["SIGHUP"]
        signal.raise_signal(signal.SIGHUP)
        assert await server.after_again(signal.SIGTERM) == ["SIGHUP", "forced"]
        listening.cancel_scope.cancel()


async def test_afterwards_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with anyio.create_task_group() as listening:
        await listening.start(obey_signals, RecordingServer())
        assert signal.getsignal(signal.SIGTERM) != before
        listening.cancel_scope.cancel()
    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_handler_of_the_program_is_there_again() -> None:
    """asyncio leaves the default behind."""
    heard: list[int] = []

    def note(number: int, frame: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        async with anyio.create_task_group() as listening:
            await listening.start(obey_signals, RecordingServer())
            listening.cancel_scope.cancel()
        assert signal.getsignal(signal.SIGTERM) is note
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == []


async def test_what_signals_do_when_the_process_is_about_to_end() -> None:
    """Those that stop it can hurry it; the others do nothing, where they would end it by default."""
    numbers = (*STOP_SIGNALS, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    heard: list[int] = []
    try:
        async with anyio.create_task_group() as listening:
            await listening.start(partial(
                obey_signals, RecordingServer(), numbers, afterwards=lambda number, frame: heard.append(number)))
            listening.cancel_scope.cancel()
        for number in numbers:
            signal.raise_signal(number)
            await anyio.sleep(2 * ECHO_SECONDS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == list(STOP_SIGNALS)


async def test_other_signals_call_something_and_stop_nothing() -> None:
    server = RecordingServer()
    called = anyio.Event()
    async with anyio.create_task_group() as listening:
        await listening.start(partial(obey_signals, server, others={signal.SIGHUP: called.set}))
        signal.raise_signal(signal.SIGHUP)
        with anyio.fail_after(5):
            await called.wait()
        assert await server.after(signal.SIGTERM) == ["SIGTERM"]
        listening.cancel_scope.cancel()


async def test_only_ctrl_c_does_not_let_connections_settle() -> None:
    """A person who presses it waits for the prompt."""
    for number, settles in ((signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGHUP, True)):
        server = RecordingServer()
        async with anyio.create_task_group() as listening:
            await listening.start(obey_signals, server, (*STOP_SIGNALS, signal.SIGHUP))
            await server.after(number)
            listening.cancel_scope.cancel()
        assert bool(server.settle) is settles


def test_a_signal_that_is_survived_leaves_a_line(caplog: pytest.LogCaptureFixture) -> None:
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    with survived([signal.SIGUSR1]):
        signal.raise_signal(signal.SIGUSR1)
    assert caplog.messages == ["SIGUSR1 means nothing to this process"]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_signal_that_somebody_hears_is_left_alone() -> None:
    before = signal.signal(signal.SIGUSR1, _note)
    try:
        with survived([signal.SIGUSR1]):
            assert signal.getsignal(signal.SIGUSR1) is _note
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_application_may_take_a_survived_signal() -> None:
    try:
        with survived([signal.SIGUSR1]):
            signal.signal(signal.SIGUSR1, _note)
        assert signal.getsignal(signal.SIGUSR1) is _note
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def _note(number: int, frame: object) -> None:
    """Somebody's handler."""


def test_signals_held_back_take_effect_afterwards() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with held_back([signal.SIGUSR1]):
            signal.raise_signal(signal.SIGUSR1)
            assert heard == []
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


async def test_where_the_loop_knows_no_signals_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_signal_receiver(*signals: signal.Signals) -> Any:
        raise NotImplementedError

    monkeypatch.setattr("trioserve._supervisor.signals.open_signal_receiver", open_signal_receiver)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as listening:
            await listening.start(obey_signals, RecordingServer())


async def test_ctrl_c_interrupts_code_that_does_not_await() -> None:
    with pytest.raises(KeyboardInterrupt), heard_during_import():
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def default_sigterm() -> Iterator[None]:
    """Coverage has a handler of its own."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("default_sigterm")
def test_sigterm_ends_the_import_in_the_first_process_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which a signal with its default does not reach."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(SystemExit) as end, heard_during_import():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.usefixtures("default_sigterm")
def test_elsewhere_sigterm_keeps_its_default_during_the_import() -> None:
    with heard_during_import():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_early_signal_is_repeated_for_who_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    early = EarlySignal()
    early.repeat()
    assert raised == []
    early(signal.SIGTERM, None)
    early.repeat()
    assert raised == [signal.SIGTERM]


def test_ctrl_c_has_its_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with heard_during_import():
        pass
    assert signal.getsignal(signal.SIGINT) == before


def test_ctrl_c_stays_ignored_where_it_was() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heard_during_import():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
