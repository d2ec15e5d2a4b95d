"""An error of the server's own ends one connection, loudly, and nothing else."""

import logging

import pytest

from tests.helpers.apps import hello
from tests.helpers.serving import TRANSCRIPT
from tests.helpers.transcripts import get, ok, receive_response
from trioserve import ClientDisconnected, Config
from trioserve._server import Server
from trioserve._streams import RECEIVE_BYTES, ByteStream
from trioserve._streams.memory import MemoryListener, MemoryStream
from trioserve.testing import settled
from trioserve.testing.running import running


class BrokenToOpen(MemoryStream):
    __slots__ = ()
    needs_opening = True

    async def open(self) -> None:
        raise RuntimeError("a bug")


class BrokenToReceive(MemoryStream):
    __slots__ = ()

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        raise RuntimeError("a bug")


class GoneBeforeItWasOpened(MemoryStream):
    __slots__ = ()
    needs_opening = True

    async def open(self) -> None:
        self.abort()
        raise ClientDisconnected("as a real one says")


class FirstIsBroken(MemoryListener):
    """Its first connection is of another class."""

    def __init__(self, broken: type[MemoryStream]) -> None:
        super().__init__()
        self.broken: type[MemoryStream] | None = broken

    async def accept(self) -> ByteStream:
        stream = await super().accept()
        if self.broken is not None:
            stream.__class__ = self.broken  # of the same layout
            self.broken = None
        return stream


@pytest.mark.parametrize(("broken", "lines"), [
    (BrokenToOpen, 1), (BrokenToReceive, 1), (GoneBeforeItWasOpened, 0)])
async def test_a_broken_stream_ends_its_connection_alone(
    broken: type[MemoryStream], lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    listener = FirstIsBroken(broken)
    server = Server(hello, Config.from_options(TRANSCRIPT), listeners=[listener])
    async with running(server):
        victim, other = listener.connect(), listener.connect()
        await settled()
        victim.send_nowait(get())
        await victim.receive_rest()
        await other.send_all(get("/other"))
        assert await receive_response(other) == ok(b"/other")
        await victim.aclose()
        await other.aclose()
        await settled()
        assert server.open_connections == 0
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) >= lines
    assert all(record.exc_info for record in errors)
    assert bool(errors) == bool(lines)
