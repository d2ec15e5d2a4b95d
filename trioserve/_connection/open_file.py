"""A file while it is sent: opened, and read without keeping others waiting for a disk.

What the kernel has in memory is read at once. Everything else is read in a thread; pipes are waited for.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import anyio
import anyio.to_thread

from trioserve._asgi import FileMessage
from trioserve._errors import AppError

__all__ = ["OpenFile", "opened"]

_IF_IN_MEMORY: Final = getattr(os, "RWF_NOWAIT", 0)  # Linux, and not all of its file systems
_SCRATCH_BYTES: Final = 64 * 1024
# Without O_NONBLOCK the server would wait for a named pipe's writer in open().
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class OpenFile:
    """Bytes of an open file, in order; whoever has opened it closes it.

    Attributes:
        descriptor: of the operating system.
        offset: of the next byte; ``None`` for what has no places, such as a pipe.
        has_size: the system says how many bytes there are, which the files of /proc do not have it say.
        left: bytes that are still wanted, ``None`` for all that come. No more than there are, where that is known.
    """

    __slots__ = ("_name", "descriptor", "has_size", "left", "offset")

    def __init__(self, descriptor: int, name: str, offset: int, count: int | None) -> None:
        """Raises OSError for what is no file."""
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError("it is a directory")
        self._name = name
        self.descriptor = descriptor
        self.offset = offset if stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode) else None
        self.left = count
        self.has_size = self.offset is not None and status.st_size > 0
        if self.has_size:
            size = max(status.st_size - offset, 0)
            self.left = size if count is None else min(size, count)

    async def read(self, count: int) -> bytes:
        """The next bytes, ``count`` at most; ``b""`` when there are none, or none are wanted. Raises AppError."""
        if self.left is not None:
            count = min(count, self.left)
        if not count:
            return b""
        try:
            if self.offset is None:
                data = await self._read_stream(count)
            elif _is_in_memory(self.descriptor, count, self.offset):
                data = _read_at(self.descriptor, count, self.offset)
            else:
                data = await anyio.to_thread.run_sync(_read_at, self.descriptor, count, self.offset)
        except OSError as exc:
            raise AppError(f"cannot read {self._name}: {exc}") from exc
        self.advance(len(data))
        return data

    async def read_first(self, count: int) -> bytes:
        """The first ``count`` bytes, or all: then ``left`` is 0, whatever the system says of the size.

        A file of /proc has bytes and no size, one of /sys mostly fewer bytes than its size.
        """
        data = await self.read(count)
        while self.left != 0 and len(data) < count:
            if not (more := await self.read(count - len(data))):
                self.left = 0
            data += more
        return data

    def give_back(self, count: int) -> None:
        """The last ``count`` bytes that were read are not sent."""
        assert self.offset is not None, "it has places"
        self.offset -= count

    async def _read_stream(self, count: int) -> bytes:
        while True:
            with suppress(PermissionError):  # nobody ever has to wait for it: /dev/zero
                await anyio.wait_readable(self.descriptor)
            with suppress(BlockingIOError):  # somebody else was faster
                return os.read(self.descriptor, count)

    async def load(self, count: int) -> None:
        """See to it that the next ``count`` bytes are in memory. What cannot be read is left to whoever reads it."""
        assert self.offset is not None, "it has places"
        if not _is_in_memory(self.descriptor, count, self.offset):
            await anyio.to_thread.run_sync(_load, self.descriptor, count, self.offset)

    def advance(self, count: int) -> None:
        """So many bytes have been sent, or read to be sent."""
        if self.offset is not None:
            self.offset += count
        if self.left is not None:
            self.left -= count


def _seek_and_read(descriptor: int, count: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)


_read_at: Final = getattr(os, "pread", _seek_and_read)  # which Windows does not have


def _is_in_memory(descriptor: int, count: int, offset: int) -> bool:
    """To read these bytes will not wait; false also if nobody knows.

    The first and the last one speak for the others: the kernel reads ahead, and gives memory up, in long runs.
    """
    if sys.platform == "win32":
        return False
    if not _IF_IN_MEMORY:
        return False
    byte = [bytearray(1)]
    try:
        for place in (offset, offset + count - 1):
            os.preadv(descriptor, byte, place, _IF_IN_MEMORY)
    except OSError:  # EAGAIN, or this file system cannot tell
        return False
    return True


def _load(descriptor: int, count: int, offset: int) -> None:
    """Have the bytes read from the disk, in one call, over and over into the same place."""
    if sys.platform == "win32":
        return
    scratch = memoryview(bytearray(min(count, _SCRATCH_BYTES)))
    with suppress(OSError):
        os.preadv(descriptor, [scratch] * (count // len(scratch)), offset)


@contextmanager
def opened(message: FileMessage) -> Iterator[OpenFile]:
    """The file that ``message`` speaks of, for the length of a block.

    Raises:
        AppError: it cannot be opened, or is no file.
    """
    with _ours(message) if message.path is not None else _theirs(message) as file:
        yield file


@contextmanager
def _ours(message: FileMessage) -> Iterator[OpenFile]:
    """Opened here, and not in a thread: whoever names a path has looked there just now. 2 us, and not 60."""
    assert message.path is not None
    name = os.fsdecode(message.path)
    try:
        descriptor = os.open(message.path, _FLAGS)
    except (OSError, ValueError) as exc:  # the latter for a NUL in the path
        raise AppError(f"cannot open {name}: {exc}") from exc
    try:
        yield _described(descriptor, name, 0, None)
    finally:
        os.close(descriptor)


@contextmanager
def _theirs(message: FileMessage) -> Iterator[OpenFile]:
    """The application's own. It stays open; without an offset in the message, it is read where it stands."""
    their = getattr(message.file, "wrapped", message.file)  # anyio's and trio's files have ordinary ones inside
    name = f"{their!r:.100}"
    try:
        descriptor = int(their) if isinstance(their, int) and not isinstance(their, bool) else their.fileno()
    except (AttributeError, OSError, ValueError) as exc:
        raise AppError(f"{name} is no open file of the operating system") from exc
    if message.offset is not None:
        yield _described(descriptor, name, message.offset, message.count)
        return
    file = _described(descriptor, name, _tell(their, descriptor), message.count)
    try:
        yield file
    finally:
        if file.offset is not None:
            _seek(their, descriptor, file.offset)


def _described(descriptor: int, name: str, offset: int, count: int | None) -> OpenFile:
    try:
        return OpenFile(descriptor, name, offset, count)
    except OSError as exc:
        raise AppError(f"cannot send {name}: {exc}") from exc


def _tell(file: Any, descriptor: int) -> int:
    """A buffered file has read more than it has given. 0 for what has no places."""
    try:
        return int(file.tell()) if hasattr(file, "tell") else os.lseek(descriptor, 0, os.SEEK_CUR)
    except OSError:
        return 0


def _seek(file: Any, descriptor: int, place: int) -> None:
    if hasattr(file, "seek"):
        file.seek(place)
    else:
        os.lseek(descriptor, place, os.SEEK_SET)
