"""Which messages an application may send on a WebSocket, when, and what may be in them (ASGI WebSocket 2.5)."""

from collections import UserDict
from enum import Enum, IntEnum
from typing import Any

import pytest

from tests.helpers.response_reading import head_of
from tests.helpers.ws_frames import BINARY, TEXT, Frame, handshake_head, read_frames
from trioserve._asgi import Dated
from trioserve._asgi.http1_response import Http1Response
from trioserve._asgi.websocket import WebSocketSession, WebSocketState
from trioserve._errors import AppError
from trioserve._protocol.websocket.handshake import read_handshake

CONNECTING, DENYING, OPEN, CLOSED = WebSocketState

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
DENY = {"type": "websocket.http.response.start", "status": 401}
DENY_BODY = {"type": "websocket.http.response.body", "body": b"no"}
SEND = {"type": "websocket.send", "text": "a"}

REACHED: dict[WebSocketState, list[dict[str, Any]]] = {CONNECTING: [], DENYING: [DENY], OPEN: [ACCEPT]}


class Markup(str):
    """As FastHTML sends one: templates escape no text of this type."""

    __slots__ = ()


class Text(str, Enum):  # noqa: UP042  # what str() makes of one is its name
    GREETING = "hello"


class Code(IntEnum):
    OF_ITS_OWN = 4000


class Said:
    """A session, and what it has put on the wire."""

    def __init__(self, *fields: tuple[bytes, bytes], deflate: bool = True) -> None:
        handshake = read_handshake(handshake_head(*fields), deflate=deflate)
        response = Http1Response(head_of(), self._standing_fields)
        response.keep_alive = False  # as the connection has it
        self.session = WebSocketSession(handshake, response, 1000)
        self.wire = b""

    def _standing_fields(self, response: Dated) -> bytes:
        date = b"" if response.has_date else b"date: now\r\n"
        return date + (b"" if response.has_server else b"server: us\r\n") + b"\r\n"

    def send(self, *messages: Any) -> bytes:
        """What the messages put on the wire."""
        pieces: list[bytes] = []
        for message in messages:
            self.session.encode(message, pieces)
        return b"".join(pieces)

    def refuses(self, message: Any) -> str:
        """Why ``message`` is refused; nothing has changed."""
        before, pieces = self.session.state, list[bytes]()
        with pytest.raises(AppError) as error:
            self.session.encode(message, pieces)
        assert (self.session.state, pieces) == (before, [])
        return str(error.value)


def at(state: WebSocketState, *fields: tuple[bytes, bytes]) -> Said:
    said = Said(*fields)
    said.send(*REACHED[state])
    assert said.session.state == state
    return said


# -- order -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "message", "after"),
    [
        (CONNECTING, ACCEPT, OPEN), (CONNECTING, CLOSE, CLOSED), (CONNECTING, DENY, DENYING),
        (DENYING, DENY_BODY, CLOSED), (DENYING, {**DENY_BODY, "more_body": True}, DENYING),
        (OPEN, SEND, OPEN), (OPEN, CLOSE, CLOSED),
    ],
)
def test_messages_that_are_expected(state: WebSocketState, message: dict[str, Any], after: WebSocketState) -> None:
    said = at(state)
    said.send(message)
    assert said.session.state == after


@pytest.mark.parametrize(
    ("state", "messages"),
    [
        (CONNECTING, [SEND, DENY_BODY]), (DENYING, [ACCEPT, CLOSE, SEND, DENY]), (OPEN, [ACCEPT, DENY, DENY_BODY]),
    ],
)
def test_messages_that_are_not(state: WebSocketState, messages: list[dict[str, Any]]) -> None:
    for message in messages:
        reason = at(state).refuses(message)
        assert repr(message["type"]) in reason
        assert "is expected" in reason


