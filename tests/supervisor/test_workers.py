"""A worker as the supervisor sees it, in virtual time: its pulse, how it is stopped, and what is said of its end."""

import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio
import pytest

from trioserve._supervisor.control import (
    Drain,
    Failed,
    Force,
    Heartbeat,
    LastHeartbeat,
    Link,
    Listens,
    Message,
    Ready,
    WantsReplacement,
)
from trioserve._supervisor.process import WorkerProcess
from trioserve._supervisor.workers import Patience, Pulse, Stop, Worker
from trioserve.testing import seconds_passed, settled

FOR_EVER = Patience(healthcheck=None, shutdown=math.inf)


class PlayedProcess(WorkerProcess):
    """No process at all: the test says what it says, by ``far``, and when it ends."""

    def __init__(self) -> None:
        near, far = socket.socketpair()
        self.pid = 4711
        self.link = Link(near)
        self.far = Link(far)
        self.deaths: list[str] = []
        self.stacks = ""
        self._code = 0
        self._has_exited = anyio.Event()

    def exit(self, code: int) -> None:
        self._code = code
        self._has_exited.set()

    async def wait(self) -> int:
        await self._has_exited.wait()
        return self._code

    def kill(self) -> None:
        self.deaths.append("killed")
        self.exit(-9)

    async def kill_showing_stacks(self) -> None:
        self.stacks = "File app.py, line 1\n"
        self.deaths.append("killed, with its stacks")
        self.exit(-12)

    def read_stacks(self) -> str:
        return self.stacks

    def close(self) -> None:
        self.link.close()

    def heard(self) -> list[Message]:
        return list(self.far.receive_waiting())


@pytest.fixture
def process() -> Iterator[PlayedProcess]:
    played = PlayedProcess()
    yield played
    played.close()
    played.far.close()


# -- the pulse -------------------------------------------------------------------------------------------------------


async def test_a_pulse_is_lost_after_its_time() -> None:
    with seconds_passed() as elapsed:
        await Pulse(8).wait_until_lost()
    assert elapsed.seconds == 8


async def test_each_beat_begins_the_time_anew() -> None:
    pulse = Pulse(8)

    async def beat_for_a_minute() -> None:
        for _ in range(60):
            await anyio.sleep(1)
            pulse.beat()

    with seconds_passed() as elapsed:
        async with anyio.create_task_group() as beating:
            beating.start_soon(beat_for_a_minute)
            await pulse.wait_until_lost()
    assert 60 + 6 <= elapsed.seconds <= 60 + 10


# -- how it is stopped -----------------------------------------------------------------------------------------------


ASKED = Drain("test", settle=0.5)
ASKED_SHORTLY = Drain("test", settle=0.5, within=2.0)


@pytest.mark.parametrize(("orders", "seconds"), [
    ([lambda stop: stop.drain(ASKED, is_ready=True)], 30 + 0.5 + 5),
    ([lambda stop: stop.drain(ASKED_SHORTLY, is_ready=True)], 2 + 0.5 + 5),
    ([Stop.begin_to_hear, lambda stop: stop.drain(ASKED, is_ready=False)], 2 + 5),
    ([lambda stop: stop.drain(ASKED, is_ready=False)], 2),
    ([lambda stop: stop.drain(ASKED, is_ready=False), Stop.begin_to_hear], 2 + 5),
    ([Stop.force], 5),
    ([lambda stop: stop.drain(ASKED, is_ready=True), Stop.force], 5),
    ([Stop.force, lambda stop: stop.drain(ASKED, is_ready=True)], 5),
])
async def test_the_time_that_it_gets(
    process: PlayedProcess, orders: list[Callable[[Stop], None]], seconds: float
) -> None:
    stop = Stop(process, patience=30)
    assert not stop.is_wanted
    for order in orders:
        order(stop)
    assert stop.is_wanted
    with seconds_passed() as elapsed:
        await stop.wait_until_overdue()
    assert elapsed.seconds == seconds
    assert process.deaths == []


async def test_what_it_is_told(process: PlayedProcess) -> None:
    stop = Stop(process, patience=30)
    stop.drain(ASKED, is_ready=True)
    assert process.heard() == [ASKED]
    stop.force()
    assert process.heard() == [Force()]
    assert process.deaths == []
    stop.force()
    assert process.deaths == ["killed"]


# -- its life --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def living(process: PlayedProcess, patience: Patience = FOR_EVER) -> AsyncIterator[Worker]:
    """A worker whose life ends before the block does."""
    worker = Worker(process, (), patience, lambda: None)
    async with anyio.create_task_group() as life:
        life.start_soon(worker.run)
        yield worker
        await worker.ended.wait()


