"""Which messages an application may send, when, and what may be in them (ASGI HTTP 2.5, "Response Start" and on)."""

from collections import UserDict
from typing import Any

import pytest

from tests.helpers.response_reading import Answer, answer, body, early_hint, head_of, start, trailers
from trioserve._asgi import State
from trioserve._errors import AppError
from trioserve._protocol.reasons import REASON_PHRASES

START, FIRST_BODY, BODY, FILE, TRAILERS, COMPLETE = State

REACHED: dict[State, list[dict[str, Any]]] = {
    START: [],
    FIRST_BODY: [start()],
    BODY: [start(), body(b"a", more=True)],
    FILE: [start(headers=[(b"content-length", b"1")])],
    TRAILERS: [start(trailers=True), body(b"a")],
    COMPLETE: [start(), body(b"a")],
}


def at(state: State) -> Answer:
    """A response that waits for what ``state`` names."""
    made = answer(*REACHED[state])
    if state == FILE:
        assert made.response.begin_file([])
    assert made.response.state == state
    return made


def refuses(made: Answer, message: Any) -> str:
    """Why ``message`` is refused; the response is what it was."""
    before = made.response.state
    with pytest.raises(AppError) as error:
        made.send(message)
    assert made.response.state == before
    return str(error.value)


# -- order -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "message", "after"),
    [
        (START, start(), FIRST_BODY),
        (START, early_hint(), START),
        (FIRST_BODY, early_hint(), FIRST_BODY),
        (BODY, early_hint(), BODY),
        (FIRST_BODY, body(), COMPLETE),
        (FIRST_BODY, body(more=True), BODY),
        (BODY, body(more=True), BODY),
        (BODY, body(), COMPLETE),
        (TRAILERS, trailers(more=True), TRAILERS),
        (TRAILERS, trailers(), COMPLETE),
    ],
)
def test_messages_that_are_expected(state: State, message: dict[str, Any], after: State) -> None:
    made = at(state)
    made.send(message)
    assert made.response.state == after


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (START, body()), (START, trailers()),
        (FIRST_BODY, start()), (FIRST_BODY, trailers()),
        (BODY, start()), (BODY, trailers()),
        (FILE, start()), (FILE, body()), (FILE, body(b"a", more=True)), (FILE, trailers()), (FILE, early_hint()),
        (TRAILERS, start()), (TRAILERS, body()), (TRAILERS, body(b"late", more=True)), (TRAILERS, early_hint()),
    ],
)  # fmt: skip
def test_messages_out_of_order_are_refused(state: State, message: dict[str, Any]) -> None:
    assert message["type"] in refuses(at(state), message)


@pytest.mark.parametrize("message", [start(), body(b"late"), early_hint(b"<a>"), body(None), trailers([(b"a", b"b")])])
def test_messages_after_the_end_are_ignored(message: dict[str, Any]) -> None:
    made = at(COMPLETE)
    assert made.send(message) == b""
    assert made.response.state == COMPLETE


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"type": "http.response.end"}, id="unknown type"),
        pytest.param({"type": "websocket.accept"}, id="type of another protocol"),
        pytest.param({"type": "http.request"}, id="type of the other direction"),
        pytest.param({"type": "HTTP.RESPONSE.BODY"}, id="upper case"),
        pytest.param({"type": b"http.response.body"}, id="bytes"),
        pytest.param({"type": None}, id="None"),
        pytest.param({"type": ["http.response.body"]}, id="list"),
        pytest.param({}, id="no type"),
        pytest.param(None, id="no message"),
        pytest.param("http.response.body", id="only a type"),
        pytest.param(["type"], id="no dict but a list"),
        pytest.param((), id="no dict but a tuple"),
        pytest.param(5, id="no dict but a number"),
    ],
)
def test_what_is_no_message_is_refused_in_every_state(state: State, message: Any) -> None:
    refuses(at(state), message)


def test_the_refusal_names_what_is_expected() -> None:
    assert "http.response.start is expected" in refuses(at(START), body())
    assert "http.response.body is expected" in refuses(at(FIRST_BODY), start())
    assert "the rest of a file is expected" in refuses(at(FILE), body())
    assert "http.response.trailers is expected" in refuses(at(TRAILERS), body())


@pytest.mark.parametrize(
    ("state", "rest"),
    [(START, [start(), body(b"a")]), (FIRST_BODY, [body(b"a")]), (BODY, [body()]), (TRAILERS, [trailers()])],
)
def test_a_refused_message_does_not_end_the_response(state: State, rest: list[dict[str, Any]]) -> None:
    made = at(state)
    refuses(made, {"type": "unknown"})
    for message in rest:
        made.send(message)
    assert made.response.state == COMPLETE
    assert made.read().body == b"a"