@pytest.mark.parametrize("state", [CONNECTING, DENYING, OPEN])
@pytest.mark.parametrize(
    "message", [None, {}, [], "websocket.send", {"type": None}, {"type": "http.response.start", "status": 200},
                {"type": "websocket.unheard-of"}, {"type": "websocket.connect"}, {"type": "websocket.receive"}],
)  # fmt: skip
def test_what_is_no_message(state: WebSocketState, message: Any) -> None:
    at(state).refuses(message)


def test_any_mapping_is_a_message_and_unknown_keys_do_not_matter() -> None:
    said = at(CONNECTING)
    said.send(UserDict(ACCEPT, unheard="of"))
    assert read_frames(said.send(UserDict(SEND, more=1))) == [Frame(TEXT, b"a")]


# -- accept: RFC 6455 §4.2.2 -------------------------------------------------------------------------------------------


def test_the_whole_answer() -> None:
    said = Said((b"sec-websocket-protocol", b"a, b"), (b"sec-websocket-extensions", b"permessage-deflate"))
    assert said.send({**ACCEPT, "subprotocol": "b", "headers": [(b"X-A", b"1"), [b"x-b", b""]]}) == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"upgrade: websocket\r\n"
        b"connection: upgrade\r\n"
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"sec-websocket-protocol: b\r\n"
        b"sec-websocket-extensions: permessage-deflate\r\n"
        b"X-A: 1\r\n"
        b"x-b: \r\n"
        b"date: now\r\n"
        b"server: us\r\n"
        b"\r\n"
    )
    assert said.session.response.status == 101


@pytest.mark.parametrize("subprotocol", ["c", "A", b"a", b"", 0, 1])
def test_a_subprotocol_that_was_not_offered(subprotocol: Any) -> None:
    said = Said((b"sec-websocket-protocol", b"a, b"))
    assert "did not offer" in said.refuses({**ACCEPT, "subprotocol": subprotocol})


@pytest.mark.parametrize("subprotocol", [None, ""])
def test_no_subprotocol_is_fine(subprotocol: str | None) -> None:
    said = Said((b"sec-websocket-protocol", b"a"))
    assert b"sec-websocket-protocol" not in said.send({**ACCEPT, "subprotocol": subprotocol})


@pytest.mark.parametrize("name", [
    b"sec-websocket-protocol", b"Sec-WebSocket-Accept", b"sec-websocket-extensions", b":status"])
def test_headers_that_are_not_the_applications(name: bytes) -> None:
    Said().refuses({**ACCEPT, "headers": [(name, b"x")]})


@pytest.mark.parametrize("headers", [
    [(b"x", b"a\r\ny: b")], [(b"x\r\n", b"a")], [(b"x", b"\0")], [("x", b"a")], [(b"x", "a")], [b"x"], [(b"x",)], 1])
def test_malformed_headers(headers: Any) -> None:
    Said().refuses({**ACCEPT, "headers": headers})


def test_headers_about_the_connection_are_the_servers() -> None:
    names = (b"connection", b"upgrade", b"Upgrade", b"content-length", b"transfer-encoding", b"keep-alive")
    assert Said().send({**ACCEPT, "headers": [(name, b"5") for name in names]}) == Said().send(ACCEPT)


def test_a_date_and_server_of_its_own_are_not_doubled() -> None:
    answer = Said().send({**ACCEPT, "headers": iter([(b"Date", b"then"), (b"server", b"them")])})
    assert b"Date: then\r\nserver: them\r\n\r\n" in answer
    assert answer.lower().count(b"\r\ndate:") == 1


# -- refusal, denial ---------------------------------------------------------------------------------------------------


def test_closing_before_accepting_is_a_403() -> None:
    said = Said()
    assert said.send({**CLOSE, "code": 4000}).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert said.session.response.status == 403


