"""The end of the sockets that all workers share: nobody new gets in, and who is in stays for the workers."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from trioserve import Config
from trioserve._server.listeners import listen_on
from trioserve._supervisor.shared_sockets import SharedSockets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's socket filters")


@asynccontextmanager
async def shared(**options: Any) -> AsyncIterator[tuple[SharedSockets, socket.socket]]:
    """The supervisor's socket, and the copy of a worker that listens on it."""
    sockets = SharedSockets(Config(**options))
    await sockets.bind()
    [bound] = sockets.bounds
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sockets.give_up_in_time)
        with bound.sock.dup() as copy:
            listen_on(bound, 10)
            copy.setblocking(False)
            yield sockets, copy
        tasks.cancel_scope.cancel()


def gets_in(address: Any, listener: socket.socket) -> bool:
    """Whether a client that connects now is there to be accepted."""
    with socket.socket(listener.family) as client:
        client.setblocking(False)
        client.connect_ex(address)
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


async def test_nobody_new_gets_in_and_who_is_in_stays() -> None:
    async with shared(port=0) as (sockets, copy):
        address = copy.getsockname()
        with socket.create_connection(address) as early:
            sockets.stop()
            assert sockets.bounds == ()
            accepted, peer = copy.accept()
            with accepted:
                assert peer == early.getsockname()
            assert not gets_in(address, copy)


@pytest.mark.parametrize("unix", [False, True])
async def test_with_a_delay_they_stay_as_long_as_the_workers_accept(unix: bool, tmp_path: Path) -> None:
    where = {"uds": str(tmp_path / "app.sock")} if unix else {"port": 0}
    async with shared(**where, shutdown_delay=10) as (sockets, copy):
        address = copy.getsockname()
        sockets.stop()
        await anyio.sleep(9.9)
        assert gets_in(address, copy)
        await anyio.sleep(0.2)
        assert not gets_in(address, copy)
        assert sockets.bounds == ()


async def test_who_does_not_want_to_wait_for_the_delay(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    async with shared(uds=str(path), shutdown_delay=10) as (sockets, _):
        sockets.stop()
        sockets.give_up()
        assert not path.exists()
