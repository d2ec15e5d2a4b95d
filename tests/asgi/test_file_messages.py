"""Files in a response: what may be said of one, when, and what its length means (ASGI extensions, RFC 9112 §6.3)."""

from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.response_reading import Answer, answer, body, head_of, start, trailers
from trioserve._asgi import FileMessage, State
from trioserve._errors import AppError


def pathsend(path: Any = "/a") -> dict[str, Any]:
    return {"type": "http.response.pathsend", "path": path}


def zerocopysend(**others: Any) -> dict[str, Any]:
    return {"type": "http.response.zerocopysend", "file": 3, **others}


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


def asked(made: Answer, message: Any) -> FileMessage:
    """The file that ``message`` speaks of; nothing has been put on the wire."""
    pieces: list[bytes] = []
    file = made.response.encode(message, pieces)
    assert file is not None
    assert pieces == []
    return file


# -- the messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/a", "relative/ä", b"/bytes", Path("/a/path")])
def test_a_path(path: Any) -> None:
    file = asked(answer(start()), pathsend(path))
    assert file == FileMessage(path=str(path) if isinstance(path, Path) else path, offset=0)


def test_an_open_file() -> None:
    made = answer(start())
    assert asked(made, zerocopysend()) == FileMessage(file=3)
    told = zerocopysend(offset=5, count=6, more_body=True)
    assert asked(made, told) == FileMessage(file=3, offset=5, count=6, more_body=True)
    numbers = IntEnum("numbers", {"FIVE": 5, "SIX": 6})
    assert asked(made, zerocopysend(offset=numbers.FIVE, count=numbers.SIX)) == FileMessage(file=3, offset=5, count=6)
    assert asked(made, zerocopysend(offset=None, count=None, more_body=False)) == FileMessage(file=3)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"type": "http.response.pathsend"}, "path"),
        (pathsend(None), "path"), (pathsend(""), "path"), (pathsend(5), "path"), (pathsend(["/a"]), "path"),
        ({"type": "http.response.zerocopysend"}, "open file"),
        (zerocopysend(offset=-1), "offset"), (zerocopysend(offset="0"), "offset"), (zerocopysend(offset=1.0), "offset"),
        (zerocopysend(count=-1), "count"), (zerocopysend(count=True), "count"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(message: dict[str, Any], complaint: str) -> None:
    made = answer(start())
    with pytest.raises(AppError, match=complaint):
        made.response.encode(message, [])
    made.send(body(b"instead"))
    assert made.read().body == b"instead"


@pytest.mark.parametrize("message", [pathsend(), zerocopysend()])
def test_the_place_of_a_file_is_that_of_a_body(message: dict[str, Any]) -> None:
    for made in (answer(), answer(start(trailers=True), body())):
        with pytest.raises(AppError, match="is expected"):
            made.response.encode(message, [])
    asked(answer(start(), body(b"a", more=True)), message)
    assert answer(start(), body()).response.encode(message, []) is None, "after the end messages are ignored"


# -- lengths ---------------------------------------------------------------------------------------------------------


def expect(made: Answer, size: int | None, message: Any) -> int | None:
    return made.response.expect_file(size, asked(made, message))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_length_of_a_file_that_is_all_of_the_body_is_declared(version: str) -> None:
    made = answer(start(), head=head_of(version=version))
    assert expect(made, 5, pathsend()) == 5
    made.send(body(b"12", more=True))
    made.send(body(b"345"))
    assert made.values(b"content-length") == [b"5"]
    assert made.content == b"12345"
    assert made.response.field(b"content-length") == b"5"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([start()], zerocopysend(more_body=True)),
        ([start(), body(b"a", more=True)], zerocopysend()),
        ([start(trailers=True)], pathsend()),
    ],
    ids=["more follows", "something came before", "trailers follow"],
)
def test_otherwise_the_body_is_chunked(messages: list[Any], message: Any) -> None:
    made = answer(*messages)
    assert expect(made, 5, message) == 5
    assert made.response.begin_file([]) is False, "whose chunks are parts"
    made.send(body(b"12345", more=True))
    assert made.values(b"transfer-encoding") == [b"chunked"]
    assert made.values(b"content-length") == []