async def test_from_start_to_end(process: PlayedProcess, caplog: pytest.LogCaptureFixture) -> None:
    async with living(process) as worker:
        await anyio.sleep(1)
        assert (worker.pid, worker.is_ready, worker.settled.is_set()) == (4711, False, False)
        process.far.send(Ready())
        await worker.settled.wait()
        assert (worker.is_ready, worker.has_ended) == (True, False)
        await anyio.sleep(2)
        worker.drain(ASKED)
        process.exit(0)
    assert worker.has_ended
    assert worker.lived == 3
    assert not caplog.records


async def test_an_end_that_nobody_asked_for(process: PlayedProcess, caplog: pytest.LogCaptureFixture) -> None:
    async with living(process) as worker:
        process.far.send(Ready())
        await worker.settled.wait()
        process.exit(-11)
    assert caplog.messages == ["Worker 4711 ended unexpectedly (SIGSEGV)"]


async def test_a_start_that_fails_is_for_others_to_tell(
    process: PlayedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with living(process) as worker:
        process.far.send(Failed("StartupFailed", "no database"))  # arrives with the end
        process.exit(3)
    assert (worker.settled.is_set(), worker.is_ready, worker.why) == (True, False, "no database")
    assert not caplog.records


async def test_a_wish_is_passed_on(process: PlayedProcess) -> None:
    wished = anyio.Event()
    worker = Worker(process, (), FOR_EVER, wished.set)
    async with anyio.create_task_group() as life:
        life.start_soon(worker.run)
        process.far.send(WantsReplacement("limit-max-requests"))
        await wished.wait()
        assert worker.wants_replacement == "limit-max-requests"
        process.exit(0)


async def test_who_stands_still_is_killed_but_not_while_it_starts(
    process: PlayedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with living(process, Patience(healthcheck=8, shutdown=30)) as worker:
        await anyio.sleep(100)
        assert process.deaths == []
        process.far.send(Ready())
        await worker.settled.wait()
        for _ in range(10):
            await anyio.sleep(2)
            process.far.send(Heartbeat())
        await settled()
        assert process.deaths == []
    assert process.deaths == ["killed, with its stacks"]
    assert caplog.messages == [
        "Worker 4711 is killed: its event loop has stood still for 8 seconds",
        "Worker 4711 stood here when it ended:\nFile app.py, line 1",
    ]


async def test_who_has_served_takes_its_own_time_to_end(process: PlayedProcess) -> None:
    """Its threads, or Python itself, may go on for longer than an event loop may stand still."""
    async with living(process, Patience(healthcheck=8, shutdown=30)) as worker:
        process.far.send(Ready())
        process.far.send(Heartbeat())
        process.far.send(LastHeartbeat())
        await worker.settled.wait()
        await anyio.sleep(1000)
        assert process.deaths == []
        process.exit(0)
    assert worker.exit_code == 0


async def test_who_does_not_stop_in_time_is_killed(process: PlayedProcess, caplog: pytest.LogCaptureFixture) -> None:
    async with living(process, Patience(healthcheck=None, shutdown=30)) as worker:
        process.far.send(Listens())
        process.far.send(Ready())
        await worker.settled.wait()
        worker.drain(ASKED)
    assert process.deaths == ["killed, with its stacks"]
    assert worker.lived == 30 + 0.5 + 5
    assert caplog.messages[0] == "Worker 4711 is killed: it did not stop in time"


async def test_who_does_not_give_up_its_start_is_killed(
    process: PlayedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with living(process) as worker:
        process.far.send(Listens())
        await settled()
        worker.drain(ASKED)
    assert process.deaths == ["killed, with its stacks"]
    assert worker.lived == 2 + 5
    assert caplog.messages[0] == "Worker 4711 is killed: it did not stop in time"


async def test_to_end_one_that_imports_is_no_error(process: PlayedProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with living(process) as worker:
        worker.drain(ASKED)
    assert process.deaths == ["killed"]
    assert worker.lived == 2
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "Worker 4711 is ended while it imports the application")]


@pytest.mark.parametrize("is_forced", [False, True])
async def test_who_hears_late_has_time_to_exit(process: PlayedProcess, is_forced: bool) -> None:
    async with living(process) as worker:
        worker.drain(ASKED)
        if is_forced:
            worker.force()
        await anyio.sleep(1.5)
        process.far.send(Listens())
    assert process.deaths == ["killed, with its stacks"]
    assert worker.lived == 1.5 + (5 if is_forced else 2 + 5)


async def test_at_the_level_of_details_each_end_has_a_line(
    process: PlayedProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trioserve")
    async with living(process) as worker:
        worker.kill()
    assert caplog.messages == ["Worker 4711 has ended (SIGKILL)"]
