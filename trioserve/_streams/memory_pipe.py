"""One direction of a connection in memory: what the network holds, and what it has no room for yet."""

from collections import deque
from collections.abc import Callable

import anyio

__all__ = ["MemoryPipe"]


class MemoryPipe:
    """Pieces stay as they were sent: one ``send`` is one ``receive``, unless room or a bound cuts it.

    Args:
        capacity: bytes that the network holds.
        tell_writer: whether it holds less than was handed over.
        tell_reader: there is something new.

    Attributes:
        finished: the writer will send no more; the reader sees that when it has taken everything.
        held_bytes: in the network, and not taken by the reader.
        waiting_bytes: handed over by the writer, beyond what the network holds.
    """

    __slots__ = (
        "_capacity", "_changed", "_held", "_tell_reader", "_tell_writer", "_waiting", "finished", "held_bytes",
        "waiting_bytes",
    )  # fmt: skip

    def __init__(
        self, capacity: int, tell_writer: Callable[[bool], None], tell_reader: Callable[[], None]
    ) -> None:
        self._capacity = capacity
        self._tell_writer = tell_writer
        self._tell_reader = tell_reader
        self._held: deque[bytes] = deque()
        self.held_bytes = 0
        self._waiting: deque[bytes] = deque()
        self._changed = anyio.Event()
        self.waiting_bytes = 0
        self.finished = False

    def put(self, data: bytes) -> None:
        self._waiting.append(data)
        self.waiting_bytes += len(data)
        self._move()

    def take(self, max_bytes: int) -> bytes:
        """The oldest piece, or as much of it as is wanted; ``b""`` when there is none."""
        if not self._held:
            return b""
        data = self._held.popleft()
        if len(data) > max_bytes:
            self._held.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self.held_bytes -= len(data)
        self._move()
        return data

    def put_back(self, data: bytes) -> None:
        """Let ``data`` be the next to be taken."""
        if data:
            self._held.appendleft(data)
            self.held_bytes += len(data)

    def _move(self) -> None:
        """Let the network take what it has room for."""
        while self._waiting and (room := self._capacity - self.held_bytes) > 0:
            data = self._waiting.popleft()
            if len(data) > room:
                self._waiting.appendleft(data[room:])
                data = data[:room]
            self.waiting_bytes -= len(data)
            self._held.append(data)
            self.held_bytes += len(data)
        self.notify()
        self._tell_writer(bool(self._waiting))

    def close_window(self) -> None:
        """From now on the network takes nothing; what it holds can still be taken from it."""
        self._capacity = 0

    @property
    def is_empty(self) -> bool:
        return not self._held and not self._waiting

    @property
    def has_arrived(self) -> bool:
        """There is something to take."""
        return bool(self._held)

    @property
    def end_has_arrived(self) -> bool:
        """The reader can know that the writer has finished, although there may be bytes to take before the end."""
        return self.finished and not self._waiting

    def drop_waiting(self) -> None:
        self._waiting.clear()
        self.waiting_bytes = 0
        self.notify()
        self._tell_writer(False)

    def drop_all(self) -> None:
        self._held.clear()
        self.held_bytes = 0
        self.drop_waiting()

    def notify(self) -> None:
        """Wake whoever waits at either end."""
        self._changed.set()
        self._changed = anyio.Event()
        self._tell_reader()

    async def wait_for_change(self) -> None:
        await self._changed.wait()
