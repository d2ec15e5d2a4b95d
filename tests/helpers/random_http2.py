"""What a client of HTTP/2 may send in the middle of its requests, right or wrong. The same seed, the same bytes."""

from random import Random
from typing import Final

from hpack import Encoder

from tests.helpers.ws_frames import TEXT, close_frame, frame

__all__ = ["RandomHttp2"]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE: Final = 4
CODES: Final = (0, 1, 2, 5, 8, 11)
WINDOWS: Final = (0, 1, 100, 65535, 2**20, 2**31 - 1)


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


class RandomHttp2:
    """One connection, whose requests are for ``paths``, and for WebSockets."""

    def __init__(self, random: Random, paths: tuple[str, ...]) -> None:
        self._random = random
        self._paths = paths
        self._encoder = Encoder()
        self._streams: list[int] = []
        self.opening = PREFACE + _frame(SETTINGS, 0, 0, self._window_setting())

    def piece(self) -> bytes:
        """Some frames."""
        kinds = [self._request] * 8 + [self._body] * 4 + [self._reset, self._window] * 2 + [
            self._trailers, self._settings, self._ping, self._wrong]
        return b"".join(self._random.choice(kinds)() for _ in range(self._random.randint(1, 6)))

    def _stream(self) -> int:
        return self._random.choice(self._streams or [1])

    def _request(self) -> bytes:
        random, stream_id = self._random, 2 * len(self._streams) + 1
        self._streams.append(stream_id)
        method = random.choice(("GET", "GET", "POST", "POST", "HEAD", "CONNECT"))
        fields = [
            (":method", method), (":scheme", "http"), (":authority", "a"), (":path", random.choice(self._paths))]
        if method == "CONNECT":
            fields += [(":protocol", "websocket"), ("sec-websocket-version", "13")]
        elif random.random() < 0.3:
            fields.append(("content-length", random.choice(("0", "5", "7"))))
        if random.random() < 0.2:
            fields.append(("priority", random.choice(("u=0", "u=7, i", "no priority"))))
        block = self._encoder.encode(fields)
        ends = END_STREAM if method in ("GET", "HEAD") else 0
        if random.random() < 0.1:
            return _frame(HEADERS, ends, stream_id, block[:9]) + _frame(CONTINUATION, END_HEADERS, stream_id, block[9:])
        return _frame(HEADERS, ends | END_HEADERS, stream_id, block)

    def _body(self) -> bytes:
        data = self._random.choice((b"", b"hello", b"x" * 16000, frame(TEXT, b"text"), close_frame(1000)))
        return _frame(DATA, self._random.choice((0, END_STREAM)), self._stream(), data)

    def _trailers(self) -> bytes:
        block = self._encoder.encode(self._random.choice(([("x-sum", "1")], [(":path", "/")], [("Upper", "1")])))
        return _frame(HEADERS, END_STREAM | END_HEADERS, self._stream(), block)

    def _reset(self) -> bytes:
        return _frame(RST_STREAM, 0, self._stream(), _number(self._random.choice(CODES)))

    def _window(self) -> bytes:
        stream_id, size = self._random.choice((0, self._stream())), self._random.choice((1, 65535))
        return _frame(WINDOW_UPDATE, 0, stream_id, _number(size))

    def _settings(self) -> bytes:
        return _frame(SETTINGS, 0, 0, self._window_setting())

    def _window_setting(self) -> bytes:
        return INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _number(self._random.choice(WINDOWS))

    def _ping(self) -> bytes:
        return _frame(PING, 0, 0, bytes(8))

    def _wrong(self) -> bytes:
        """An error of the connection, or its end, mostly."""
        return self._random.choice((
            b"", b"", b"", _frame(GOAWAY, 0, 0, bytes(8)), _frame(DATA, 0, 0, b"x"), _frame(PING, 0, 1, bytes(8)),
            _frame(WINDOW_UPDATE, 0, self._stream(), _number(2**31 - 1)),
        ))  # fmt: skip