def test_a_repeated_answer_is_not_given_the_length_of_the_one_before() -> None:
    head = head_of()
    for size in (5, 6, 7):
        made = answer(start(), head=head)
        expect(made, size, pathsend())
        made.send(body(b"x" * size))
        assert made.values(b"content-length") == [b"%d" % size]


def test_a_file_that_has_grown_is_sent_as_far_as_was_declared() -> None:
    assert expect(answer(start(headers=length(5))), 6, pathsend()) == 5
    assert expect(answer(start(headers=length(5))), 6, zerocopysend()) == 5
    assert expect(answer(start(headers=length(5)), body(b"12", more=True)), 6, zerocopysend()) == 3


def test_a_count_is_meant() -> None:
    with pytest.raises(AppError, match="1 bytes longer than its content-length"):
        expect(answer(start(headers=length(5))), 6, zerocopysend(count=6))
    assert expect(answer(start(headers=length(5))), 5, zerocopysend(count=6)) == 5


def test_a_file_that_is_too_short_is_refused() -> None:
    for message in (pathsend(), zerocopysend()):
        with pytest.raises(AppError, match="2 bytes shorter than its content-length"):
            expect(answer(start(headers=length(5))), 3, message)
    assert expect(answer(start(headers=length(5))), 3, zerocopysend(more_body=True)) == 3


def test_a_file_of_unknown_length() -> None:
    assert expect(answer(start()), None, zerocopysend()) is None
    assert expect(answer(start(headers=length(5))), None, zerocopysend()) == 5


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
def test_no_bytes_where_there_is_no_body(status: int, method: str) -> None:
    made = answer(start(status), head=head_of(method=method))
    assert expect(made, 5, pathsend()) == 0
    assert made.response.begin_file([]) is False
    made.send(body())
    assert made.content == b""
    assert made.values(b"content-length") == []


# -- bytes that take another way -------------------------------------------------------------------------------------


def test_a_file_between_two_parts() -> None:
    made = answer(start(headers=length(6)), body(b"1", more=True))
    assert expect(made, 3, zerocopysend(more_body=True)) == 3
    pieces: list[bytes] = []
    assert made.response.begin_file(pieces)
    assert made.response.state == State.FILE
    assert pieces == [], "the head has left"
    made.response.count_file_bytes(3)
    made.response.end_file()
    made.send(body(b"56"))
    assert made.response.state == State.COMPLETE
    assert made.response.body_bytes == 6


def test_the_head_comes_before_the_file() -> None:
    made = answer(start(headers=length(3)))
    expect(made, 3, pathsend())
    pieces: list[bytes] = []
    assert made.response.begin_file(pieces)
    assert b"".join(pieces).startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n")
    assert b"".join(pieces).endswith(b"\r\n\r\n")


def test_what_has_been_sent_counts() -> None:
    made = answer(start(headers=length(3)))
    expect(made, 3, pathsend())
    made.response.begin_file([])
    made.response.count_file_bytes(2)
    made.response.end_file()
    with pytest.raises(AppError, match="1 bytes shorter"):
        made.send(body())
    made.send(body(b"3"))
    assert made.response.state == State.COMPLETE


def test_a_file_that_does_not_end_leaves_the_response_incomplete() -> None:
    made = answer(start(headers=length(3)))
    expect(made, 3, pathsend())
    made.response.begin_file([])
    made.response.count_file_bytes(3)
    assert not made.response.end_if_whole()
    assert made.response.cut_is_visible
    assert made.response.begin_file([]) is False, "nor does another one begin"


def test_trailers_after_a_file() -> None:
    made = answer(start(trailers=True), head=head_of(b"TE: trailers"))
    expect(made, 2, pathsend())
    made.send(body(b"ab"))
    made.send(trailers([(b"x", b"y")]))
    assert made.read().trailers == [(b"x", b"y")]
