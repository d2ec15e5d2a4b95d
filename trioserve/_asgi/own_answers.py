"""Answers of the server's own, to requests that no application answers; their bytes are made elsewhere."""

from typing import Final, Protocol

from trioserve._asgi.fields import Pair
from trioserve._errors import PeerError

__all__ = ["Dated", "PlainAnswer", "error_answer", "error_body"]

RETRY_AFTER_SECONDS: Final = 1


class Dated(Protocol):
    """What decides which standing fields a response gets."""

    has_date: bool
    has_server: bool


class PlainAnswer:
    """An answer of the server's own gets all of them."""

    has_date = False
    has_server = False


def error_body(text: str) -> bytes:
    """What an answer of the server's own says, instead of the application's."""
    return f"{text}\n".encode()


def error_answer(refusal: PeerError) -> tuple[list[Pair], bytes]:
    """The answer to a request that is refused: its fields, without the standing ones, and its body."""
    body = error_body(refusal.reason)
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *refusal.fields,
    ]  # fmt: skip
    if refusal.status == 503:
        fields.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS))
    return fields, body
