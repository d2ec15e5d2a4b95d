"""The rules of one response, whatever the version of HTTP: which message when, and what may be in it (ASGI HTTP 2.5).

Pure: it neither waits nor sends. How the response looks on the wire is the business of a subclass for each version.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from trioserve._asgi.fields import (
    CONNECTION,
    DATE,
    LENGTH,
    PLAIN,
    SERVER,
    Pair,
    checked_fields,
    iterate,
    kind_of,
    known_kind,
    no_pair,
    read_field,
    read_length,
    says_close,
)
from trioserve._asgi.file_message import FILE_TYPES, FileMessage, read_file_message
from trioserve._asgi.messages import no_message
from trioserve._asgi.states import BODY, COMPLETE, FILE, FIRST_BODY, START, TRAILERS
from trioserve._errors import AppError
from trioserve._protocol.events import RequestHead
from trioserve._types import Message

if TYPE_CHECKING:
    from trioserve._protocol.websocket.handshake import Handshake

__all__ = ["MESSAGE_COST", "RUN_BYTES", "Response"]

_EXPECTED: Final = (
    "http.response.start", "http.response.body", "http.response.body", "the rest of a file", "http.response.trailers",
    "nothing more",
)  # fmt: skip
_KNOWN_TYPES: Final = (*_EXPECTED[:2], *FILE_TYPES, "http.response.trailers", "http.response.early_hint")
_WITHOUT_BODY: Final = frozenset((204, 205, 304))
RUN_BYTES: Final = 128 * 1024  # of body parts that collect, although the application did not wait, and leave together
MESSAGE_COST: Final = 128  # bytes that even an empty message counts for: nobody sends for ever without giving way


class Response:
    """Holds the application's messages to the rules, and has what they say encoded.

    The head is held back until the first body message, so that an application that fails in between still gets a
    500, and head and body leave in one piece.

    A version of HTTP is a subclass: it has the methods at the end of this class, which need not check anything.

    Attributes:
        state: what is awaited next.
        status: of the response, 0 before ``http.response.start``.
        fields: those of the application's that the client gets, in order; known with the head.
        body_bytes: body bytes encoded so far, without framing.
        work: body bytes and messages that the application has sent, in bytes; a message counts as MESSAGE_COST.
        has_date, has_server: the application sent its own Date, or Server; known with the head.
    """

    __slots__ = (
        "_body_left", "_encoded_head", "_head", "_says_close", "_send_body", "_trailers", "body_bytes", "fields",
        "has_date", "has_server", "state", "status", "work",
    )  # fmt: skip

    _body_left: int | None  # of a declared content-length that counts
    _encoded_head: Any  # status and fields, as the version of HTTP has them
    _says_close: bool  # the application wants the connection to end
    _send_body: bool  # the client expects one
    _trailers: list[Pair] | None  # as far as they have come; None when there will be none
    fields: list[Pair]
    has_date: bool
    has_server: bool

    def __init__(self, head: RequestHead) -> None:
        self._head = head
        self.state: int = START
        self.status = 0
        self.body_bytes = self.work = 0

    def encode(self, message: Message, pieces: list[bytes]) -> FileMessage | None:
        """Check ``message`` and append what it puts on the wire to ``pieces``.

        A file is returned to the caller, who can read it, and says with other calls what becomes of it.

        Raises:
            AppError: the message is not allowed here, or malformed; nothing was appended.
        """
        try:
            kind = message["type"]
        except (TypeError, KeyError, IndexError):
            raise no_message(message) from None
        state = self.state
        if state == START and kind == "http.response.start":
            self.work += MESSAGE_COST
            self._start(message)
            return None
        if kind != "http.response.body" or not FIRST_BODY <= state <= BODY:
            return self._encode_other(kind, message, pieces)
        data = message.get("body", b"")
        if type(data) is not bytes:
            data = _as_bytes(data)
        more = message.get("more_body", False)
        size = len(data)
        self.work += size + MESSAGE_COST
        if (left := self._body_left) is not None:
            if size != left and (size > left or not more):
                raise _miscounted(size - left)
            self._body_left = left - size
        if more:
            self.state = BODY
        else:
            self.state = COMPLETE if self._trailers is None else TRAILERS
        if self._send_body:
            self.body_bytes += size
        else:
            data = b""
        self._encode_body(data, state == FIRST_BODY, pieces)
        return None

    def run_room(self) -> int:
        """Bytes that further body parts in a row may have, each counted with MESSAGE_COST; see ``encode_run``."""
        if not self._send_body:
            return 0
        return RUN_BYTES if self._body_left is None else min(self._body_left, RUN_BYTES)

    def encode_run(self, parts: list[bytes], size: int, pieces: list[bytes]) -> int:
        """The same as ``encode`` for body messages in a row of ``size`` bytes, after which the body goes on.

        They may not be over ``run_room``, which saw to it that they are not more than was declared. Returns the bytes
        that were appended, which nobody has to count again.
        """
        self.work += size + MESSAGE_COST * len(parts)
        self.body_bytes += size
        if self._body_left is not None:
            self._body_left -= size
        return self._encode_parts(parts, size, pieces)

    # A file that ``encode`` has returned.

    def expect_file(self, size: int | None, wanted: FileMessage, at_least: int = 0) -> int | None:
        """``wanted`` has ``size`` bytes, ``None`` if nobody knows. Returns how many of them the client gets.

        When the file is all of the body, its size is declared. A file that has grown since the application has
        declared a length is sent as far as that; who gives a count means it. The file has not grown to ``at_least`` so
        many bytes, it has always had them.

        Raises:
            AppError: the file contradicts the declared length.
        """
        left = self._body_left
        if not self._send_body:
            return 0
        if left is not None and at_least > left:
            raise _miscounted(at_least - left)
        if size is None:
            return left
        if left is None:
            if not wanted.more_body and self.state == FIRST_BODY and self._trailers is None:
                self._declare(size)
            return size
        if (size < left and not wanted.more_body) or (size > left and wanted.count is not None):
            raise _miscounted(size - left)
        return min(size, left)

    def _declare(self, size: int) -> None:
        self._body_left = size
        self.fields = [*self.fields, (b"content-length", b"%d" % size)]
        self._encoded_head = self._encode_head(self.status, self.fields)

    def begin_file(self, pieces: list[bytes]) -> bool:
        """Bytes of a file shall leave as they are, and not as a part: false when they would have to be framed.

        Appends what comes before them. Until ``end_file`` nothing else can be sent. A response whose file never ends
        is never complete.
        """
        if self._body_left is None or not FIRST_BODY <= self.state <= BODY:
            return False
        if self.state == FIRST_BODY:
            self.state = BODY
            self._encode_body(b"", True, pieces)
        self.state = FILE
        return True

    def count_file_bytes(self, size: int) -> None:
        """So many have left."""
        assert self._body_left is not None, "begin_file has looked"
        self.work += size + MESSAGE_COST
        self.body_bytes += size
        self._body_left -= size

    def end_file(self) -> None:
        """They have all left, or the others follow as parts: the body goes on."""
        self.state = BODY

    # Other ends.

    def accept(self, handshake: "Handshake", fields: list[Pair], pieces: list[bytes]) -> None:
        """The response accepts a WebSocket with these fields; no HTTP follows."""
        self.fields = fields
        kinds = [kind_of(name) for name, _ in fields]
        self.has_date, self.has_server = DATE in kinds, SERVER in kinds
        self.state = COMPLETE
        self._encode_accept(handshake, pieces)

    def end_if_whole(self) -> bool:
        """Complete a response of which only the application's last message is missing; true if it is one.

        The client has all that was declared. It should not lose it, or wait for more.
        """
        if self.state in (BODY, TRAILERS) and (self._body_left == 0 or not self._send_body):
            self.state = COMPLETE
        return self.state == COMPLETE

    def field(self, name: bytes) -> bytes | None:
        """The first of the application's own fields of that name, once ``http.response.start`` was sent."""
        if self.state == START:
            return None
        return next((value.strip() for known, value in self.fields if known.lower() == name), None)

    def _encode_other(self, kind: Any, message: Message, pieces: list[bytes]) -> FileMessage | None:
        """What is neither start nor body, or comes at the wrong time."""
        self.work += MESSAGE_COST
        state = self.state
        if kind == "http.response.early_hint" and state <= BODY:
            self._hint(message, pieces)
        elif kind == "http.response.trailers" and state == TRAILERS:
            self._add_trailers(message, pieces)
        elif kind in FILE_TYPES and FIRST_BODY <= state <= BODY:
            return read_file_message(message)
        elif state != COMPLETE or kind not in _KNOWN_TYPES:  # after the end messages are ignored
            raise AppError(f"{kind!r} sent where {_EXPECTED[state]} is expected")
        return None

    def _start(self, message: Message) -> None:
        """Take ``http.response.start``. Repeated requests mostly get answers with one head: 2 us less (plaintext)."""
        status, headers, trailers = message.get("status"), message.get("headers", ()), message.get("trailers")
        known = self._head.answer
        if known and known[0] == headers and known[1] == status and not trailers:
            (
                _, self.status, self.fields, self._encoded_head, self._body_left, self._send_body, self._says_close,
                self.has_date, self.has_server,
            ) = known  # fmt: skip
            self._trailers = None
        else:
            self._read_start(status, headers, trailers)
            if known is not None and type(headers) is list and not trailers and _is_fixed(headers):
                self._head.answer = (
                    headers.copy(), status, self.fields, self._encoded_head, self._body_left, self._send_body,
                    self._says_close, self.has_date, self.has_server,
                )  # fmt: skip
        self.state = FIRST_BODY

    def _read_start(self, status: Any, headers: Any, trailers: Any) -> None:
        if not isinstance(status, int) or not 200 <= status <= 999:
            raise AppError(f"http.response.start with status {status!r}: a whole number from 200 to 999 is expected")
        self._says_close = self.has_date = self.has_server = False
        self._send_body = True
        self._trailers = self._body_left = None
        self.fields, length = self._sort_fields(headers)
        if status == 205:  # it has no content, and says so: clients wait for one (RFC 9110 §15.3.6)
            length, trailers = 0, None
        if trailers:  # HTTP/1.1 has no trailers where there is a length (RFC 9112 §7.1.2)
            self._trailers = []
        elif length is not None and status != 204:  # RFC 9110 §8.6
            self.fields.append((b"content-length", b"%d" % length))
            self._body_left = length
        if status in _WITHOUT_BODY or self._head.method == "HEAD":
            self._send_body = False
            self._body_left = None  # with HEAD and 304 the length is that of the body left out
        self._encoded_head = self._encode_head(status, self.fields)
        self.status = status

    def _sort_fields(self, headers: Any) -> tuple[list[Pair], int | None]:
        """The fields that are the application's business, and the body's length; what the others say is noted."""
        fields: list[Pair] = []
        length: int | None = None
        for header in headers if type(headers) is list else iterate(headers):
            try:
                name, value = header
            except (TypeError, ValueError):
                raise no_pair(header) from None
            try:
                kind = known_kind(name)
            except (TypeError, ValueError):  # no hash: a bytearray or a memoryview is a byte string too
                kind = None
            if kind is None or type(name) is not bytes or type(value) is not bytes:
                kind, name, value = read_field(name, value)
            if kind == PLAIN:
                fields.append((name, value))
            elif kind != LENGTH:
                self._note(kind, (name, value), fields)
            elif length is None:
                length = read_length(value)
            elif length != read_length(value):
                raise AppError(f"content-length {value!r:.50} contradicts another one, {length}")
        return fields, length

    def _note(self, kind: int, field: Pair, fields: list[Pair]) -> None:
        """A field that says something to the server, too."""
        if kind == CONNECTION:
            closes = says_close(field[1])
            self._says_close = self._says_close or closes is True
            if closes is None:
                fields.append(field)
        elif kind == DATE:
            self.has_date = True
            fields.append(field)
        elif kind == SERVER:
            self.has_server = True
            fields.append(field)

    def _add_trailers(self, message: Message, pieces: list[bytes]) -> None:
        """Trailer fields go out only to a client that keeps them (RFC 9110 §6.5.1, ``TE: trailers``)."""
        assert self._trailers is not None, "the start has announced them"
        fields = checked_fields(message.get("headers", ()), trailers=True)
        if self._head.meaning.accepts_trailers:
            self._trailers += fields
        if not message.get("more_trailers", False):
            self.state = COMPLETE
            self._encode_trailers(self._trailers, pieces)

    def _hint(self, message: Message, pieces: list[bytes]) -> None:
        """``103 Early Hints`` with one Link field each (RFC 8297).

        ASGI allows a hint until the last body message. Once the body has begun nothing of it can be sent.
        """
        links = message.get("links", ())
        if not isinstance(links, Iterable):
            raise AppError(f"the links of http.response.early_hint are a list, not {links!r:.100}")
        fields = checked_fields([(b"link", link) for link in links])
        if self.state <= FIRST_BODY:
            self._encode_hint(fields, pieces)

    # What a version of HTTP adds.

    @property
    def cut_is_visible(self) -> bool:
        """The body says where it ends: without that, the end of the stream is seen to come too early."""
        raise NotImplementedError

    def _encode_head(self, status: int, fields: list[Pair]) -> Any:
        """What can be said of the head before the body begins: made once for a request that is repeated.

        Raises:
            AppError: a character that cannot stand in a value.
        """
        raise NotImplementedError

    def _encode_body(self, data: bytes, is_first: bool, pieces: list[bytes]) -> None:
        """Append a part of the body, which may be empty; the head before the first one; after it what ``state`` says.

        ``state`` is BODY when more will come, TRAILERS when they do, COMPLETE when this is the end.
        """
        raise NotImplementedError

    def _encode_parts(self, parts: list[bytes], size: int, pieces: list[bytes]) -> int:
        """Append parts of ``size`` bytes, none of them the first or the last; returns the bytes appended."""
        raise NotImplementedError

    def _encode_trailers(self, fields: list[Pair], pieces: list[bytes]) -> None:
        """Append the end of a response with trailers; there may be no fields in them."""
        raise NotImplementedError

    def _encode_hint(self, fields: list[Pair], pieces: list[bytes]) -> None:
        """Append an interim response, 103, if this client knows of such."""
        raise NotImplementedError

    def _encode_accept(self, handshake: "Handshake", pieces: list[bytes]) -> None:
        """Append the response that accepts ``handshake`` with ``fields``, and set ``status``."""
        raise NotImplementedError


def _is_fixed(headers: list[Any]) -> bool:
    """None of these can be changed: a list or bytearray can, and would still be equal to itself."""
    try:
        hash(tuple(headers))
    except (TypeError, ValueError):  # a writable memoryview raises the latter
        return False
    return True


def _miscounted(surplus: int) -> AppError:
    """The application is held to its content-length, because the client counts too (RFC 9112 §6.3)."""
    how = "longer" if surplus > 0 else "shorter"
    return AppError(f"response body is {abs(surplus)} bytes {how} than its content-length")


def _as_bytes(data: Any) -> bytes:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise AppError(f"the body of http.response.body is bytes, not {type(data).__name__}")
