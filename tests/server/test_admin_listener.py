"""The admin listener beside a server, over real sockets: it answers whatever the main listeners do."""

import logging
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.stream_pairs import eventually
from tests.helpers.transcripts import get
from trioserve import BindFailed, Config, ConfigError
from trioserve._admin.view import View
from trioserve._server import Server
from trioserve._server.admin import OwnProcess
from trioserve._streams.memory import MemoryListener
from trioserve._types import AnyApp, Receive, Scope, Send

pytestmark = pytest.mark.real_clock

HOST = "host: localhost"


class Running:
    """A server on a listener in memory, with its admin listener on a real socket."""

    def __init__(self, app: AnyApp, **options: Any) -> None:
        self.listener = MemoryListener()
        quiet = {"access_log": False, "lifespan": "off", "admin": "127.0.0.1:0"}
        self.server = Server(app, Config.from_options(quiet | options), listeners=[self.listener])
        self.ended = anyio.Event()


@asynccontextmanager
async def running(app: AnyApp, **options: Any) -> AsyncIterator[Running]:
    """From the beginning of its start; the block's end waits for its end."""
    this = Running(app, **options)

    async def serve() -> None:
        await this.server.serve()
        this.ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield this
        tasks.cancel_scope.cancel()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "trioserve")
    return caplog


async def address_in(lines: pytest.LogCaptureFixture) -> tuple[str, int]:
    await eventually(lambda: "Admin listener on" in lines.text)
    found = re.search(r"Admin listener on http://([\d.]+):(\d+), its page: http://\S+/#token=\S+", lines.text)
    assert found is not None, lines.text
    return found[1], int(found[2])


async def asked(address: tuple[str, int], path: str) -> tuple[int, bytes]:
    """Status and body."""
    async with await anyio.connect_tcp(*address) as client:
        await client.send(get(path, HOST, "connection: close").replace(b"host: a\r\n", b""))
        received = b""
        try:
            while True:
                received += await client.receive()
        except anyio.EndOfStream:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head[9:12]), body


async def until(address: tuple[str, int], expected: tuple[int, bytes], path: str = "/readyz") -> None:
    """Ask again until that is the answer; nobody tells when the server gets there."""
    while await asked(address, path) != expected:
        await anyio.lowlevel.checkpoint()


async def test_from_before_the_start_to_after_the_end(lines: pytest.LogCaptureFixture) -> None:
    may_start, may_stop = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await may_start.wait()
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await may_stop.wait()
        await send({"type": "lifespan.shutdown.complete"})

    async with running(app, lifespan="on") as site:
        address = await address_in(lines)
        assert await asked(address, "/readyz") == (503, b"starting\n")
        assert await asked(address, "/healthz") == (200, b"ok\n")
        may_start.set()
        await until(address, (200, b"ready\n"))
        site.server.request_shutdown("test")
        await until(address, (503, b"draining\n"))
        may_stop.set()
        await site.ended.wait()
        with pytest.raises(OSError, match="connection"):
            await asked(address, "/healthz")


async def test_it_answers_while_the_main_listeners_are_full_and_drain(lines: pytest.LogCaptureFixture) -> None:
    entered, leave = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await leave.wait()
        await reply(send)

    async with running(app, limit_connections=1) as site:
        address = await address_in(lines)
        await until(address, (200, b"ready\n"))
        client = site.listener.connect()
        await client.send_all(get())
        await entered.wait()
        assert await asked(address, "/readyz") == (200, b"ready\n")
        site.server.request_shutdown("test")
        await until(address, (503, b"draining\n"))
        status, tree = await asked(address, "/tree")
        assert (status, b'"state": "DRAINING"' in tree, b"GET /" in tree) == (200, True, True)
        leave.set()
        await site.ended.wait()


