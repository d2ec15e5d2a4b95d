"""Clients of all manners at once: they check each byte of each answer, and some leave when it suits nobody."""

import contextlib
import hashlib
import random
import socket
import ssl
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Final

import anyio
import h11
from anyio.abc import ByteStream, SocketAttribute

from tests.e2e.apps.traffic import content

__all__ = ["Visitors"]

PATIENCE_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.005  # at most, between two pieces: none is waited for, they only make the order different
SMALL: Final = 3_000  # bytes of a request that may be pipelined: nobody reads answers while it is being sent
UNREAD: Final = 60_000  # bytes of a body that the server may refuse to skip


@dataclass(frozen=True)
class Visit:
    """A request and what it must be answered with."""

    path: str
    request: bytes
    body: bytes

    @property
    def may_be_the_last(self) -> bool:
        """More body than a server reads for an application that does not."""
        return self.path in ("/ignore", "/watch") and len(self.request) > UNREAD


def random_visit(choice: random.Random) -> Visit:
    path = choice.choice(("/fixed", "/fixed", "/fixed", "/parts", "/echo", "/digest", "/ignore", "/watch"))
    seed = choice.randrange(10**9)
    if path in ("/fixed", "/parts"):
        size = choice.choice((0, 1, 13, 1_000, 20_000, 100_000, 300_000))
        line = f"GET {path}?seed={seed}&size={size} HTTP/1.1\r\nHost: a\r\n\r\n"
        return Visit(path, line.encode(), content(seed, size))
    body = content(seed, choice.choice((0, 1, 100, 5_000, 70_000, 400_000)))
    framed = b"Content-Length: %d\r\n\r\n%b" % (len(body), body) if choice.random() < 0.5 else chunked(body, choice)
    answers = {"/echo": body, "/digest": hashlib.sha256(body).hexdigest().encode(), "/ignore": b"ignored"}
    return Visit(path, f"POST {path} HTTP/1.1\r\nHost: a\r\n".encode() + framed, answers.get(path, b"watched"))


def chunked(body: bytes, choice: random.Random) -> bytes:
    chunks = []
    while body:
        length = choice.choice((1, 100, 3_000, 100_000))
        chunk, body = body[:length], body[length:]
        chunks.append(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if len(chunks) > 1_000:
            chunks.append(b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
            break
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"


class Visitors:
    """So many clients at once, each for ``sessions`` connections; ``seed`` makes them do the same again."""

    def __init__(self, address: tuple[str, int], *, seed: int, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._seed = seed
        self._tls = tls
        self.answered: Counter[str] = Counter()
        self.left: Counter[str] = Counter()

    async def come(self, count: int, sessions: int) -> None:
        """Raises if any answer is wrong, or late."""
        async with anyio.create_task_group() as clients:
            for number in range(count):
                clients.start_soon(self._behave, random.Random(f"{self._seed}/{number}"), sessions)

    async def _behave(self, choice: random.Random, sessions: int) -> None:
        for _ in range(sessions):
            with anyio.fail_after(PATIENCE_SECONDS):
                stream: ByteStream
                if self._tls is None:
                    stream = await anyio.connect_tcp(*self._address)
                else:
                    stream = await anyio.connect_tcp(
                        *self._address, ssl_context=self._tls, tls_standard_compatible=False)
                await Connection(stream, choice, self).use()


class Connection:
    """One of a visitor's connections."""

    def __init__(self, stream: ByteStream, choice: random.Random, visitors: Visitors) -> None:
        self._stream = stream
        self._choice = choice
        self._visitors = visitors
        self._surplus = b""  # received, of the next response

    async def use(self) -> None:
        """A few visits in different manners, until both have had enough."""
        async with self._stream:
            for _ in range(self._choice.choice((1, 1, 3, 10))):
                manner = self._choice.choice((self._ask, self._ask, self._ask, self._pipeline, self._leave))
                if not await manner():
                    break

    async def _ask(self) -> bool:
        """One request, whole or in pieces, while the answer is being read, at once or slowly."""
        visit = random_visit(self._choice)
        slowly = self._choice.random() < 0.2
        async with anyio.create_task_group() as sending:
            sending.start_soon(self._send, visit.request, self._choice.random() < 0.4)
            goes_on = await self._check_answer(visit, slowly)
            if visit.may_be_the_last or not goes_on:
                sending.cancel_scope.cancel()
                return False
        return True

    async def _pipeline(self) -> bool:
        """Several small requests in one go."""
        visits = [random_visit(self._choice) for _ in range(self._choice.randint(2, 8))]
        visits = [visit for visit in visits if len(visit.request) < SMALL]
        if visits:
            await self._stream.send(b"".join(visit.request for visit in visits))
        for visit in visits:
            await self._check_answer(visit, slowly=False)
        return True

    async def _leave(self) -> bool:
        """Part of a request, and then a close or a reset."""
        request = random_visit(self._choice).request
        await self._send(request[: self._choice.randrange(len(request))], in_pieces=False)
        if self._choice.random() < 0.5:
            await anyio.sleep(self._choice.random() * PAUSE_SECONDS)
        how = self._choice.choice(("close", "reset"))
        if how == "reset":
            raw = self._stream.extra(SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await anyio.aclose_forcefully(self._stream)
        self._visitors.left[how] += 1
        return False

    async def _send(self, data: bytes, in_pieces: bool) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):  # the answer may be that the server wants no more
            while data:
                length = self._choice.choice((1, 7, 100, 5_000, 100_000)) if in_pieces else len(data)
                await self._stream.send(data[:length])
                data = data[length:]
                if in_pieces and self._choice.random() < 0.2:
                    await anyio.sleep(self._choice.random() * PAUSE_SECONDS)

    async def _check_answer(self, visit: Visit, slowly: bool) -> bool:
        """Whether the connection goes on."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        reader.send(h11.EndOfMessage())
        if self._surplus:
            reader.receive_data(self._surplus)
        status, body = 0, bytearray()
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                if slowly:
                    await anyio.sleep(self._choice.random() * PAUSE_SECONDS)
                reader.receive_data(await self._receive(1_000 if slowly else 65_536))
        assert status == 200, visit.path
        assert body == visit.body, visit.path
        self._surplus = reader.trailing_data[0]
        self._visitors.answered[visit.path] += 1
        return reader.their_state is not h11.MUST_CLOSE

    async def _receive(self, max_bytes: int) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
