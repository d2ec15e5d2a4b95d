"""From an address to listening sockets, on loopback: what is bound, when, and what is said when it cannot be."""

import errno
import functools
import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import pytest
import trio

import trioserve
from tests.helpers.apps import reply
from tests.helpers.lifespans import LifespanApp, with_lifespan
from trioserve import BindFailed, Config, ConfigError, StartupFailed
from trioserve._server import Server
from trioserve._server.opening import Listeners
from trioserve._streams import open_network
from trioserve._streams.forked_children import FORKED_CHILDREN
from trioserve._types import Receive, Scope, Send

pytestmark = [pytest.mark.real_clock, pytest.mark.usefixtures("nothing_unclosed")]

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


async def addresses_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the server's and the client's address as the scope has them."""
    assert scope["type"] == "http"
    await reply(send, f"{scope['server']} {scope['client']}".encode())


async def fetch(host: str, port: int | None) -> bytes:
    """The body of the answer to a request at this address."""
    assert port is not None
    async with await anyio.connect_tcp(host, port) as stream:
        await stream.send(REQUEST)
        received = b""
        async for data in stream:
            received += data
    return received.partition(b"\r\n\r\n")[2]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


# -- what is bound ---------------------------------------------------------------------------------------------------


async def test_start_returns_the_bound_address() -> None:
    async with anyio.create_task_group() as nursery:
        [(host, port)] = await nursery.start(trioserve.serve, addresses_app, Config(port=0))
        assert host == "127.0.0.1"
        assert (await fetch(host, port)).startswith(f"('127.0.0.1', {port}) ('127.0.0.1', ".encode())
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_start_of_a_native_nursery_returns_the_bound_address(nursery: trio.Nursery) -> None:
    [(host, port)] = await nursery.start(trioserve.serve, addresses_app, Config(port=0))
    assert await fetch(host, port)


async def test_options_override_the_config() -> None:
    serve = functools.partial(trioserve.serve, addresses_app, Config(port=1), port=0, access_log=False)
    async with anyio.create_task_group() as nursery:
        [(host, port)] = await nursery.start(serve)
        assert await fetch(host, port)
        nursery.cancel_scope.cancel()


async def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(ConfigError, match="port"):
        await trioserve.serve(addresses_app, prot=0)


@needs_ipv6
async def test_an_ipv6_address_has_two_parts() -> None:  # ASGI HTTP, "HTTP Connection Scope"
    async with anyio.create_task_group() as nursery:
        [(host, port)] = await nursery.start(trioserve.serve, addresses_app, Config(host="::1", port=0))
        assert host == "::1"
        assert (await fetch(host, port)).startswith(f"('::1', {port}) ('::1', ".encode())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("wildcard", "host"), [
    ("0.0.0.0", "127.0.0.1"), pytest.param("::", "::1", marks=needs_ipv6)])
async def test_behind_a_wildcard_the_scope_has_the_real_address(wildcard: str, host: str) -> None:
    async with anyio.create_task_group() as nursery:
        [(bound, port)] = await nursery.start(trioserve.serve, addresses_app, Config(host=wildcard, port=0))
        assert bound == wildcard
        assert (await fetch(host, port)).startswith(f"('{host}', {port})".encode())
        nursery.cancel_scope.cancel()


class Names:
    """A resolver that knows a few names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        self.real = socket.getaddrinfo
        self.names = names
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host in self.names:
            return [found for address in self.names[host] for found in self.real(address, port, *args, **options)]
        return self.real(host, port, *args, **options)


@needs_ipv6
async def test_all_addresses_of_a_name_share_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, both=["127.0.0.1", "::1"])
    async with anyio.create_task_group() as nursery:
        addresses = await nursery.start(trioserve.serve, addresses_app, Config(host="both", port=0))
        assert [host for host, _ in addresses] == ["127.0.0.1", "::1"]
        assert len({port for _, port in addresses}) == 1
        for host, port in addresses:
            assert (await fetch(host, port)).startswith(f"('{host}', {port})".encode())
        nursery.cancel_scope.cancel()


