"""The same bytes over memory and over a real socket: the answers are the same, and so are the ends and access lines."""

import re
from dataclasses import dataclass
from typing import Final

import h2.config
import h2.connection
import pytest

from tests.helpers.http2_transcript import Http2Transcript
from tests.helpers.places import PLACES, Saying, load_app, talk
from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import handshake
from tests.helpers.ws_frames import BINARY, CONTINUATION, PING, TEXT, close_frame, frame

pytestmark = pytest.mark.real_clock

LAST: Final = "connection: close"
CHUNKED: Final = "transfer-encoding: chunked"


@dataclass
class Heard:
    """All bytes until the end, whether that was a reset, and the access lines."""

    data: bytes
    reset: bool
    lines: list[str]


async def heard_in_both(saying: Saying) -> list[Heard]:
    """In memory, and over a socket."""
    heard = []
    for serve in PLACES:
        async with serve(load_app("probe:app"), **saying.options) as place:
            data, reset = await talk(place, saying)
        data = re.sub(rb"x-client-port: \d+", b"x-client-port: 1", data)
        heard.append(Heard(data, reset, place.lines))
    return heard


# -- HTTP/1.1 and WebSockets -----------------------------------------------------------------------------------------

HTTP1: Final = {
    "a response": Saying(get("/hello", LAST)),
    "HEAD": Saying(get("/hello", LAST, method="HEAD")),
    "HTTP/1.0": Saying(get("/hello", version="1.0")),
    "two requests at once": Saying(get("/echo", method="POST") + get("/nowhere", LAST)),
    "a body with a length": Saying(post(b"abc", LAST, target="/echo")),
    "a chunked body": Saying(get("/echo", CHUNKED, LAST, method="POST") + b"3\r\nabc\r\n0\r\n\r\n"),
    "a body that is longer than is held in memory": Saying(post(bytes(300_000), LAST, target="/digest")),
    "an answer of one part": Saying(get("/parts?count=1", LAST)),  # of several parts, time decides what is a chunk
    "an answer in many parts to HTTP/1.0": Saying(get("/parts?count=200", version="1.0")),
    "100-continue": Saying(get("/echo", "expect: 100-continue", "content-length: 3", LAST, method="POST") + b"abc"),
    "a query": Saying(get("/hello?a=1&b=%20", LAST)),
    "no host": Saying(b"GET /hello HTTP/1.1\r\n\r\n"),
    "two lengths": Saying(get("/echo", "content-length: 3", "content-length: 4", method="POST")),
    "a length and chunks": Saying(get("/echo", "content-length: 3", CHUNKED, method="POST")),
    "a bad chunk": Saying(get("/echo", CHUNKED, method="POST") + b"xyz\r\n"),
    "no version": Saying(b"GET /hello\r\n\r\n"),
    "another version": Saying(get("/hello", version="3.0")),
    "a head that is too large": Saying(get("/hello", "x: " + "y" * 100_000)),
    "no HTTP": Saying(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "TRACE": Saying(get("/hello", LAST, method="TRACE")),
    "a limit of requests": Saying(get("/hello") * 3, options={"limit_requests_per_connection": 2}),
}
EARLY: Final = {
    "an answer before a short body": Saying(post(b"abc", LAST, target="/hello")),
    "an answer before a long body": Saying(post(bytes(300_000), LAST, target="/hello")),
    "an answer before a long body, and the next request": Saying(
        post(bytes(300_000), target="/hello") + get("/nowhere", LAST)),
    "an answer before the rest of a body": Saying(post(b"abc", LAST, target="/hello", length=10)),
    "an answer before the rest of a chunked body": Saying(
        get("/hello", CHUNKED, LAST, method="POST") + b"3\r\nabc\r\n"),
    "a body that is not waited for": Saying(get("/hello", "expect: 100-continue", "content-length: 3", method="POST")),
    "a body that is too large": Saying(
        post(bytes(300_000), target="/echo"), options={"limit_request_body": 1000}),
    "a chunked body that is too large": Saying(
        get("/echo", CHUNKED, method="POST") + b"800\r\n" + bytes(2048) + b"\r\n",
        options={"limit_request_body": 1000}),
    "an answer that takes too long": Saying(get("/hang", LAST), options={"timeout_request": 0.05}),
    "a body that stops": Saying(post(b"abc", target="/echo", length=10), options={"timeout_body": 0.05}),
}
HALF_CLOSED: Final = {
    f"{name}, and no more": Saying(saying.data, half_closes=True, options=saying.options) for name, saying in {
        "nothing": Saying(b""),
        "half a head": Saying(b"GET /hello HTTP/1.1\r\nhos"),
        "a request": Saying(get("/hello")),
        "a last request": Saying(get("/hello", LAST)),
        "two requests": Saying(get("/hello") + get("/nowhere")),
        "a request and a half": Saying(get("/hello") + b"GET /"),
        "a body": Saying(post(b"abc", target="/echo")),
        "half a body": Saying(post(b"abc", target="/echo", length=10)),
        "half a body that nobody reads": Saying(post(b"abc", target="/hello", length=10)),
        "half a chunk": Saying(get("/echo", CHUNKED, method="POST") + b"5\r\nab"),
        "a request that waits": Saying(get("/hang"), options={"on_disconnect": "cancel"}),
        "a request whose answer has begun": Saying(get("/watch")),
        "a handshake": Saying(handshake(target="/undecided")),
        "a WebSocket": Saying(handshake(target="/echo") + frame(TEXT, b"hello")),
    }.items()
}
FAILING: Final = {
    "an application that raises": Saying(get("/fail", LAST)),
    "an application that raises, and the next request": Saying(get("/fail") + get("/hello", LAST)),
    "an application that raises in a group": Saying(get("/fail_in_group", LAST)),
    "an application that raises after the head": Saying(get("/fail_midway")),
    "an application that raises after the head of HTTP/1.0": Saying(get("/fail_midway", version="1.0")),
    "an application that raises with a body to come": Saying(post(b"abc", target="/fail", length=10)),
    "an application that returns without an answer": Saying(get("/return_early", LAST)),
    "an application that returns after the head": Saying(get("/return_midway")),
    "an answer that is too short": Saying(get("/return_short")),
    **{f"nonsense: {kind}": Saying(get(f"/nonsense?kind={kind}", LAST)) for kind in (
        "not-a-dict", "no-type", "unknown-type", "body-first", "start-twice", "status-text", "status-interim",
        "header-text", "header-injection", "header-name", "body-text", "body-too-long", "body-too-short", "websocket")},
}
DEFLATE: Final = "sec-websocket-extensions: permessage-deflate"
WEBSOCKETS: Final = {
    "messages": Saying(
        handshake(target="/echo") + frame(TEXT, b"hello") + frame(BINARY, bytes(70_000)) + close_frame(1000)),
    "a ping": Saying(handshake(target="/echo") + frame(PING, b"there?") + close_frame(4000, b"bye")),
    "fragments": Saying(
        handshake(target="/echo") + frame(TEXT, b"he", fin=False) + frame(PING) + frame(CONTINUATION, b"llo")
        + close_frame()),
    "compression": Saying(handshake(DEFLATE, target="/echo") + frame(TEXT, b"hello" * 100) + close_frame(1000)),
    "subprotocols": Saying(handshake("sec-websocket-protocol: chat, talk", target="/scope?a=1") + close_frame(1000)),
    "a bad frame": Saying(handshake(target="/echo") + b"\xff\x80\x00\x00\x00\x00"),
    "a frame without a mask": Saying(handshake(target="/echo") + frame(TEXT, b"hello", mask=None)),
    "no UTF-8": Saying(handshake(target="/echo") + frame(TEXT, b"\xff")),
    "a message that is too large": Saying(
        handshake(target="/echo") + frame(TEXT, bytes(2000)), options={"ws_max_size": 1000}),
    "an end by the application": Saying(handshake(target="/close?code=4001&reason=over") + close_frame(4001)),
    "an application that raises": Saying(handshake(target="/fail") + frame(TEXT, b"hello") + close_frame(1011)),
    "a refusal": Saying(handshake(target="/refuse")),
    "a denial": Saying(handshake(target="/deny")),
    "no such path": Saying(handshake(target="/nowhere")),
    "another version": Saying(handshake(target="/echo", version="7")),
    "no key": Saying(get("/echo", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13")),
}


@pytest.mark.parametrize("saying", [
    *(pytest.param(saying, id=f"{kind}: {name}") for kind, sayings in {
        "HTTP/1.1": HTTP1, "early": EARLY, "half-closed": HALF_CLOSED, "failing": FAILING, "WebSocket": WEBSOCKETS,
    }.items() for name, saying in sayings.items())])
async def test_bytes(saying: Saying) -> None:
    in_memory, on_socket = await heard_in_both(saying)
    assert in_memory == on_socket


async def test_a_case_is_heard() -> None:
    """What the comparison compares is there."""
    for heard in await heard_in_both(HTTP1["two requests at once"]):
        assert heard.data.count(b"HTTP/1.1 ") == 2
        assert not heard.reset
        assert heard.lines == ['127.0.0.1 "POST /echo HTTP/1.1" 200 0 -', '127.0.0.1 "GET /nowhere HTTP/1.1" 404 17 -']


# -- HTTP/2 ----------------------------------------------------------------------------------------------------------


class Script:
    """The bytes of a client of HTTP/2 that does not listen (RFC 9113 §3.4)."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 20)

    def ask(self, path: str, body: bytes | None = None, *, ends: bool = True, method: str = "GET") -> "Script":
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)]
        self._h2.send_headers(stream, head, end_stream=ends and body is None)
        if body is not None:
            self._h2.send_data(stream, body, end_stream=ends)
        return self

    def reset(self, stream: int) -> "Script":
        self._h2.reset_stream(stream, 8)
        return self

    def goodbye(self) -> bytes:
        self._h2.close_connection()
        return self._h2.data_to_send()


HTTP2: Final = {
    "a response": Script().ask("/hello").goodbye(),
    "two at once": Script().ask("/hello").ask("/nowhere").goodbye(),
    "a body": Script().ask("/echo", b"abc", method="POST").goodbye(),
    "an answer in many parts": Script().ask("/parts?count=20").goodbye(),
    "HEAD": Script().ask("/hello", method="HEAD").goodbye(),
    "an answer before the rest of a body": Script().ask("/hello", b"abc", ends=False, method="POST").goodbye(),
    "an application that raises": Script().ask("/fail").goodbye(),
    "an application that raises after the head": Script().ask("/fail_midway").ask("/hello").goodbye(),
    "an answer that is too short": Script().ask("/return_short").goodbye(),
    "a stream that is reset": Script().ask("/hang").reset(1).ask("/hello").goodbye(),
    "no such method": Script().ask("/hello", method="a b").goodbye(),
}


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
@pytest.mark.parametrize("name", HTTP2)
async def test_http_2(name: str, engine: str) -> None:
    saying = Saying(HTTP2[name], half_closes=True, options={"http2": True, "http2_engine": engine})
    in_memory, on_socket = await heard_in_both(saying)
    transcript = Http2Transcript.of(in_memory.data)
    assert transcript == Http2Transcript.of(on_socket.data)
    assert transcript.statuses or transcript.resets
    assert in_memory.reset == on_socket.reset
    assert sorted(in_memory.lines) == sorted(on_socket.lines)  # requests that are served at the same time
