"""What the supervisor and a worker process tell each other, and the socket that carries it: one JSON text per line.

The end of the stream is a message, too: the process at the other end has ended, whatever ended it.
"""

import dataclasses
import json
import select
import socket
import typing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import anyio

from trioserve._server.listeners import Bound

__all__ = [
    "Drain", "Failed", "Force", "Heartbeat", "LastHeartbeat", "LastWords", "Link", "Listens", "Message", "Question",
    "Ready", "Reply", "Sockets", "Start", "WantsReplacement", "WantsSockets",
]

RECEIVE_BYTES: Final = 64 * 1024
MOST_DESCRIPTORS: Final = 253  # the kernel's limit for one message


# From the supervisor. Questions and replies go both ways.


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: what to serve, and how.

    Attributes:
        target: the application, ``"module:attribute"``.
        options: every field of ``Config``.
        stacks: descriptor of the file for stacks, when the process has to be killed or dies of its own code.
        argv: the supervisor's, of ``sys``.
        announce: say in the log where the server listens.
        admin_token: lets requests under ``admin_path`` change something; the same for all workers.
    """

    target: str
    options: dict[str, Any]
    stacks: int
    argv: list[str]
    announce: bool
    admin_token: str = ""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Listen on these: their descriptors come with the message, through the kernel (unix(7), SCM_RIGHTS).

    Attributes:
        plain: of each socket, in the order of the descriptors, as in ``Bound``.
    """

    plain: list[bool]


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop gracefully; see ``Server.request_shutdown``."""

    reason: str
    settle: float = 0.0
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Force:
    """Do not wait for requests any longer."""


@dataclass(frozen=True, slots=True)
class Question:
    """Tell something of yourself; see ``questions``.

    Attributes:
        number: comes back with the reply.
        name: what is asked for.
        details: what else there is to say, as JSON can.
    """

    number: int
    name: str
    details: dict[str, Any]


# From the worker.


@dataclass(frozen=True, slots=True)
class Listens:
    """The application is imported: from now on the worker hears what the supervisor says."""


@dataclass(frozen=True, slots=True)
class WantsSockets:
    """The application has started.

    A worker that has no sockets before that holds none open, unheard, when the server stops in the meantime.
    """


@dataclass(frozen=True, slots=True)
class Ready:
    """Requests can come."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The event loop turns."""


@dataclass(frozen=True, slots=True)
class LastHeartbeat:
    """It need not turn any longer: the server has ended. The process bounds the time until its own end."""


@dataclass(frozen=True, slots=True)
class WantsReplacement:
    """It has served its time, and goes on until somebody takes its place."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not start, or had to stop: the exception's name in ``_errors`` and what an operator reads.

    Attributes:
        option: of a ``ConfigError``.
        notes: lines of advice after the text.
    """

    error: str
    text: str
    option: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LastWords:
    """It serves no more. What it has counted in all, for metrics."""

    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question, or why there is none."""

    number: int
    answer: Any = None
    failure: str = ""


Message: TypeAlias = (
    Start | Sockets | Drain | Force | Question | Listens | WantsSockets | Ready | Heartbeat | LastHeartbeat
    | WantsReplacement | Failed | LastWords | Reply
)

_KINDS: Final[dict[str, type[Message]]] = {
    kind.__name__: kind
    for kind in typing.get_args(Message)
}


def _encode(message: Message) -> bytes:
    return json.dumps([type(message).__name__, dataclasses.asdict(message)]).encode() + b"\n"


def _decode(line: bytes) -> Message:
    name, fields = json.loads(line)
    return _KINDS[name](**fields)


# The socket.


class Link:
    """One end of the connection between supervisor and worker, which it owns.

    Attributes:
        descriptors: what came with ``Sockets``, to be owned by whoever takes it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._unsent = b""
        self._flushing = anyio.Lock()
        self._received = b""
        self._ended = False
        self.descriptors: list[int] = []

    def send_first(self, message: Message) -> None:
        """Send a message of any size; waits for the other process to read it. Raises OSError if it has ended."""
        self._sock.setblocking(True)
        self._sock.sendall(_encode(message))
        self._sock.setblocking(False)

    def send(self, message: Message) -> None:
        """Send at once. Who has ended, or has not read for thousands of messages, misses it: neither can be told."""
        with suppress(OSError):
            data = self._unsent + _encode(message)
            self._unsent = data[self._sock.send(data):]

    async def send_large(self, message: Message) -> None:
        """Send a message of any size, as the other process reads it; what is sent meanwhile comes after it."""
        self._unsent += _encode(message)
        async with self._flushing:
            while self._unsent:
                try:
                    self._unsent = self._unsent[self._sock.send(self._unsent):]
                except BlockingIOError:
                    await anyio.wait_writable(self._sock)
                except OSError:  # who has ended cannot be told
                    self._unsent = b""

    def send_sockets(self, bounds: Sequence[Bound]) -> None:
        """Send ``Sockets``, as ``send`` does."""
        message = Sockets([bound.plain for bound in bounds])
        with suppress(OSError):
            socket.send_fds(self._sock, [_encode(message)], [bound.sock.fileno() for bound in bounds])

    def receive_waiting(self) -> Iterator[Message]:
        """Every message that has arrived and was not received yet."""
        while not self._ended:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, RECEIVE_BYTES, MOST_DESCRIPTORS)
            except BlockingIOError:
                break
            except OSError:  # a reset is an end like any other
                data, descriptors = b"", []
            self.descriptors += descriptors
            self._ended = not data
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        yield from map(_decode, lines)

    async def receive(self) -> list[Message]:
        """Wait for messages; an empty list means that the other process has ended."""
        while True:
            messages = list(self.receive_waiting())
            if messages or self._ended:
                return messages
            await anyio.wait_readable(self._sock)

    def receive_first(self) -> Message:
        """The first message, without an event loop. Raises EOFError when the other process has ended."""
        self._sock.setblocking(True)
        while b"\n" not in self._received:
            data = self._sock.recv(RECEIVE_BYTES)
            if not data:
                raise EOFError("the supervisor has ended")
            self._received += data
        self._sock.setblocking(False)
        line, _, self._received = self._received.partition(b"\n")
        return _decode(line)

    def receive_in_thread(self) -> list[Message]:
        """``receive`` for a thread, when the event loop has ended."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while True:
            messages = list(self.receive_waiting())
            if messages or self._ended:
                return messages
            poll.poll()

    def wait_for_end(self) -> None:
        """Block until the other process has ended; for a thread of its own, which takes no message from anybody."""
        poll = select.poll()
        poll.register(self._sock, 0)  # no event but the one that cannot be left out, POLLHUP
        poll.poll()

    def close(self) -> None:
        self._sock.close()