# -- http.response.start -----------------------------------------------------------------------------------------------


def test_the_head_waits_for_the_first_body_message() -> None:
    made = answer(start(201, [(b"a", b"b")]))
    assert made.wire == b""
    made.send(body(more=True))
    assert made.head_lines[0] == b"HTTP/1.1 201 Created"


@pytest.mark.parametrize("status", [200, 204, 304, 404, 418, 500, 599, 600, 999])
def test_status(status: int) -> None:
    made = answer(start(status), body())
    assert made.read().status == made.response.status == status


def test_status_is_0_before_the_start() -> None:
    assert answer().response.status == 0


@pytest.mark.parametrize("status", [status for status in REASON_PHRASES if status >= 200])
def test_registered_status_has_its_phrase(status: int) -> None:
    view = answer(start(status), body()).read()
    assert (view.status, view.reason) == (status, REASON_PHRASES[status].encode())


def test_unregistered_status_has_an_empty_phrase_after_its_space() -> None:
    assert answer(start(299), body()).head_lines[0] == b"HTTP/1.1 299 "


@pytest.mark.parametrize(
    "status", [100, 101, 103, 199, 0, -1, 1000, 99999, "200", b"200", 200.0, None, True, [200]], ids=repr
)
def test_what_is_no_final_status_is_refused(status: Any) -> None:
    assert "status" in refuses(at(START), start(status))


def test_status_is_required() -> None:
    refuses(at(START), {"type": "http.response.start"})


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"a", b"b"), (b"c", b"d")], id="tuples in a list"),
        pytest.param([[b"a", b"b"], [b"c", b"d"]], id="lists in a list"),
        pytest.param(((b"a", b"b"), (b"c", b"d")), id="tuples in a tuple"),
        pytest.param(iter([iter((b"a", b"b")), iter((b"c", b"d"))]), id="iterators in an iterator"),
        pytest.param({b"a": b"b", b"c": b"d"}.items(), id="view of a dict"),
    ],
)
def test_headers_are_an_iterable_of_pairs(headers: Any) -> None:
    assert answer(start(200, headers), body()).head_lines[1:3] == [b"a: b", b"c: d"]


def test_headers_are_optional() -> None:
    assert answer({"type": "http.response.start", "status": 200}, body()).read().status == 200


@pytest.mark.parametrize(
    "headers",
    [None, 5, b"a: b", "a: b", [b"a"], [()], [(b"a",)], [(b"a", b"b", b"c")], {b"name": b"value"}, [None], [5]],
    ids=repr,
)
def test_headers_of_another_shape_are_refused(headers: Any) -> None:
    refuses(at(START), start(200, headers))


def test_any_mapping_is_a_message() -> None:
    assert answer(UserDict(start(201)), UserDict(body(b"a"))).read().body == b"a"


def test_extra_keys_are_ignored() -> None:
    made = answer(start(extra=1, reason=b"Fine", body=b"no"), body(b"a", extra=1, status=500))
    view = made.read()
    assert (view.status, view.reason, view.body) == (200, b"OK", b"a")
    made = answer(early_hint(b"<a>") | {"extra": 1}, start(trailers=True), body(), trailers() | {"extra": 1})
    assert made.response.state == COMPLETE


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(start(201, [(b"content-length", b"5"), (b"a b", b"")]), id="content-length"),
        pytest.param(start(201, [(b"connection", b"close"), (b"a b", b"")]), id="connection"),
        pytest.param(start(201, [(b"date", b"never"), (b"a b", b"")]), id="date"),
        pytest.param(start(201, [(b"server", b"me"), (b"a b", b"")]), id="server"),
        pytest.param(start(201, [(b"a b", b"")], trailers=True), id="trailers"),
        pytest.param(start(204, [(b"a b", b"")]), id="status"),
        pytest.param(start(100, [(b"connection", b"close")]), id="refused for its status"),
    ],
)
def test_a_refused_start_leaves_no_trace(refused: dict[str, Any]) -> None:
    made = answer()
    refuses(made, refused)
    assert made.response.status == 0
    made.send(start(200, [(b"a", b"b")]))
    made.send(body(b"other"))
    assert made.wire == answer(start(200, [(b"a", b"b")]), body(b"other")).wire
    assert made.response.keep_alive


# -- http.response.body ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"data", bytearray(b"data"), memoryview(b"data"), memoryview(b"_data_")[1:5]])
def test_body_is_bytes_or_like_them(data: Any) -> None:
    view = answer(start(), body(data)).read()
    assert (view.body, dict(view.headers)[b"content-length"]) == (b"data", b"4")
    assert answer(start(), body(data, more=True), body(data)).read().body == b"datadata"


