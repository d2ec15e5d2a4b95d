"""TLS over any other ``ByteStream``: one implementation for every backend, and for memory.

OpenSSL works on two buffers in memory. Here bytes move between those and the stream below, which keeps doing all that
has to do with the network: waiting, congestion, collecting what leaves together. A request costs one read and one
write more than it does in the clear.

A peer that ends the connection without ``close_notify`` has ended it all the same: requests say themselves how long
they are, so one that was cut short does not pass for a whole one (RFC 8446 §6.1, RFC 9112 §9.8).
"""

import contextlib
import logging
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Final

import anyio

from trioserve._complaints import complain
from trioserve._errors import ClientDisconnected
from trioserve._streams.interface import (
    RECEIVE_BYTES,
    Address,
    ByteStream,
    Corked,
    Listener,
    SendObserver,
    WaitingTasks,
)
from trioserve._streams.tls_facts import ServerIdentity, TlsFacts

__all__ = ["TlsListener", "TlsStream", "is_tls", "tls_facts"]

log = logging.getLogger("trioserve")

RECORD_BYTES: Final = 16 * 1024  # plaintext of one record at most (RFC 8446 §5.1)
ENCRYPT_BYTES: Final = 256 * 1024  # at once: OpenSSL's buffer stays as large as it has ever been
READ_AHEAD_BYTES: Final = 64 * 1024  # kept for receive_some while somebody watches for the peer to leave
LINGER_SECONDS: Final = 2.0  # for a client to read why its handshake was refused
HTTP_REASONS: Final = ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST")  # OpenSSL's, for the few methods that it knows
_REQUEST: Final = re.compile(rb"[A-Z]+ (?:[/*]|https?:)")  # the beginning of any other request
_BEGINNING_BYTES: Final = 32  # are enough to tell

_NO_TLS: Final = b"this port speaks TLS: its addresses begin with https://\n"
PLAIN_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b" % (len(_NO_TLS), _NO_TLS)
)

# What can be sent: nothing yet, everything, nothing any more; and a session that neither sends nor receives.
HANDSHAKE, OPEN, FINISHED, BROKEN = range(4)


def is_tls(stream: ByteStream) -> bool:
    """Opening the stream takes a TLS handshake."""
    return isinstance(stream, TlsStream)


def tls_facts(stream: ByteStream) -> TlsFacts | None:
    """How an opened stream is protected; ``None`` when it is not."""
    return stream.facts() if isinstance(stream, TlsStream) else None


class TlsListener:
    """A ``Listener`` whose connections begin with a TLS handshake."""

    def __init__(self, listener: Listener, identity: ServerIdentity) -> None:
        self.address = listener.address
        self._listener = listener
        self._identity = identity

    async def accept(self) -> ByteStream:
        return TlsStream(await self._listener.accept(), self._identity)

    def accept_nowait(self) -> ByteStream | None:
        stream = self._listener.accept_nowait()
        return TlsStream(stream, self._identity) if stream is not None else None

    def close(self) -> None:
        self._listener.close()


