"""``--warn-blocked``: an event loop that stands still is seen from outside, with the line that blocks it."""

import gc
import logging
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import get
from trioserve._server.loop_guard.clocks import Cause, Clocks, Moment, cause_of
from trioserve._server.loop_guard.counts import StallCounts
from trioserve._server.loop_guard.guard import LoopGuard
from trioserve._server.loop_guard.stalls import Stalls
from trioserve._server.loop_guard.standstill import NOWHERE, standstill_at
from trioserve._streams import open_network
from trioserve._threads import OURS
from trioserve._types import Receive, Scope, Send

A_WHILE = 20.0  # seconds; in which a thread surely gets its turn
BLOCKED = 0.2  # seconds; a loop that has something to do is rarely kept waiting for so long by others
HERE = re.escape(__file__)
LOOPS: list[Any] = [
    pytest.param("trio", {}, id="trio"), pytest.param("asyncio", {"use_uvloop": False}, id="asyncio"),
    pytest.param("asyncio", {"use_uvloop": True}, id="uvloop"),
]


class Ears(logging.Handler):
    """Hears the lines of the server's log in whichever thread they are written.

    Attributes:
        lines: about the event loop.
        of_the_process: those that a busy machine may add.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.of_the_process: list[str] = []
        self.on_stall: Callable[[], None] = lambda: None
        self._ended = threading.Semaphore(0)

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line.startswith("The event loop"):
            self.lines.append(line)
        if line.startswith("This process"):
            self.of_the_process.append(line)
        if line.startswith("The event loop stands still"):
            self.on_stall()
        if line.startswith("The event loop goes on"):
            self._ended.release()

    async def hear_the_end(self) -> None:
        assert await anyio.to_thread.run_sync(self._ended.acquire, True, A_WHILE)


@pytest.fixture
def ears() -> Iterator[Ears]:
    log = logging.getLogger("trioserve")
    heard = Ears()
    log.addHandler(heard)
    log.setLevel(logging.DEBUG)
    yield heard
    log.removeHandler(heard)


class Blocking:
    """An application that blocks the event loop until that has been noticed."""

    def __init__(self, ears: Ears) -> None:
        self.noticed = threading.Event()
        ears.on_stall = self.noticed.set

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.noticed.wait(A_WHILE)
        self.noticed.clear()
        await reply(send)


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.mark.real_clock
async def test_the_line_that_blocks_is_named_and_how_long_it_took(ears: Ears) -> None:
    async with serving(Blocking(ears), warn_blocked=BLOCKED) as site:
        await site.answer_to(get())
        await ears.hear_the_end()
        assert site.server.stalls.count == 1
        assert site.server.stalls.longest == site.server.stalls.seconds >= BLOCKED
    first, stack, last = ears.lines
    assert re.fullmatch(
        rf"The event loop stands still for \S+ m?s now, (computing |waiting )?at {HERE}:\d+ \(Blocking.__call__\), "
        r"in \S+threading.py:\d+ \(Condition.wait\)", first)
    assert stack.startswith("The event loop stood there, most recent call last:\n")
    assert "assert self.noticed.wait(A_WHILE)" in stack
    assert re.fullmatch(r"The event loop goes on after \S+ m?s, for the first time", last)


@pytest.mark.real_clock
async def test_a_task_of_the_applications_own_is_named_too(ears: Ears) -> None:
    block = Blocking(ears)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as children:
            children.start_soon(block, scope, receive, send)

    async with serving(app, warn_blocked=BLOCKED) as site:
        await site.answer_to(get())
        await ears.hear_the_end()
    assert "(Blocking.__call__)" in ears.lines[0]


@pytest.mark.real_clock
async def test_a_function_that_blocks_each_request_is_named_once_and_counted(
    ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trioserve._server.loop_guard.stalls.QUIET_SECONDS", math.inf)
    block = Blocking(ears)
    async with serving(block, warn_blocked=BLOCKED) as site:
        await site.answer_to(get())
        await ears.hear_the_end()
        while site.server.stalls.count < 3:
            release = threading.Timer(1.5 * BLOCKED, block.noticed.set)  # nothing is said that would
            release.start()
            await site.answer_to(get())
    named = [line for line in ears.lines if line.startswith("The event loop stands still")]
    assert sum("(Blocking.__call__)" in line for line in named) == 1  # a busy machine may take long to start a thread


async def test_what_was_not_said_is_counted_in_the_next_line(ears: Ears) -> None:
    now = [1000.0]
    counts = StallCounts()
    stalls = Stalls(counts, lambda: now[0])
    for _ in range(3):
        stalls.begin(sys._getframe(), Moment(0.11, 0.11, 0.01, 0.0))
        stalls.end(0.5)
    assert len(ears.lines) == 3  # one with its stack, and its end
    now[0] += 11
    stalls.begin(sys._getframe(), Moment(0.11, 0.11, 0.1, 0.0))
    stalls.end(1.25)
    assert ears.lines[3].endswith(" (and 2 more times since the last such line)")
    assert "for 110 ms now, computing at " in ears.lines[3]
    assert ears.lines[5] == "The event loop goes on after 1.2 s, 4 times altogether, 1.2 s at most"
    assert counts == StallCounts(4, 2.75, 1.25)


@pytest.mark.real_clock
async def test_nothing_is_said_when_nothing_blocks_and_the_thread_ends_with_the_server(ears: Ears) -> None:
    async with serving(hello, warn_blocked=5) as site:
        await site.answer_to(get())
        threads = [thread for thread in threading.enumerate() if thread.name == OURS]
        assert threads
    for thread in threads:
        thread.join(A_WHILE)
        assert not thread.is_alive()
    assert ears.lines == []


async def test_without_the_option_nobody_watches() -> None:
    async with serving(hello):
        assert [thread for thread in threading.enumerate() if thread.name == OURS] == []


# -- who is asked ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "options"), LOOPS)
def test_it_is_seen_that_a_loop_waits(backend: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        network, loop = open_network(), threading.get_ident()

        def is_idle() -> bool:
            return network.is_idle_at(sys._current_frames()[loop])

        def becomes_idle() -> bool:
            """The loop has nothing to do but to wait for this thread, once it has given way to it."""
            has_to_end = threading.Event()
            threading.Timer(A_WHILE, has_to_end.set).start()
            while not (found := is_idle()) and not has_to_end.is_set():
                pass
            return found

        assert await anyio.to_thread.run_sync(becomes_idle)
        seen: list[bool] = []
        looking = threading.Thread(target=lambda: seen.append(is_idle()))
        looking.start()
        looking.join()  # meanwhile this task blocks the loop
        assert seen == [False]

    anyio.run(main, backend=backend, backend_options=options)


class Watched:
    """The network of a loop that is always, or never, seen to wait; it can be asked, and answers at once."""

    def __init__(self, *, idle: bool, looks: int) -> None:
        self.asked = 0
        self.enough = threading.Event()
        self._idle = idle
        self._looks = looks

    def is_idle_at(self, frame: FrameType) -> bool:
        self._looks -= 1
        if self._looks <= 0:
            self.enough.set()
        return self._idle

    def call_from_thread(self, function: Callable[[], object]) -> None:
        self.asked += 1
        function()


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.real_clock
async def test_only_a_loop_that_runs_something_is_asked(idle: bool) -> None:
    network = Watched(idle=idle, looks=4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(LoopGuard(0.02, network, Stalls(StallCounts())).run)  # type: ignore[arg-type]
        assert await anyio.to_thread.run_sync(network.enough.wait, A_WHILE)
        tasks.cancel_scope.cancel()
    assert network.asked >= 3 if not idle else network.asked == 0


# -- what it was, when no thread could run -----------------------------------------------------------------------------


@pytest.mark.parametrize(("held_up", "cause"), [
    (Moment(1.0, 0.01, 0.01, 0.0), Cause.NOBODY),  # SIGSTOP, or a machine that has no time
    (Moment(1.0, 0.9, 0.9, 0.8), Cause.COLLECTION),
    (Moment(1.0, 0.9, 0.9, 0.1), Cause.LOOP),
    (Moment(1.0, 0.9, 0.1, 0.0), Cause.THREAD),
    (Moment(1.0, 0.9, None, 0.0), Cause.LOOP),  # the system has no clocks for threads
])
def test_why_no_thread_could_run(held_up: Moment, cause: Cause) -> None:
    assert cause_of(held_up) is cause


class Scripted(Clocks):
    """Says what happens between two readings, one after the other; then nothing does."""

    def __init__(self, *lapses: Moment) -> None:
        super().__init__()
        self._lapses = iter(lapses)
        self._now = Moment(0.0, 0.0, 0.0, 0.0)
        self._readings = 0

    def read(self) -> Moment:
        self._readings += 1
        if self._readings % 2 == 0 and (lapse := next(self._lapses, None)) is not None:
            now = self._now
            self._now = Moment(now.wall + lapse.wall, now.process + lapse.process,
                               (now.loop or 0.0) + (lapse.loop or 0.0), now.collecting + lapse.collecting)
        return self._now


@pytest.mark.parametrize(("lapse", "line"), [
    (Moment(3.0, 0.0, 0.0, 0.0), "This process did not run for 3.0 s: it was stopped, or the machine had no time for "
     "it"),
    (Moment(0.5, 0.5, 0.5, 0.4), "The event loop stood still for 500 ms for a garbage collection, for the first time"),
    (Moment(0.5, 0.5, 0.0, 0.0), "The event loop stood still for 500 ms because another thread kept the interpreter's "
     "lock, for the first time"),
])
async def test_what_is_not_the_applications_is_not_said_to_be(lapse: Moment, line: str, ears: Ears) -> None:
    guard = LoopGuard(0.01, open_network(), Stalls(counts := StallCounts()), Scripted(lapse))
    assert guard._waits_in_vain(threading.Event(), 0.001)
    assert ears.lines + ears.of_the_process == [line]
    assert counts.count == (0 if lapse.process == 0.0 else 1)


async def test_a_call_that_keeps_the_lock_is_named(ears: Ears) -> None:
    guard = LoopGuard(0.01, open_network(), Stalls(StallCounts()), Scripted(Moment(0.5, 0.5, 0.5, 0.0)))
    assert guard._waits_in_vain(threading.Event(), 0.001)
    assert re.match(
        rf"The event loop stood still for 500 ms at {HERE}:\d+ \(test_a_call_that_keeps_the_lock_is_named\), "
        "which kept the interpreter's lock, for the first time", ears.lines[0])


async def test_a_collection_in_a_function_that_was_named_is_said_all_the_same(ears: Ears) -> None:
    stalls = Stalls(StallCounts(), lambda: 0.0)
    for cause in (Cause.LOOP, Cause.COLLECTION, Cause.COLLECTION):
        stalls.held_up(sys._getframe(), 0.5, cause)
    assert [line for line in ears.lines if " for a garbage collection, 2 times altogether" in line] == [ears.lines[2]]
    assert len(ears.lines) == 3


async def test_the_time_of_a_collection_is_measured_while_it_is_watched() -> None:
    clocks = Clocks()
    clocks.start()
    gc.collect()
    clocks.stop()
    measured = clocks.read().collecting
    assert measured > 0
    gc.collect()
    assert clocks.read().collecting == measured


# -- where it stands ---------------------------------------------------------------------------------------------------


def calls_as(module: str, function: Callable[[], Any]) -> Any:
    """What ``function`` returns, called by a module of that name."""
    namespace: dict[str, Any] = {"__name__": module, "function": function}
    exec("def call():\n    return function()\n", namespace)
    return namespace["call"]()


def test_a_debugger_is_no_stall(ears: Ears) -> None:
    frame = calls_as("pdb", lambda: sys._getframe())
    assert standstill_at(frame).in_debugger
    stalls = Stalls(counts := StallCounts())
    stalls.begin(frame, Moment(1.0, 1.0, 0.0, 0.0))
    stalls.end(60.0)
    stalls.held_up(frame, 1.0, Cause.LOOP)
    assert ears.lines == []
    assert counts == StallCounts()


def test_a_thread_that_has_no_frame_stands_nowhere() -> None:
    assert standstill_at(None).place == NOWHERE


def test_who_runs_the_event_loop_is_not_blamed() -> None:
    def run() -> FrameType:
        namespace: dict[str, Any] = {"__name__": "asyncio.base_events", "getframe": sys._getframe}
        exec("def _run_once():\n    return inner()\ndef inner():\n    return getframe()\n", namespace)
        frame: FrameType = namespace["_run_once"]()
        return frame

    frame = run()
    assert standstill_at(frame).place == "<string>:4 (inner)"
    assert len(standstill_at(frame).stack) == 0