async def test_who_watches_is_told_of_the_end(lines: pytest.LogCaptureFixture) -> None:
    async with running(hello) as site:
        address = await address_in(lines)
        await until(address, (200, b"ready\n"))
        async with await anyio.connect_tcp(*address) as client:
            await client.send(get("/tree/events?interval=60").replace(b"host: a", HOST.encode()))
            received = b""
            while b"event: tree" not in received:
                received += await client.receive()
            site.server.request_shutdown("test")
            while b"event: end" not in received:
                received += await client.receive()
        await site.ended.wait()


async def test_a_unix_socket_is_for_its_owner(lines: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with running(hello, admin=f"unix:{path}") as site:
        await eventually(lambda: "Admin listener on" in lines.text)
        assert re.search(rf"Admin listener on unix:{path} \(token \S{{32}}\)", lines.text)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with await anyio.connect_unix(path) as client:
            await client.send(get("/tree", "connection: close"))
            assert (await client.receive()).startswith(b"HTTP/1.1 200 ")
        site.server.request_shutdown("test")
        await site.ended.wait()
        assert not path.exists()


async def test_an_address_that_is_taken(lines: pytest.LogCaptureFixture) -> None:
    async with running(hello):
        host, port = await address_in(lines)
        second = Server(hello, Config(admin=f"{host}:{port}", lifespan="off"), listeners=[MemoryListener()])
        with pytest.raises(BindFailed, match="the port is in use"):
            await second.serve()


@pytest.mark.parametrize(("options", "option", "problem"), [
    ({"admin": "0.0.0.0:9000"}, "admin", "can be reached from other machines"),
    ({"admin": "*:9000"}, "admin", "can be reached from other machines"),
    ({"admin": ":9000"}, "admin", "can be reached from other machines"),
    ({"admin": "[::]:9000"}, "admin", "can be reached from other machines"),
    ({"admin": "10.0.0.1:9000"}, "admin", "can be reached from other machines"),
    ({"admin": "site.example:9000"}, "admin", "can be reached from other machines"),
    ({"admin": "fd://3"}, "admin", "can be reached from other machines"),
    ({"admin": "9000"}, "admin", "is not of the form HOST:PORT"),
    ({"admin_path": "/"}, "admin_path", "leaves nothing to the application"),
    ({"admin_path": "http://a/b"}, "admin_path", "is a URL, only its path is wanted"),
])
def test_where_it_may_not_be(options: dict[str, Any], option: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config(**options)
    assert raised.value.option == option
    assert problem in raised.value.problem


@pytest.mark.parametrize("admin", ["127.0.0.1:9000", "127.8.8.8:9000", "[::1]:9000", "localhost:9000", "unix:/run/a"])
def test_where_it_may_be(admin: str) -> None:
    assert Config(admin=admin).admin == admin
    assert Config(admin="0.0.0.0:9000", admin_public=True).admin == "0.0.0.0:9000"
    assert Config(admin_path="-/admin/").admin_path == "/-/admin"


async def test_a_page_that_is_closed_during_a_long_snapshot_leaves_no_line(
    lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may take long to answer, and the page need not wait for it."""
    asked_for, cancelled, may_go_on = anyio.Event(), anyio.Event(), anyio.Event()

    async def tree(process: OwnProcess, view: View, most_nodes: int = 0) -> dict[str, Any]:
        asked_for.set()
        try:
            await may_go_on.wait()
        except anyio.get_cancelled_exc_class():
            cancelled.set()
            raise
        return {"took": 0.0}

    monkeypatch.setattr(OwnProcess, "tree", tree)
    async with running(hello) as site:
        address = await address_in(lines)
        async with await anyio.connect_tcp(*address) as client:
            await client.send(get("/tree/events", HOST).replace(b"host: a\r\n", b""))
            await asked_for.wait()
        with anyio.move_on_after(1):  # twice the grace
            await cancelled.wait()
        assert not cancelled.is_set()
        may_go_on.set()
        site.server.request_shutdown("test")
        await site.ended.wait()
    assert "tree/events" not in lines.text