def test_body_is_taken_as_it_is_now() -> None:
    data = bytearray(b"now")
    made = answer(start())
    pieces: list[bytes] = []
    made.response.encode(body(data), pieces)
    data[:] = b"NOT"
    assert b"".join(pieces).endswith(b"now")


def test_body_and_more_body_are_optional() -> None:
    made = answer(start(), {"type": "http.response.body"})
    assert made.response.state == COMPLETE
    assert made.read().body == b""


@pytest.mark.parametrize("data", ["text", None, 5, [b"a"], object()])
@pytest.mark.parametrize("state", [FIRST_BODY, BODY])
def test_body_of_another_type_is_refused(state: State, data: Any) -> None:
    assert "bytes" in refuses(at(state), body(data))


def test_body_bytes_counts_what_is_sent() -> None:
    made = answer(start(), body(b"abc", more=True), body(more=True), body(b"de"))
    assert made.response.body_bytes == 5
    assert answer(start(), body(b"abc"), head=head_of(method="HEAD")).response.body_bytes == 0


# -- content-length of the application ---------------------------------------------------------------------------------


def declared(length: int | bytes) -> dict[str, Any]:
    return start(200, [(b"content-length", b"%d" % length if isinstance(length, int) else length)])


@pytest.mark.parametrize("parts", [[b"hello"], [b"hel", b"lo"], [b"", b"hello", b""], [b"h", b"e", b"l", b"l", b"o"]])
def test_body_of_the_declared_length(parts: list[bytes]) -> None:
    messages = [body(part, more=True) for part in parts[:-1]]
    made = answer(declared(5), *messages, body(parts[-1]))
    assert made.content == b"hello"
    assert made.read().body == b"hello"


def test_the_last_message_may_come_alone() -> None:
    assert answer(declared(5), body(b"hello", more=True), body()).read().body == b"hello"


@pytest.mark.parametrize(
    ("length", "before", "last", "problem"),
    [
        pytest.param(5, [], body(b"hello!"), "1 bytes longer", id="longer"),
        pytest.param(5, [], body(b"hello!!", more=True), "2 bytes longer", id="longer with more to come"),
        pytest.param(5, [body(b"hello", more=True)], body(b"!"), "1 bytes longer", id="longer later"),
        pytest.param(0, [], body(b"!"), "1 bytes longer", id="longer than nothing"),
        pytest.param(5, [], body(b"hell"), "1 bytes shorter", id="shorter"),
        pytest.param(5, [], body(), "5 bytes shorter", id="nothing"),
        pytest.param(5, [body(b"hel", more=True)], body(b"l"), "1 bytes shorter", id="shorter later"),
    ],
)
def test_body_of_another_length_is_refused(
    length: int, before: list[dict[str, Any]], last: dict[str, Any], problem: str
) -> None:
    assert f"{problem} than its content-length" in refuses(answer(declared(length), *before), last)


def test_after_a_refused_body_the_right_one_may_follow() -> None:
    made = answer(declared(5), body(b"he", more=True))
    refuses(made, body(b"llo!"))
    refuses(made, body(b"l"))
    made.send(body(b"llo"))
    assert made.read().body == b"hello"


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"+1", b"1.0", b"0x1", b"five", b" 5", b"5, 5", b"5\r\n", b"\xb2", b"1_0", b"9" * 5000]
)
def test_what_is_no_length_is_refused(value: bytes) -> None:
    refuses(at(START), declared(value))


def test_equal_lengths_are_one_and_others_contradict() -> None:
    same = [(b"content-length", b"1"), (b"Content-Length", b"1"), (b"content-length", b"01")]
    assert answer(start(200, same), body(b"a")).values(b"content-length") == [b"1"]
    refuses(at(START), start(200, [(b"content-length", b"1"), (b"content-length", b"2")]))


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304)])
def test_an_absent_body_has_any_length(method: str, status: int) -> None:
    made = answer(start(status, [(b"content-length", b"5")]), body(b"hello!", more=True), body(),
                  head=head_of(method=method))  # fmt: skip
    assert made.content == b""


# -- http.response.trailers --------------------------------------------------------------------------------------------


def test_with_trailers_the_response_ends_with_the_last_of_them() -> None:
    made = answer(start(trailers=True), body(b"a"), trailers([(b"x", b"1")], more=True),
                  head=head_of(b"TE: trailers"))  # fmt: skip
    assert not made.wire.endswith(b"0\r\n\r\n")
    made.send(trailers([(b"y", b"2")]))
    view = made.read()
    assert (view.body, view.trailers) == (b"a", [(b"x", b"1"), (b"y", b"2")])


def test_trailers_are_kept_from_a_client_that_did_not_ask() -> None:
    view = answer(start(trailers=True), body(b"a"), trailers([(b"x", b"1")])).read()
    assert (view.body, view.trailers) == (b"a", [])


