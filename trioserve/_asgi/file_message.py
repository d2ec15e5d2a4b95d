"""What an application says of a file that the server shall send (ASGI extensions "Path Send" and "Zero Copy Send")."""

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, Final

from trioserve._errors import AppError
from trioserve._types import Message

__all__ = ["FILE_TYPES", "FileMessage", "read_file_message"]

_PATH, _OPEN = "http.response.pathsend", "http.response.zerocopysend"
FILE_TYPES: Final = (_PATH, _OPEN)


@dataclass(frozen=True, slots=True)
class FileMessage:
    """One of the two messages. What a file really is, nobody has looked at yet.

    Attributes:
        path: of a file that the server opens; ``None`` when the application has opened it.
        file: what the application has opened, and will close.
        offset: of the first byte; ``None`` for where the file stands.
        count: bytes at most; ``None`` for all until the file's end.
        more_body: the body goes on after it.
    """

    path: str | bytes | None = None
    file: Any = None
    offset: int | None = None
    count: int | None = None
    more_body: bool = False


def read_file_message(message: Message) -> FileMessage:
    """Raises AppError for a message that lacks its file, or has a number that is none."""
    if message["type"] == _PATH:
        return FileMessage(path=_path(message.get("path")), offset=0)
    if message.get("file") is None:
        raise AppError(f"{_OPEN} has an open file, as 'file'")
    return FileMessage(
        file=message["file"],
        offset=_number(message, "offset"),
        count=_number(message, "count"),
        more_body=bool(message.get("more_body", False)),
    )


def _path(path: Any) -> str | bytes:
    if isinstance(path, (str, bytes, PathLike)) and (path := fspath(path)):
        return path
    raise AppError(f"the path of {_PATH} is a text, not {path!r:.100}")


def _number(message: Message, name: str) -> int | None:
    number = message.get(name)
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise AppError(f"the {name} of {_OPEN} is a number of bytes, not {number!r:.100}")
    return int(number)
