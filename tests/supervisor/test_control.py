"""What supervisor and workers tell each other arrives whole, in order, or not at all."""

import dataclasses
import os
import socket
import threading
from collections.abc import Iterator

import anyio
import pytest

from trioserve._config import Config
from trioserve._server.listeners import Bound
from trioserve._supervisor.control import (
    Drain,
    Failed,
    Force,
    Heartbeat,
    Link,
    Listens,
    Message,
    Ready,
    Sockets,
    Start,
    WantsReplacement,
    WantsSockets,
)

MESSAGES: list[Message] = [
    Start("main:app", {"workers": 2, "header": ["a:b"]}, 7, ["trioserve"], announce=True),
    Sockets([False, True]), Drain("SIGHUP", settle=0.5), Drain("main.py changed", within=2.0), Force(),
    Listens(), WantsSockets(), Ready(), Heartbeat(), WantsReplacement("limit-max-requests"),
    Failed("ConfigError", "not a directory", "app_dir"), Failed("AppLoadFailed", "caf\u00e9\n\udcff", notes=["advice"]),
]


@pytest.fixture
def links() -> Iterator[tuple[Link, Link]]:
    """The supervisor's end and the worker's."""
    ours, its = map(Link, socket.socketpair())
    yield ours, its
    ours.close()
    its.close()


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_messages_arrive_as_they_were(links: tuple[Link, Link]) -> None:
    ours, its = links
    for message in MESSAGES:
        ours.send(message)
    received: list[Message] = []
    while len(received) < len(MESSAGES):
        received += await its.receive()
    assert received == MESSAGES


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_the_end_of_the_other_process_is_an_empty_list(links: tuple[Link, Link]) -> None:
    ours, its = links
    ours.send(Force())
    ours.close()
    assert await its.receive() == [Force()]
    assert await its.receive() == []


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_receiving_waits(links: tuple[Link, Link]) -> None:
    ours, its = links
    received: list[Message] = []
    async with anyio.create_task_group() as nursery:

        async def receive() -> None:
            received.extend(await its.receive())

        nursery.start_soon(receive)
        await anyio.wait_all_tasks_blocked()
        assert received == []
        ours.send(Ready())
    assert received == [Ready()]


def test_who_does_not_read_misses_messages_but_gets_no_halves(links: tuple[Link, Link]) -> None:
    ours, its = links
    message = WantsReplacement("x" * 1000)
    for _ in range(1000):
        ours.send(message)
    received = list(its.receive_waiting())
    assert 0 < len(received) < 1000
    ours.send(Ready())
    received += its.receive_waiting()
    assert received[-1] == Ready()
    assert set(received[:-1]) == {message}


def test_who_has_ended_cannot_be_told(links: tuple[Link, Link]) -> None:
    ours, its = links
    its.close()
    ours.send(Ready())
    ours.send_sockets([])


def test_the_first_message_may_be_large(links: tuple[Link, Link]) -> None:
    ours, its = links
    start = Start("main:app", {}, 7, ["x" * 1000] * 1000, announce=False)
    sender = threading.Thread(target=ours.send_first, args=[start])
    sender.start()
    assert its.receive_first() == start
    sender.join()


def test_there_may_be_no_first_message(links: tuple[Link, Link]) -> None:
    ours, its = links
    ours.close()
    with pytest.raises(EOFError):
        its.receive_first()


def test_sockets_come_through(links: tuple[Link, Link]) -> None:
    ours, its = links
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ours.send_sockets([Bound(one), Bound(two, plain=True)])
        assert list(its.receive_waiting()) == [Sockets([False, True])]
        for before, descriptor in zip((one, two), its.descriptors, strict=True):
            with socket.socket(fileno=descriptor) as after:
                assert after.getsockname() == before.getsockname()
                assert descriptor != before.fileno()


def test_a_thread_can_wait_for_the_end_and_takes_no_message(links: tuple[Link, Link]) -> None:
    ours, its = links
    ours.send(Ready())
    waiting = threading.Thread(target=its.wait_for_end)
    waiting.start()
    ours.close()
    waiting.join(10)
    assert not waiting.is_alive()
    assert list(its.receive_waiting()) == [Ready()]


def test_every_option_can_be_sent() -> None:
    """And comes out as it was."""
    config = Config(header=("a:b",), limit_connections=3, timeout_request=None, env_file=os.fsdecode(b"caf\xe9"))
    options = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    ours, its = map(Link, socket.socketpair())
    ours.send(Start("main:app", options, 7, [], announce=False))
    [start] = its.receive_waiting()
    ours.close()
    its.close()
    assert isinstance(start, Start)
    assert Config.from_options(start.options) == config
