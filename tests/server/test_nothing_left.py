"""When ``serve()`` has returned, nothing of it is left on asyncio's event loop: task, callback, timer, socket."""

import asyncio
import contextlib
import gc
import os
import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

import trioserve
from tests.helpers.apps import read_body, reply
from tests.helpers.loopback import fixtures_over
from tests.helpers.stream_pairs import PLAIN_KINDS, Kind, connect_to, eventually
from tests.helpers.transcripts import get, post
from trioserve._types import Receive, Scope, Send

FDS = Path("/proc/self/fd")


kind, anyio_backend = fixtures_over([kind for kind in PLAIN_KINDS if kind.name in ("asyncio", "uvloop")])


@pytest.fixture(autouse=True)
def short_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send what nobody reads are waited for, and not long."""
    for bound in ("HURRY_SECONDS", "SILENCE_SECONDS"):
        monkeypatch.setattr(f"trioserve._connection.farewell.{bound}", 0.1)


class Application:
    """Does what the path says."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        if scope["path"] == "/sleeps":
            await anyio.sleep_forever()
        elif scope["path"] == "/watches":
            await read_body(receive)
            await receive()
        elif scope["path"] == "/streams":
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        else:
            await reply(send, b"done")


def no_request(peer: Any) -> None:
    pass


def part_of_a_request(peer: Any) -> None:
    peer.send_first(get()[:10])


def a_request_that_sleeps(peer: Any) -> None:
    peer.send_first(get("/sleeps"))


def a_request_that_watches(peer: Any) -> None:
    peer.send_first(get("/watches"))


def a_body_that_nobody_reads(peer: Any) -> None:
    peer.send_first(post(bytes(10_000_000), target="/sleeps")[:4000])


def a_response_that_is_not_read(peer: Any) -> None:
    peer.send_first(get("/streams"))


def an_idle_connection(peer: Any) -> None:
    peer.send_first(get())


def a_last_request(peer: Any) -> None:
    peer.send_first(get("/", "connection: close"))


SITUATIONS = [
    no_request, part_of_a_request, a_request_that_sleeps, a_request_that_watches, a_body_that_nobody_reads,
    a_response_that_is_not_read, an_idle_connection, a_last_request,
]  # fmt: skip
AT_THE_APPLICATION = len(SITUATIONS) - 2


def open_sockets() -> set[str]:
    """Their names in the kernel."""
    names = (os.readlink(path) for path in FDS.iterdir() if path.is_symlink())
    return {name for name in names if name.startswith("socket:")}


def timers_and_readers(loop: Any) -> set[Any]:
    """Those of asyncio's own loop; uvloop does not show them."""
    if type(loop).__module__.startswith("uvloop"):
        return set()
    return {timer for timer in loop._scheduled if not timer.cancelled()} | set(loop._selector.get_map())


@pytest.mark.skipif(not FDS.is_dir(), reason="asks what the kernel lists there")
@pytest.mark.parametrize("on_disconnect", ["notify", "cancel"])
@pytest.mark.parametrize("busy", [False, True], ids=["while all wait", "while they begin"])
async def test_nothing_is_left(kind: Kind, on_disconnect: str, busy: bool) -> None:
    loop: Any = asyncio.get_running_loop()
    application = Application()
    listening_socket = socket.create_server(("127.0.0.1", 0))
    config = trioserve.Config.from_options({
        "access_log": False, "lifespan": "off", "timeout_graceful_shutdown": 0.1, "on_disconnect": on_disconnect,
    })  # fmt: skip
    with contextlib.ExitStack() as peers:
        for begin in SITUATIONS * 3:
            peer = connect_to(listening_socket.getsockname())
            peers.callback(peer.close)
            begin(peer)
        not_the_servers = open_sockets() - {os.readlink(FDS / str(listening_socket.fileno()))}
        tasks_before = asyncio.all_tasks()
        before = timers_and_readers(loop)

        serving = asyncio.create_task(trioserve.serve(application, config, sockets=[listening_socket]))
        await eventually(lambda: application.calls)
        if not busy:
            await eventually(lambda: application.calls == 3 * AT_THE_APPLICATION)
            await anyio.sleep(0.15)  # requests that last are watched by now
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

        assert asyncio.all_tasks() - tasks_before == set()
        assert open_sockets() <= not_the_servers
        assert timers_and_readers(loop) <= before
    gc.collect()  # what was not closed would say so
