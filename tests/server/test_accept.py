"""The accept loop and what ``accept(2)`` can say, with a small listener that says it."""

import errno
import logging
from collections.abc import Iterable
from typing import Any

import anyio
import fastapi
import pytest

from tests.helpers.apps import hello
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, receive_response, status_of
from trioserve import Config
from trioserve._server import Server
from trioserve._streams import ByteStream
from trioserve._streams.memory import MemoryClient, MemoryListener
from trioserve.testing import settled


class TroubledListener(MemoryListener):
    """Raises ``errors`` first, one at a time."""

    def __init__(self, errors: Iterable[int]) -> None:
        super().__init__()
        self.errors = list(errors)
        self.accepts = 0

    async def accept(self) -> ByteStream:
        self.accepts += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, errno.errorcode[number])
        return await super().accept()


async def assert_served(client: MemoryClient) -> None:
    await client.send_all(get())
    assert status_of(await receive_response(client)) == 200
    await client.aclose()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_when_the_system_is_exhausted_it_waits_and_goes_on(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:  # accept(2), "Errors"
    listener = TroubledListener([number] * 20)
    async with serving(hello, listeners=[listener]):
        await settled()
        assert listener.accepts == 1  # it waits: trying at once would only spin
        await anyio.sleep(10)
        await assert_served(listener.connect())
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert errno.errorcode[number] in record.getMessage()


async def test_a_new_exhaustion_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    listener = TroubledListener([errno.EMFILE])
    async with serving(hello, listeners=[listener]):
        await anyio.sleep(1)
        listener.errors = [errno.EMFILE]
        await assert_served(listener.connect())
        await anyio.sleep(1)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH])
async def test_what_concerns_one_connection_is_passed_over(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:  # accept(2), "Errors"
    listener = TroubledListener([number] * 3)
    async with serving(hello, listeners=[listener]):
        await assert_served(listener.connect())
    assert not caplog.records


@pytest.mark.parametrize("number", [errno.EBADF, errno.EINVAL, errno.ENOTSOCK])
async def test_a_broken_listener_ends_the_server(number: int) -> None:
    with pytest.raises(BaseExceptionGroup) as raised:
        await Server(hello, Config(lifespan="off"), listeners=[TroubledListener([number])]).serve()
    assert raised.group_contains(OSError, match=errno.errorcode[number])


async def test_a_server_that_breaks_closes_all_its_listeners_and_connections() -> None:
    broken, healthy = TroubledListener([]), MemoryListener()
    server = Server(hello, Config(lifespan="off", access_log=False), listeners=[broken, healthy])
    client = healthy.connect()
    broken.errors = [errno.EBADF]
    with pytest.raises(BaseExceptionGroup):
        await server.serve()
    with pytest.raises(ConnectionRefusedError):
        healthy.connect()
    await client.receive_rest()
    assert client.is_disconnected()
    assert server.open_connections == 0


async def test_several_listeners_are_served() -> None:
    listeners = [MemoryListener(("192.0.2.1", 80)), MemoryListener(("192.0.2.2", 80))]
    async with serving(hello, listeners=listeners) as site:
        assert site.server.addresses == [("192.0.2.1", 80), ("192.0.2.2", 80)]
        for listener in listeners:
            await assert_served(listener.connect())


async def test_a_limit_of_connections_holds_for_all_listeners_together() -> None:
    listeners = [MemoryListener(), MemoryListener()]
    async with serving(hello, listeners=listeners, limit_connections=1) as site:
        first = listeners[0].connect()
        await settled()
        second = listeners[1].connect()
        await settled()
        assert site.connections == 1
        await assert_served(first)
        await assert_served(second)


async def test_errors_of_accept_give_their_place_back() -> None:
    listener = TroubledListener([errno.ECONNABORTED, errno.EMFILE, errno.ECONNABORTED])
    async with serving(hello, listeners=[listener], limit_connections=1):
        for _ in range(3):
            await assert_served(listener.connect())


async def test_a_burst_of_connections_lets_those_before_run() -> None:
    listener = MemoryListener()
    clients = [listener.connect() for _ in range(1000)]
    for client in clients:
        client.send_nowait(get())
    async with serving(hello, listeners=[listener]):
        await receive_response(clients[0])
        assert listener.waiting > 0
        for client in clients[1:]:
            await receive_response(client)


async def test_what_is_said_when_it_listens(caplog: pytest.LogCaptureFixture, anyio_backend_name: str) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    listeners = [MemoryListener(("192.0.2.1", 80)), MemoryListener(("2001:db8::1", 80))]
    async with serving(hello, listeners=listeners):
        pass
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith(f"Listening on http://192.0.2.1:80 ({anyio_backend_name}, ")
    assert lines[1].startswith("Listening on http://[2001:db8::1]:80 (")


PAGES = ["The API is documented at http://192.0.2.1:80/docs"]


@pytest.mark.parametrize(("app", "options", "said"), [
    (fastapi.FastAPI(), {"reload": True}, PAGES),
    (fastapi.FastAPI(docs_url=None), {"reload": True}, []),
    (hello, {"reload": True}, []),
    (fastapi.FastAPI(), {}, []),
    (fastapi.FastAPI(), {"reload": True, "root_path": "/api"}, []),
], ids=["FastAPI", "without pages", "another application", "no reload", "behind a proxy"])
async def test_fastapi_is_documented(
    app: Any, options: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioserve")
    async with serving(app, listeners=[MemoryListener(("192.0.2.1", 80))], **options):
        pass
    assert [message for message in caplog.messages if "documented" in message] == said