async def test_addresses_that_the_machine_does_not_have_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, some=["192.0.2.1", "127.0.0.1"])
    async with anyio.create_task_group() as nursery:
        [(host, port)] = await nursery.start(trioserve.serve, addresses_app, Config(host="some", port=0))
        assert host == "127.0.0.1"
        assert await fetch(host, port)
        nursery.cancel_scope.cancel()


async def test_localhost_is_served() -> None:
    async with anyio.create_task_group() as nursery:
        addresses = await nursery.start(trioserve.serve, addresses_app, Config(host="localhost", port=0))
        for host, port in addresses:
            assert await fetch(host, port)
        nursery.cancel_scope.cancel()


@needs_ipv6
@pytest.mark.parametrize("options", [
    {"host": "*", "port": 0}, {"host": "", "port": 0}, {"bind": ["*:0"]}, {"bind": [":0"]}], ids=str)
async def test_all_addresses_of_the_machine_in_both_families(options: dict[str, Any]) -> None:
    async with anyio.create_task_group() as nursery:
        addresses = await nursery.start(trioserve.serve, addresses_app, Config(**options))
        assert sorted(host for host, _ in addresses) == ["0.0.0.0", "::"]
        [port] = {port for _, port in addresses}
        for host in ("127.0.0.1", "::1"):
            assert (await fetch(host, port)).startswith(f"('{host}', {port})".encode())
        nursery.cancel_scope.cancel()


