"""How long a connection waits for its client: for a request head, and for the client to take what is sent."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from trioserve._complaints import complain
from trioserve._connection.context import ServerContext
from trioserve._connection.timeouts import Timeout, option_of
from trioserve._streams import Address

__all__ = ["WRITE_LOOKS", "Patience", "Unread"]

log = logging.getLogger("trioserve")

WRITE_LOOKS: Final = 8  # for progress, in the length of the write timeout: it strikes at most an eighth late


class Unread(Protocol):
    """A ``ByteStream``, or a stream of HTTP/2, as far as it is waited for."""

    @property
    def peer(self) -> Address | None: ...
    @property
    def lost(self) -> bool: ...
    @property
    def congested(self) -> bool: ...

    def has_input(self) -> bool: ...
    def interrupt(self) -> None: ...
    def untaken(self) -> int: ...


class Patience:
    """Of one stream, whose observer it is.

    While something is unsent, the write timeout runs, whoever waits for it or does not; it begins anew with what the
    client takes. Meanwhile nobody can expect a request, so the time for one begins when all has been taken.

    Attributes:
        expects: the timeout within which a request, or the rest of its head, is waited for.
        is_over: no request came in time, and nobody should wait for one any more.
    """

    __slots__ = (
        "_ctx", "_is_late", "_leaves", "_on_stuck", "_progress_at", "_stream", "_untaken", "expects", "is_over",
    )  # fmt: skip

    def __init__(self, stream: Unread, ctx: ServerContext, on_stuck: Callable[[], None]) -> None:
        self._stream = stream
        self._ctx = ctx
        self._on_stuck = on_stuck
        self.expects: Timeout | None = None
        self._is_late = False  # our strike, for bytes that were there already
        self._leaves = False  # once all has been taken
        self._untaken = 0  # bytes, when progress was last looked for
        self._progress_at = 0.0  # on the clock
        self.is_over = False

    # A request head.

    def expect(self, timeout: Timeout) -> None:
        """A request, or the rest of its head, is waited for within ``timeout``, if nothing is waited for already."""
        if self.expects is not None:
            return
        self.expects = timeout
        if not self._stream.congested:
            timeout.arm(self)

    def expect_rest(self, timeout: Timeout) -> None:
        """A part of the head has come: from its first byte on, the time of the whole head runs."""
        if timeout is not self.expects:
            self.stop()
            self.expect(timeout)
        elif self._is_late:  # it had all its time, and what was there was not the rest
            self._give_up(timeout)

    def stop(self) -> None:
        """It has come, or will not."""
        if (expected := self.expects) is not None:
            expected.disarm(self)
            self.expects = None
            self._is_late = False

    def begin_anew(self) -> None:
        """Forget what was waited for in vain; something may be waited for again."""
        self.stop()
        self.is_over = False

    def leave(self) -> None:
        """Whoever waits for a request need not wait any longer; a request that is here already is served."""
        if self._stream.congested:
            self._leaves = True
        elif not self._stream.has_input():
            self._stream.interrupt()

    # What is unsent; what the stream tells.

    def on_congested(self) -> None:
        """The network does not take all that was handed over."""
        if self.expects is not None:
            self.expects.disarm(self)
        self._untaken = self._stream.untaken()
        self._progress_at = self._ctx.clock()
        self._ctx.timeouts.write.arm(self)

    def on_drained(self) -> None:
        """It has taken all, or never will."""
        self._ctx.timeouts.write.disarm(self)
        if self.expects is not None and not self._stream.lost:
            self.expects.arm(self)
        if self._leaves:
            self.leave()

    # Timeouts.

    def on_timeout(self, kind: str) -> None:
        """The client lets us wait."""
        if kind == "write":
            self._look_for_progress()
            return
        expected = self.expects
        assert expected is not None, "it was armed"
        if not self._is_late and self._stream.has_input():
            self._is_late = True
            expected.arm(self)
        elif expected is self._ctx.timeouts.keep_alive and self._is_taking:
            expected.arm(self)
        else:
            self._give_up(expected)
            self._stream.interrupt()

    @property
    def _is_taking(self) -> bool:
        """The network has all of the last response, but the client still takes it."""
        before, self._untaken = self._untaken, self._stream.untaken()
        return self._untaken > 0 and self._untaken != before

    def _give_up(self, expected: Timeout) -> None:
        who = self._stream.peer
        complain(log, "%s-timeout: closing the connection of %s", expected.kind, who, level=logging.DEBUG)
        self._ctx.lifetime.strike(option_of(expected.kind))
        self.is_over = True

    def _look_for_progress(self) -> None:
        seconds = self._ctx.write_seconds
        assert seconds is not None, "the write timeout is on"
        untaken, now = self._stream.untaken(), self._ctx.clock()
        if untaken < self._untaken:
            self._progress_at = now
        elif now - self._progress_at >= seconds:
            self._ctx.lifetime.strike(option_of("write"))
            self._on_stuck()
            return
        self._untaken = untaken
        self._ctx.timeouts.write.arm(self)
