"""What a request needs of the connection that carries it, whatever the version of HTTP.

A request has an *outlet* (bytes to this client), an *inlet* (its body) and an *owner* (what its end means). HTTP/1.1
lends three objects that it has anyway; a version with streams may lend one that is all three.
"""

from collections.abc import Sequence
from typing import Protocol

from trioserve._asgi import ScopeFactory
from trioserve._connection.context import ServerContext
from trioserve._streams import Address, Cancellable, FileOutlet, TaskFunction, WaitingTasks

__all__ = ["Inlet", "Outlet", "Owner", "Tunnel", "TunnelOwner"]


class Outlet(Protocol):
    """The way to the client. A ``ByteStream`` is one as it is, and its docstrings say what each call does.

    One without a ``file_outlet``, which frames or encrypts what it sends, gets files as any other body: block by block.
    """

    @property
    def peer(self) -> Address | None: ...
    @property
    def local(self) -> Address | None: ...
    @property
    def lost(self) -> bool: ...
    @property
    def congested(self) -> bool: ...
    @property
    def file_outlet(self) -> FileOutlet | None: ...

    def send_nowait(self, data: bytes) -> None: ...
    def send_pieces_nowait(self, pieces: Sequence[bytes], size: int) -> None: ...
    def uncork(self) -> None: ...
    async def drain(self) -> None: ...
    def is_disconnected(self) -> bool: ...
    async def wait_disconnected(self) -> None: ...
    def abort(self) -> None: ...


class Inlet(Protocol):
    """The body of one request.

    Attributes:
        body_complete: nothing of it is missing.
    """

    @property
    def body_complete(self) -> bool: ...

    def take_body(self) -> bytes:
        """What has arrived. Raises PeerError."""

    async def receive_more(self, *, may_ask: bool) -> bool:
        """Wait until more has arrived; false when nothing more will. One task waits, the others wait for it.

        ``may_ask``: the client may be told that its body is wanted, because it has no answer yet. If cancelled,
        nothing is lost.

        Raises:
            PeerError: the body broke off, came too slowly, or not at all.
        """

    async def give_way(self) -> None:
        """Let others run, when much has been received without waiting."""

    def stop_waiting(self) -> None:
        """Whoever waits in ``receive_more`` gets no more."""

    def received_bytes(self, length: int | None) -> int | None:
        """How much of a body of ``length`` bytes (``None``: in chunks) has come, as far as that is counted."""

    async def stop(self) -> None:
        """The same, and it has noticed: from now on the bytes that arrive are somebody else's."""


class Owner(Protocol):
    """Who a request belongs to: its connection, or its stream.

    Attributes:
        scopes: makes the request's scope, and knows its client.
        is_cancelled: somebody has asked for the end of this request, or of more than it.
    """

    @property
    def ctx(self) -> ServerContext: ...
    @property
    def scopes(self) -> ScopeFactory: ...
    @property
    def is_cancelled(self) -> bool: ...

    def cancel(self, reason: str) -> None:
        """End the request that is in progress; it is named in the log with ``reason``."""

    def start_child(self, function: TaskFunction, *args: object) -> Cancellable:
        """Start a task that ends with the connection, and whose bugs end nothing else."""

    def start_watch(self, function: TaskFunction) -> None:
        """The same for a task that waits for the client to leave, or only when the client has left."""

    def end_waits(self) -> WaitingTasks:
        """For those who wait until the request has its answer, or the client has left, which wakes them."""

    def on_early_answer(self, *, reads_on: bool) -> None:
        """A part of the answer will be made although the request's body is not here.

        With ``reads_on`` the application probably takes what still comes: it answers while it reads.
        """

    def on_answered(self) -> None:
        """The answer is complete: the request counts no longer, whatever its application still does."""

    def let_go_on(self) -> bool:
        """The application waits, although its answer is complete: nobody else should have to wait for it.

        False when it has to be the other way, because too many go on already. Asked again, until it is true.
        """


class Tunnel(Outlet, Protocol):
    """The same way for what is no HTTP any more, in both directions: a ``ByteStream``, or a stream of HTTP/2."""

    @property
    def unsent(self) -> int: ...

    async def receive_some(self, max_bytes: int = ...) -> bytes: ...
    def has_input(self) -> bool: ...
    def untaken(self) -> int: ...
    def send_eof(self) -> None: ...


class TunnelOwner(Owner, Protocol):
    """An owner whose request may turn into something else (RFC 9110 §9.3.6, RFC 6455 §4)."""

    def open_tunnel(self) -> bytes:
        """The request has been answered, and no other follows on its stream. Returns what came early."""