class TlsStream:
    """The server's end of a TLS connection, over ``inner``, which it owns from now on."""

    __slots__ = (
        "_certificate", "_certificates_of_others", "_changed", "_ended", "_incoming", "_inner", "_interruptions",
        "_outgoing", "_reading", "_received", "_ssl", "_state",
    )  # fmt: skip

    def __init__(self, inner: ByteStream, identity: ServerIdentity) -> None:
        self._inner = inner
        self._certificate = identity.certificate
        self._certificates_of_others = identity.others
        self._incoming = ssl.MemoryBIO()  # between two calls it holds a part of one record at most
        self._outgoing = ssl.MemoryBIO()
        self._ssl = identity.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._state = HANDSHAKE
        self._received = b""  # decrypted, and not yet asked for
        self._ended = False  # the peer has finished sending
        self._reading = True  # a task reads from the stream below; at first it is the one that calls open()
        self._interruptions = 0  # so far
        self._changed: anyio.Event | None = None  # made when somebody waits for the reading task

    # The handshake.

    needs_opening = True

    async def open(self) -> None:
        await self._inner.open()
        beginning = b""
        try:
            while not self._advance_handshake():
                if not (data := await self._inner.receive_some()):
                    complain(log, "TLS handshake with %s failed: the client left", self.peer, level=logging.DEBUG)
                    raise ClientDisconnected("the client left during the TLS handshake")
                self._incoming.write(data)
                if len(beginning) < _BEGINNING_BYTES:
                    beginning += data[:_BEGINNING_BYTES]
        except ssl.SSLError as exc:
            await self._refuse(exc, beginning)
            raise ClientDisconnected("the TLS handshake failed") from exc
        self._state = OPEN
        self._reading = False
        if self._incoming.pending:
            self._decrypt()
        if not self._received:  # else the end of the handshake leaves together with the answer
            self._flush()

    def _advance_handshake(self) -> bool:
        """Go as far as what has been received allows; true when that was the end."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        return True

    async def _refuse(self, error: ssl.SSLError, beginning: bytes) -> None:
        """Let the client know: bytes of it that nobody has read would make the kernel send a reset instead."""
        is_plain = error.reason in HTTP_REASONS or _REQUEST.match(beginning) is not None
        reason = "the client speaks plain HTTP" if is_plain else _reason(error)
        complain(log, "TLS handshake with %s failed: %s", self.peer, reason, level=logging.DEBUG)
        if is_plain:
            self._inner.send_nowait(PLAIN_HTTP_ANSWER)  # a person may have typed http:// for https://
        else:
            self._flush()
        self._state = BROKEN
        self._inner.send_eof()
        with anyio.move_on_after(LINGER_SECONDS):
            while await self._inner.receive_some():
                pass

    def facts(self) -> TlsFacts:
        """What the handshake, which is over, has settled."""
        certificate = self._certificates_of_others.get(self._ssl.context, self._certificate)
        return TlsFacts.of(self._ssl, certificate)

    # What the stream below knows.

    @property
    def peer(self) -> Address | None:
        return self._inner.peer

    @property
    def local(self) -> Address | None:
        return self._inner.local

    @property
    def lost(self) -> bool:
        return self._inner.lost or self._state == BROKEN

    @property
    def congested(self) -> bool:
        return self._inner.congested

    @property
    def observer(self) -> SendObserver | None:
        return self._inner.observer

    @observer.setter
    def observer(self, observer: SendObserver | None) -> None:
        self._inner.observer = observer

    @property
    def unsent(self) -> int:
        return self._inner.unsent

    def untaken(self) -> int:
        return self._inner.untaken()

    def wire_bytes(self) -> tuple[int, int] | None:
        return self._inner.wire_bytes()

    def defers(self, sender: Corked, *, expects_others: bool) -> bool:
        return self._inner.defers(sender, expects_others=expects_others)

    def uncork(self) -> None:
        self._inner.uncork()

    async def drain(self) -> None:
        await self._inner.drain()
        if self._state == BROKEN:
            raise ClientDisconnected("the connection is broken")

    # Receiving.

    async def receive_some(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        interruptions = self._interruptions
        while not self._received:
            if self._ended or self._interruptions != interruptions:
                return b""
            await self._pull(max_bytes)
        data, self._received = self._received, b""
        return data

    def receive_nowait(self, max_bytes: int = RECEIVE_BYTES) -> bytes | None:
        while not self._received and not self._ended:
            if self.lost:
                raise ClientDisconnected("the connection is broken")
            if self._reading or (data := self._inner.receive_nowait(max_bytes)) is None:
                return None
            self._take_in(data)
        data, self._received = self._received, b""
        return data

    def has_input(self) -> bool:
        return not self.lost and (bool(self._received) or (not self._ended and self._inner.has_input()))

    def call_when_input(self, callback: Callable[[], None]) -> bool:
        at_once = self._received or self._ended or self._reading or self._state == BROKEN
        return not at_once and self._inner.call_when_input(callback)  # which may be a part of a record only

    def interrupt(self) -> None:
        if self._state in (OPEN, FINISHED):  # in a handshake nobody waits in receive_some
            if self._reading:
                self._interruptions += 1
            self._inner.interrupt()

    async def _pull(self, max_bytes: int) -> None:
        """Wait for something that may have brought bytes, or the end. One task reads, others wait for that one."""
        if self.lost:
            raise ClientDisconnected("the connection is broken")
        if self._reading:
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()
            return
        self._reading = True
        interruptions = self._interruptions
        try:
            data = await self._inner.receive_some(max_bytes)
        finally:  # also when it was cancelled: then one of those that wait goes on
            self._reading = False
            if self._changed is not None:
                self._changed.set()
                self._changed = None
        if data or self._interruptions == interruptions:  # an interruption may be the end too, which is told again
            self._take_in(data)
        if self._outgoing.pending and not self._received:  # an answer to TLS itself, no_renegotiation say
            self._flush()
            await self._inner.drain()  # who never reads the answers shall not ask for more of them

    def _take_in(self, data: bytes) -> None:
        """What the stream below has received, or its end. A record that is not complete by then is dropped."""
        if data:
            self._incoming.write(data)
            self._decrypt()
        else:
            self._ended = True  # OpenSSL need not know: for it the session would be over, answers included

    def _decrypt(self) -> None:
        """Move all records that are complete to ``_received``. What broke after them is told by the next call."""
        data = self._read_record()
        if data and self._incoming.pending:
            records = [data]
            while self._incoming.pending and self._state != BROKEN and (data := self._read_record()):
                records.append(data)
            data = b"".join(records)
        if data:
            self._received = self._received + data if self._received else data

    def _read_record(self) -> bytes:
        """The next record's plaintext; empty when there is none, or no further one: see ``_ended`` and ``_state``."""
        try:
            data = self._ssl.read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError:  # how it tells the end when ours has been sent already
            data = b""
        except ssl.SSLError as exc:
            complain(log, "TLS connection of %s broke: %s", self.peer, _reason(exc), level=logging.DEBUG)
            self._flush()
            self._state = BROKEN
            return b""
        if not data:
            self._ended = True
        return data

    def is_disconnected(self) -> bool:
        if not self._received and not self._ended and not self.lost:
            try:
                self._received = self.receive_nowait() or b""
            except ClientDisconnected:
                return True
        return self.lost or (self._ended and not self._received)

    async def wait_disconnected(self) -> None:
        while not self._ended and not self.lost:
            if len(self._received) >= READ_AHEAD_BYTES:  # the peer is flooding, not leaving
                await self._inner.wait_disconnected()
                return
            try:
                await self._pull(READ_AHEAD_BYTES)
            except ClientDisconnected:
                return

    def wakes_at_end(self, tasks: WaitingTasks) -> bool:
        return False  # it may be said inside of a record, which somebody has to read

    # Sending.

    def send_nowait(self, data: bytes) -> None:
        if self._state != OPEN or not data:
            return
        if len(data) <= ENCRYPT_BYTES:
            self._ssl.write(data)
            self._inner.send_nowait(self._outgoing.read())
        else:
            self._inner.send_nowait(self._encrypt_in_parts(memoryview(data)))

    file_outlet = None  # who encrypts has to read

    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None:
        self.send_nowait(b"".join(pieces))  # few large records cost less than many small ones

    def _encrypt_in_parts(self, data: memoryview) -> bytes:
        parts: list[bytes] = []
        for start in range(0, len(data), ENCRYPT_BYTES):
            self._ssl.write(data[start : start + ENCRYPT_BYTES])
            parts.append(self._outgoing.read())
        return b"".join(parts)

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        if self._outgoing.pending and self._state != FINISHED:
            self._inner.send_nowait(self._outgoing.read())

    def _notify_close(self) -> None:
        """``close_notify``: what the peer has received is all there is (RFC 8446 §6.1)."""
        if self._state == OPEN:
            with contextlib.suppress(ssl.SSLError):  # it would wait for the peer's as well, which nobody needs
                self._ssl.unwrap()
            self._flush()
            self._state = FINISHED

    def send_eof(self) -> None:
        self._notify_close()
        self._inner.send_eof()

    def close_nowait(self) -> bool:
        if self._inner.unsent:
            return False
        self._notify_close()
        return self._inner.close_nowait()

    async def aclose(self) -> None:
        self._notify_close()
        await self._inner.aclose()

    def abort(self) -> None:
        self._inner.abort()


def _reason(error: ssl.SSLError) -> str:
    """What went wrong, for a log: OpenSSL's words, without the place in its source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
