"""Answers to the same request again and again, whose heads are remembered: nobody can tell."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.response_reading import answer, body, head_of, repeated_head, start, trailers
from trioserve._asgi import State
from trioserve._errors import AppError


def test_an_answer_is_what_it_was() -> None:
    head = repeated_head()
    headers = [(b"content-length", b"2"), (b"x", b"y"), (b"date", b"now")]
    expected = answer(start(headers=headers), body(b"ab")).wire
    for _ in range(5):
        assert answer(start(headers=list(headers)), body(b"ab"), head=head).wire == expected


def test_answers_that_alternate_do_not_mix() -> None:
    head = repeated_head()
    starts = [
        start(headers=[(b"x", b"1")]), start(headers=[(b"x", b"2")]), start(404, headers=[(b"x", b"1")]), start(),
        start(headers=[(b"connection", b"close")]), start(headers=[(b"content-length", b"2")]), start(204),
        start(headers=[(b"x", b"1")], trailers=True),
    ]  # fmt: skip
    for index in (0, 0, 0, 1, 0, 1, 1, 2, 2, 0, 0, 3, 3, 3, 4, 4, 4, 3, 5, 5, 5, 0, 6, 6, 6, 3, 7, 7, 0, 0, 0, 7):
        made = answer(starts[index], body(b"ab", more=False), trailers(), head=head)
        alone = answer(starts[index], body(b"ab"), trailers())
        assert made.wire == alone.wire
        assert made.response.keep_alive == alone.response.keep_alive
        assert made.response.state == State.COMPLETE


def test_what_an_application_changes_in_its_headers_later_is_seen() -> None:
    head, headers = repeated_head(), [(b"x", b"0")]
    for number in range(5):
        headers[0] = (b"x", b"%d" % number)
        assert answer(start(headers=headers), body(), head=head).values(b"x") == [b"%d" % number]


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data)), memoryview])
def test_what_it_changes_inside_a_header_is_seen(kind: Any) -> None:
    """A pair may be a list, and a value may be what can be changed, where both are accepted."""
    head, pair = repeated_head(), [b"x", b"0"]
    for number in range(5):
        pair[1] = kind(b"%d" % number)
        for header in (pair, tuple(pair)):
            made = answer(start(headers=[header]), body(), head=head)
            assert made.values(b"x") == [b"%d" % number]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", [bytearray, lambda data: memoryview(bytearray(data))])
def test_what_it_changes_in_place_is_seen(place: int, kind: Any) -> None:
    head, pair = repeated_head(), list[Any]((b"x0", b"y0"))
    pair[place] = kind(pair[place])
    headers = [tuple(pair)]
    for number in range(5):
        pair[place][1:] = b"%d" % number
        expected = [b"x0", b"y0"]
        expected[place] = bytes(pair[place])
        assert answer(start(headers=headers), body(), head=head).values(expected[0]) == [expected[1]]


def test_the_content_length_counts_each_time() -> None:
    head = repeated_head()
    for _ in range(5):
        made = answer(start(headers=[(b"content-length", b"2")]), head=head)
        with pytest.raises(AppError, match="longer"):
            made.send(body(b"abc"))
        with pytest.raises(AppError, match="shorter"):
            made.send(body(b"a"))
        made.send(body(b"ab"))
        assert made.read().body == b"ab"


headers = st.lists(
    st.sampled_from([
        (b"x", b"1"), (b"x", b"2"), (b"content-length", b"1"), (b"date", b"now"), (b"server", b"me"),
        (b"connection", b"close"), [b"y", b"1"],
    ]),
    max_size=3,
)  # fmt: skip
starts = st.builds(
    lambda status, headers, trailers: start(status, headers, trailers=trailers),
    st.sampled_from([200, 204, 304]), headers, st.booleans(),
)  # fmt: skip


@given(
    messages=st.lists(starts, min_size=1, max_size=3), order=st.lists(st.integers(0, 2), max_size=12),
    method=st.sampled_from(["GET", "HEAD"]), version=st.sampled_from(["1.0", "1.1"]), more=st.booleans(),
)  # fmt: skip
def test_with_and_without_memory(
    messages: list[dict[str, Any]], order: list[int], method: str, version: str, more: bool
) -> None:
    def outcome(message: dict[str, Any], head: Any) -> Any:
        try:
            made = answer(message, body(b"a", more=more), head=head)
        except AppError as error:
            return str(error)
        return made.wire, made.response.state, made.response.keep_alive, made.response.has_date

    remembering = repeated_head(method=method, version=version)
    for index in order:
        message = messages[index % len(messages)]
        assert outcome(message, remembering) == outcome(message, head_of(method=method, version=version))