def test_a_denial_follows_the_rules_of_a_response() -> None:
    said = Said()
    assert "status" in said.refuses({**DENY, "status": 101})
    answer = said.send({**DENY, "headers": [(b"x-a", b"1")], "trailers": True}, DENY_BODY)
    assert answer == (
        b"HTTP/1.1 401 Unauthorized\r\nx-a: 1\r\ncontent-length: 2\r\nconnection: close\r\n"
        b"date: now\r\nserver: us\r\n\r\nno"
    )


def test_a_denial_is_held_to_its_content_length() -> None:
    said = Said()
    said.send({**DENY, "headers": [(b"content-length", b"5")]})
    assert "shorter" in said.refuses(DENY_BODY)


# -- send --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ({"text": "é"}, TEXT, "é".encode()), ({"text": ""}, TEXT, b""), ({"bytes": b""}, BINARY, b""),
        ({"text": "a", "bytes": None}, TEXT, b"a"), ({"text": None, "bytes": b"a"}, BINARY, b"a"),
        ({"text": Markup("é")}, TEXT, "é".encode()), ({"text": Text.GREETING}, TEXT, b"hello"),
        ({"bytes": bytearray(b"a")}, BINARY, b"a"), ({"bytes": memoryview(b"a")}, BINARY, b"a"),
    ],
)
def test_text_or_bytes(message: dict[str, Any], opcode: int, payload: bytes) -> None:
    assert read_frames(at(OPEN).send({"type": "websocket.send", **message})) == [Frame(opcode, payload)]


@pytest.mark.parametrize("message", [
    {}, {"text": None}, {"text": None, "bytes": None}, {"text": "a", "bytes": b"a"}, {"text": "", "bytes": b""},
    {"text": b"a"}, {"bytes": "a"}, {"text": 1}, {"bytes": [1]}, {"text": "\ud800"}])
def test_neither_text_nor_bytes(message: dict[str, Any]) -> None:
    assert "websocket.send" in at(OPEN).refuses({"type": "websocket.send", **message})


# -- close: RFC 6455 §7.4 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    said = at(OPEN)
    [close] = read_frames(said.send({**CLOSE, "code": code, "reason": "why"}))
    assert (close.close_code, close.close_reason) == (code, "why")
    assert said.session.disconnect() == {"type": "websocket.disconnect", "code": code, "reason": "why"}


@pytest.mark.parametrize("reason", [Text.GREETING, Markup("hello")])
def test_a_code_and_a_reason_may_be_of_a_subclass(reason: str) -> None:
    said = at(OPEN)
    [close] = read_frames(said.send({**CLOSE, "code": Code.OF_ITS_OWN, "reason": reason}))
    assert (close.close_code, close.close_reason) == (4000, "hello")
    received = said.session.disconnect()
    assert (type(received["code"]), type(received["reason"])) == (int, str)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, -1, "1000", 1000.0, None, True])
def test_codes_that_may_not(code: Any) -> None:
    assert "close code" in at(OPEN).refuses({**CLOSE, "code": code})


@pytest.mark.parametrize(("message", "code", "reason"), [
    ({}, 1000, ""), ({"reason": None}, 1000, ""), ({"reason": "bye"}, 1000, "bye"), ({"code": 1005}, 1005, "")])
def test_what_need_not_be_said(message: dict[str, Any], code: int, reason: str) -> None:
    [close] = read_frames(at(OPEN).send({**CLOSE, **message}))
    assert (close.close_code, close.close_reason) == (code, reason)


@pytest.mark.parametrize("reason", [b"bye", 1, "\ud800"])
def test_a_reason_is_text(reason: Any) -> None:
    assert "reason" in at(OPEN).refuses({**CLOSE, "reason": reason})


def test_the_first_end_is_the_one_that_counts() -> None:
    said = at(OPEN)
    said.send({**CLOSE, "code": 4000, "reason": "first"})
    said.session.end(1006, "later")
    assert said.session.disconnect() == {"type": "websocket.disconnect", "code": 4000, "reason": "first"}
