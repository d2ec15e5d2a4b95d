"""Sends a file as a response, or as a part of one: by the kernel where that is possible, otherwise block by block."""

from collections.abc import Awaitable, Callable
from typing import Final

from trioserve._asgi import FileMessage, Response
from trioserve._connection.channel import Outlet
from trioserve._connection.open_file import OpenFile, opened
from trioserve._connection.turn import Turn
from trioserve._streams import AT_ONCE_BYTES, FileOutlet
from trioserve._types import Message

__all__ = ["send_file"]

BLOCK_BYTES: Final = 64 * 1024  # read at once, and so the most of a file that a connection holds
WINDOW_BYTES: Final = 1024 * 1024  # looked for in memory before the kernel sends them


async def send_file(
    message: FileMessage, response: Response, outlet: Outlet, send: Callable[[Message], Awaitable[None]]
) -> None:
    """See ``message`` through. What is read is given to ``send``, as ``http.response.body`` messages, like the end.

    Raises:
        AppError: the file cannot be sent as the response has announced it. The head has not left if that could be known
            before.
        ClientDisconnected: the client has gone.

    If cancelled, the response is cut short.
    """
    with opened(message) as file:
        by_kernel = outlet.file_outlet
        if file.left is None or file.left < AT_ONCE_BYTES:
            by_kernel = None
        block = b""
        if by_kernel is not None:
            await file.load(WINDOW_BYTES)
            file.left = response.expect_file(file.left, message)
            if file.left:
                await _send_by_kernel(file, response, by_kernel)
        elif file.offset is not None:
            block = await _first_block(file, response, message)
        else:
            file.left = response.expect_file(file.left, message)
        await _send_blocks(file, block, send, more_body=message.more_body)


async def _first_block(file: OpenFile, response: Response, message: FileMessage) -> bytes:
    """Read before the head is made: where a small file really ends decides what is declared."""
    block = await file.read_first(BLOCK_BYTES)
    size = None if file.left is None else len(block) + file.left
    wanted = response.expect_file(size, message, at_least=0 if file.has_size else len(block))
    if wanted is not None:
        if wanted < len(block):
            file.give_back(len(block) - wanted)
        block = block[:wanted]
        file.left = wanted - len(block)
    return block


async def _send_by_kernel(file: OpenFile, response: Response, outlet: FileOutlet) -> None:
    """As many bytes as the kernel is willing to send."""
    pieces: list[bytes] = []
    if not response.begin_file(pieces):
        return
    turn = Turn()
    while file.left:
        assert file.offset is not None
        count = min(file.left, WINDOW_BYTES)
        await file.load(count)
        sent = await outlet.send_file(b"".join(pieces), file.descriptor, file.offset, count)
        pieces.clear()
        file.advance(sent)
        response.count_file_bytes(sent)
        if sent < count:
            break
        await turn.give_way()
    response.end_file()


async def _send_blocks(
    file: OpenFile, block: bytes, send: Callable[[Message], Awaitable[None]], *, more_body: bool
) -> None:
    """``block``, the rest and the end. A file of one block is one message, whose body leaves with its head."""
    if not block:
        block = await file.read(BLOCK_BYTES)
    while block and file.left != 0:
        await send({"type": "http.response.body", "body": block, "more_body": True})
        block = await file.read(BLOCK_BYTES)
    await send({"type": "http.response.body", "body": block, "more_body": more_body})
