"""What every message of an application is, whatever its protocol."""

from typing import Any

from trioserve._errors import AppError
from trioserve._types import Message

__all__ = ["no_message", "type_of"]


def type_of(message: Message) -> Any:
    """The type of a message. Raises AppError: it has none."""
    try:
        return message["type"]
    except (TypeError, KeyError, IndexError):
        raise no_message(message) from None


def no_message(message: Any) -> AppError:
    """The error for what has no type, also where a call of ``type_of`` would cost too much."""
    return AppError(f"send() takes a dict with a 'type', not {message!r:.100}")