def port_of_nobody() -> int:
    """Free in both families, and none of those that the kernel gives away to whoever asks for port 0."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket(socket.AF_INET) as v4, socket.socket(socket.AF_INET6) as v6, suppress(OSError):
            v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            v4.bind(("0.0.0.0", port))
            v6.bind(("::", port))
            return port
    raise AssertionError("no port is free in both families")


@needs_ipv6
@pytest.mark.parametrize("first", ["0.0.0.0", "[::]"])
async def test_both_families_on_one_port_in_any_order(first: str) -> None:
    second = "[::]" if first == "0.0.0.0" else "0.0.0.0"
    port = port_of_nobody()
    async with anyio.create_task_group() as nursery:
        await nursery.start(trioserve.serve, addresses_app, Config(bind=(f"{first}:{port}",)))
        await nursery.start(trioserve.serve, addresses_app, Config(bind=(f"{second}:{port}",)))
        for host in ("127.0.0.1", "::1"):
            assert (await fetch(host, port)).startswith(f"('{host}', {port})".encode())
        nursery.cancel_scope.cancel()


@needs_ipv6
@pytest.mark.parametrize("options", [
    {"host": "::", "port": 0}, {"bind": ["[::]:0"]}, {"bind": ["[::]:0", "127.0.0.1:0"]}], ids=str)
async def test_an_ipv6_socket_takes_ipv6_only(options: dict[str, Any]) -> None:  # whatever else is bound
    async with anyio.create_task_group() as nursery:
        (_, port), *_ = await nursery.start(trioserve.serve, addresses_app, Config(**options))
        assert await fetch("::1", port)
        with pytest.raises(OSError, match="connect"):
            await fetch("127.0.0.1", port)
        nursery.cancel_scope.cancel()


async def test_several_addresses() -> None:
    async with anyio.create_task_group() as nursery:
        config = Config(bind=("127.0.0.1:0", "localhost:0", "127.0.0.2:0"))
        addresses = await nursery.start(trioserve.serve, addresses_app, config)
        assert [addresses[0][0], addresses[-1][0]] == ["127.0.0.1", "127.0.0.2"]
        for host, port in addresses:
            assert (await fetch(host, port)).startswith(f"('{host}', {port})".encode())
        nursery.cancel_scope.cancel()


# -- when ------------------------------------------------------------------------------------------------------------


class SlowStart(LifespanApp):
    """An application whose startup takes until it ``may_start``."""

    def __init__(self) -> None:
        super().__init__()
        self.starting, self.may_start = anyio.Event(), anyio.Event()

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.starting.set()
        await self.may_start.wait()
        await super().lifespan(scope, receive, send)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else gets: it is bound, and whoever shares it may listen on it."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


async def test_it_listens_when_the_application_has_started(port: int) -> None:
    app, served = SlowStart(), anyio.Event()
    async with anyio.create_task_group() as nursery:

        @nursery.start_soon
        async def start_and_fetch() -> None:
            assert await nursery.start(trioserve.serve, app, Config(port=port)) == [("127.0.0.1", port)]
            assert await fetch("127.0.0.1", port) == b"/"
            served.set()

        await app.starting.wait()
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp("127.0.0.1", port)
        app.may_start.set()
        await served.wait()
        nursery.cancel_scope.cancel()


async def test_another_server_that_was_faster(port: int) -> None:  # two may bind one port, until one of them listens
    app = SlowStart()
    async with anyio.create_task_group() as nursery:

        @nursery.start_soon
        async def overtake() -> None:
            await app.starting.wait()
            with socket.create_server(("127.0.0.1", port)):
                app.may_start.set()
                await failed.wait()

        failed = anyio.Event()
        with pytest.raises(BindFailed, match="in use"):
            await Server(app, Config(port=port)).serve()
        failed.set()


async def test_a_stopped_server_leaves_its_port_at_once(port: int) -> None:
    for _ in range(2):
        async with anyio.create_task_group() as nursery:
            assert await nursery.start(trioserve.serve, addresses_app, Config(port=port)) == [("127.0.0.1", port)]
            await fetch("127.0.0.1", port)
            nursery.cancel_scope.cancel()


async def test_a_failed_startup_closes_its_sockets() -> None:
    async def fails(receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("no database")

    with pytest.raises(StartupFailed):
        await Server(with_lifespan(fails), Config(port=0)).serve()


# -- what cannot be bound --------------------------------------------------------------------------------------------


async def test_a_port_in_use() -> None:
    app = LifespanApp()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BindFailed, match=rf"127\.0\.0\.1:{port}: the port is in use"):
            await Server(app, Config(port=port)).serve()
    assert app.events == []


async def test_start_of_a_task_group_fails_with_the_bind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(BaseExceptionGroup) as raised:
        async with anyio.create_task_group() as nursery:
            await nursery.start(trioserve.serve, addresses_app, Config(port=other.getsockname()[1]))
    assert raised.group_contains(BindFailed)


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(BindFailed, match=r"192\.0\.2\.1:0: this machine has no such address"):
        await Server(addresses_app, Config(host="192.0.2.1", port=0)).serve()


async def test_a_port_that_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(BindFailed, match=r"127\.0\.0\.1:80: not permitted"):
        await Server(addresses_app, Config(port=80)).serve()


async def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(BindFailed, match=r"'nowhere\.invalid': .*Name or service not known"):
        await Server(addresses_app, Config(host="nowhere.invalid")).serve()


@pytest.mark.parametrize("host", ["not..a.name", "x" * 300], ids=["empty label", "too long"])
async def test_what_is_no_name(host: str) -> None:
    with pytest.raises(BindFailed, match="cannot listen on"):
        await Server(addresses_app, Config(host=host)).serve()


@needs_ipv6
async def test_when_one_address_fails_the_others_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, both=["127.0.0.1", "::1"])
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other, pytest.raises(BindFailed):
        await Server(addresses_app, Config(host="both", port=other.getsockname()[1])).serve()


async def test_the_port_is_free_again_although_a_forked_child_has_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FORKED_CHILDREN, "may_live", True)
    listeners = Listeners(Config(port=0), sockets=None, get_sockets=None, ready=None, ssl_context=None)
    await listeners.bind()
    [bound] = listeners._bounds
    address = bound.sock.getsockname()
    await listeners.open(open_network())
    duplicate = os.dup(bound.sock.fileno())
    try:
        listeners.refuse_new()
        listeners.close()
        with socket.socket() as client:
            client.settimeout(5)
            with pytest.raises(ConnectionRefusedError):
                client.connect(address)
        again = Listeners(Config(port=address[1]), sockets=None, get_sockets=None, ready=None, ssl_context=None)
        await again.bind()
        await again.open(open_network())
        again.close()
    finally:
        os.close(duplicate)