@pytest.mark.parametrize("head", [head_of(version="1.0"), head_of(method="HEAD"), head_of(b"TE: trailers")])
def test_trailers_end_every_response(head: Any) -> None:
    made = answer(start(trailers=True), body(b"a"), trailers([(b"x", b"1")]), head=head)
    assert made.response.state == COMPLETE
    assert made.read().body == (b"" if head.method == "HEAD" else b"a")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_trailers_of_a_response_without_a_body_go_nowhere(status: int) -> None:
    made = answer(start(status, trailers=True), body(), trailers([(b"x", b"1")]), head=head_of(b"TE: trailers"))
    assert (made.response.state, made.content) == (COMPLETE, b"")


def test_trailers_of_a_response_need_chunks_whatever_its_length() -> None:
    made = answer(start(200, [(b"content-length", b"1")], trailers=True), body(b"a"), trailers())
    assert made.values(b"content-length") == []
    assert made.values(b"transfer-encoding") == [b"chunked"]
    assert made.read().body == b"a"


def test_trailers_may_have_no_headers() -> None:
    made = answer(start(trailers=True), body(b"a"), {"type": "http.response.trailers"}, head=head_of(b"TE: trailers"))
    assert made.content == b"1\r\na\r\n0\r\n\r\n"


@pytest.mark.parametrize("falsy", [False, None, 0])
def test_without_trailers_in_the_start_there_are_none(falsy: Any) -> None:
    assert answer(start(trailers=falsy), body(b"a")).response.state == COMPLETE


@pytest.mark.parametrize(
    "name",
    [b"content-length", b"transfer-encoding", b"Transfer-Encoding", b"connection", b"keep-alive", b"trailer", b"host",
     b"date", b"server", b"set-cookie", b"Set-Cookie", b"authorization", b"content-encoding", b"content-type",
     b"content-range", b"cache-control", b"te", b"vary"],
)  # fmt: skip
@pytest.mark.parametrize("te", [[], [b"TE: trailers"]])
def test_trailers_that_frame_or_route_are_refused(name: bytes, te: list[bytes]) -> None:
    made = answer(start(trailers=True), body(b"a"), head=head_of(*te))
    for headers in ([(name, b"1")], iter([(b"x", b"1"), (name, b"1")])):
        refuses(made, trailers(headers))


@pytest.mark.parametrize(
    "headers", [None, 5, [(b"a b", b"c")], [(b"a", b"b\r\nc: d")], [("a", "b")], [(b"a",)]], ids=repr
)
def test_malformed_trailers_are_refused(headers: Any) -> None:
    refuses(at(TRAILERS), trailers(headers))


# -- http.response.early_hint ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [(b"</a.css>; rel=preload",), (b"</a>; rel=preload", b"</b>; rel=preload")])
def test_early_hint_leaves_at_once(links: tuple[bytes, ...]) -> None:
    made = answer(early_hint(*links))
    assert made.wire.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    made.send(start())
    made.send(early_hint(*links))
    made.send(body(b"a"))
    view = made.read()
    assert view.hints == 2 * [[(b"link", link) for link in links]]
    assert (view.status, view.body) == (200, b"a")


def test_early_hint_does_not_reach_http_1_0() -> None:
    made = answer(early_hint(b"</a>"), head=head_of(version="1.0"))
    assert made.wire == b""
    assert made.response.state == START


def test_early_hint_comes_too_late_for_the_wire_once_the_body_has_begun() -> None:
    made = answer(start(), body(b"a", more=True))
    assert made.send(early_hint(b"</a>")) == b""
    refuses(made, early_hint("</a>"))
    made.send(body(b"b"))
    view = made.read()
    assert (view.hints, view.body) == ([], b"ab")


@pytest.mark.parametrize("links", [[b"a\r\nb: c"], [b"a\n"], [b"\0"], ["</a>"], [None], [5], "</a>", None, 5], ids=repr)
def test_malformed_early_hints_are_refused(links: Any) -> None:
    refuses(at(START), {"type": "http.response.early_hint", "links": links})


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_trailers_and_links_are_byte_strings_of_any_type(kind: Any) -> None:
    made = answer(early_hint(kind(b"</a>")), start(trailers=True), body(), head=head_of(b"TE: trailers"))
    made.send(trailers([(kind(b"x"), kind(b"y"))]))
    assert b"\r\nlink: </a>\r\n" in made.wire
    assert made.wire.endswith(b"0\r\nx: y\r\n\r\n")


def test_links_are_any_iterable() -> None:
    message = {"type": "http.response.early_hint", "links": iter([b"</a>"])}
    assert b"link: </a>\r\n" in at(START).send(message)
