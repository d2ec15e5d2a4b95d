"""How a connection ends: so that its client learns what there is to learn, and within bounded time."""

import logging
import math
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from trioserve._asgi.http1_response import error_response
from trioserve._complaints import complain
from trioserve._connection.channel import Inlet
from trioserve._connection.context import ServerContext
from trioserve._connection.refused import Refused
from trioserve._errors import PeerError
from trioserve._protocol import Http1Codec, RequestHead
from trioserve._streams import ByteStream

__all__ = ["HURRY_SECONDS", "LINGER_SECONDS", "SILENCE_SECONDS", "Ended", "Farewell", "linger"]

log = logging.getLogger("trioserve")

HURRY_SECONDS: Final = 2.0  # for all of it, when the server does not wait any longer
SILENCE_SECONDS: Final = 2.0  # of a client that is sending what nobody reads: then it has stopped
LINGER_SECONDS: Final = 30.0  # and this for all that it sends (nginx: lingering_time)
LOOK_SECONDS: Final = 0.05  # from one look at what the client has not taken to the next
LINGER_BYTES: Final = 256 * 1024 * 1024


class Ended(Protocol):
    """The last request of a connection.

    Attributes:
        refusal: why its application cannot answer.
        complete: the client gets the whole response.
        unanswered: nothing of a final response has been sent.
        cut_is_visible: a client that sees the end of the stream knows that the response was not complete.
    """

    refusal: PeerError | None

    @property
    def head(self) -> RequestHead: ...
    @property
    def complete(self) -> bool: ...
    @property
    def unanswered(self) -> bool: ...
    @property
    def cut_is_visible(self) -> bool: ...


class Farewell:
    """Of one connection. Its last bytes get the write timeout's time; ``hurry`` bounds all of it."""

    __slots__ = ("_codec", "_ctx", "_scope", "_stream")

    def __init__(self, stream: ByteStream, codec: Http1Codec, ctx: ServerContext) -> None:
        self._stream = stream
        self._codec = codec
        self._ctx = ctx
        self._scope = anyio.CancelScope(shield=True)  # whatever ended the connection, this has its own bounds

    def hurry(self) -> None:
        """The server does not wait for clients any longer."""
        if not self._hurries:
            self._scope.deadline = anyio.current_time() + HURRY_SECONDS

    @property
    def _hurries(self) -> bool:
        return self._scope.deadline != math.inf

    async def say(self, last: Ended | None, inlet: Inlet, refusal: PeerError | None) -> None:
        """Answer what has no answer yet, and close.

        Raises:
            ClientDisconnected: the client has gone.
        """
        stream = self._stream
        with self._scope:
            await inlet.stop()
            if last is not None and last.refusal is not None:
                refusal = last.refusal
            if refusal is not None and (last is None or last.unanswered):
                self._answer(refusal, last)
                await linger(stream)
            elif last is not None and not last.complete:
                if last.unanswered:
                    stream.abort()
                elif last.cut_is_visible:
                    await linger(stream)
                else:
                    await self._break_off()
            elif not self._hurries and (self._codec.trailing_data or not self._codec.body_complete):
                await linger(stream)
            await stream.aclose()

    def _answer(self, refusal: PeerError, last: Ended | None) -> None:
        complain(log, "%s: %s", self._stream.peer, refusal, level=logging.DEBUG)
        head = refusal.head or self._codec.trailing_data  # of a request that has not begun
        is_head = head.startswith(b"HEAD ") if last is None else last.head.method == "HEAD"
        answer = error_response(refusal, self._ctx.standing_fields, with_body=not is_head)
        self._stream.send_nowait(answer)
        if last is None and self._ctx.recorder is not None:
            body = answer.partition(b"\r\n\r\n")[2]
            self._ctx.recorder.refused(Refused.from_head(head, refusal, self._stream.peer, len(body)))

    async def _break_off(self) -> None:
        """Reset: what was cut short must not look complete (RFC 9112 §8). But first what was sent arrives."""
        stream = self._stream
        stream.uncork()
        await stream.drain()
        with anyio.move_on_after(LINGER_SECONDS):
            while stream.untaken() and not stream.lost:  # noqa: ASYNC110  # the kernel has no event for it
                await anyio.sleep(LOOK_SECONDS)
        stream.abort()


async def linger(stream: ByteStream) -> None:
    """Let the client read what was sent before its unread bytes make the kernel reset it all (RFC 9112 §9.6)."""
    stream.uncork()
    await stream.drain()
    stream.send_eof()
    left = LINGER_BYTES
    with anyio.move_on_after(LINGER_SECONDS):
        while left > 0:
            with anyio.move_on_after(SILENCE_SECONDS) as silence:
                data = await stream.receive_some()
            if silence.cancelled_caught or not data:
                break
            left -= len(data)
            await anyio.lowlevel.checkpoint()  # it may be a flood
