"""The head of a response: whose business each field is, framing, persistence, and what cannot be smuggled in."""

from typing import Any

import pytest

from tests.helpers.response_reading import (
    STANDING,
    Answer,
    answer,
    body,
    head_of,
    read_response,
    standing_fields,
    start,
)
from trioserve._asgi.http1_response import error_response
from trioserve._asgi.http2_response import Http2Response
from trioserve._errors import AppError, PeerError

LINE_1_0 = head_of(version="1.0")
KEEP_1_0 = head_of(b"Connection: keep-alive", version="1.0")
CLOSE_1_1 = head_of(b"Connection: close")


def with_headers(*headers: tuple[Any, Any], head: Any = None, status: int = 200) -> Answer:
    return answer(start(status, headers), body(b"a"), head=head)


# -- framing (RFC 9112 §6) ---------------------------------------------------------------------------------------------


def test_9112_6_2_one_body_message_has_its_length() -> None:
    made = answer(start(), body(b"hello"))
    assert made.values(b"content-length") == [b"5"]
    assert made.content == b"hello"
    assert answer(start(), body()).values(b"content-length") == [b"0"]


def test_9112_7_1_a_body_in_parts_goes_out_in_chunks() -> None:
    made = answer(start(), body(b"hello", more=True), body(b"0123456789", more=True), body(b"!"))
    assert made.values(b"transfer-encoding") == [b"chunked"]
    assert made.values(b"content-length") == []
    assert made.content == b"5\r\nhello\r\na\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n"


def test_9112_7_1_each_chunk_says_its_own_size() -> None:
    parts = [5 * b"a", 5 * b"b", 16 * b"c", 16 * b"d", b"", 5 * b"e"]
    made = answer(start(), *(body(part, more=True) for part in parts), body())
    assert made.content == b"5\r\naaaaa\r\n5\r\nbbbbb\r\n10\r\n%b\r\n10\r\n%b\r\n5\r\neeeee\r\n0\r\n\r\n" % (
        16 * b"c", 16 * b"d",
    )  # fmt: skip


def test_9112_7_1_an_empty_part_is_no_last_chunk() -> None:
    made = answer(start(), body(b"", more=True), body(b"a", more=True), body(b"", more=True), body(b""))
    assert made.content == b"1\r\na\r\n0\r\n\r\n"


def test_9112_6_3_http_1_0_reads_until_the_end_of_the_connection() -> None:
    for head in (LINE_1_0, KEEP_1_0):
        made = answer(start(), body(b"hello", more=True), body(b"!"), head=head)
        assert made.content == b"hello!"
        assert made.values(b"transfer-encoding") == made.values(b"content-length") == []
        assert made.values(b"connection") == [b"close"]
        assert not made.response.keep_alive
        view = made.read()
        assert (view.body, view.complete_before_end) == (b"hello!", False)


def test_9112_6_3_with_a_declared_length_parts_are_no_chunks() -> None:
    for head, options in ((None, []), (KEEP_1_0, [b"keep-alive"])):
        made = answer(start(200, [(b"content-length", b"6")]), body(b"hello", more=True), body(b"!"), head=head)
        assert made.values(b"connection") == options
        assert made.content == b"hello!"
        assert made.values(b"content-length") == [b"6"]
        assert made.values(b"transfer-encoding") == []
        assert made.response.keep_alive


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [[], [(b"content-length", b"3")]])
def test_9110_9_3_2_head_has_the_fields_of_get_and_no_body(parts: int, length: list[tuple[bytes, bytes]]) -> None:
    messages = [body(b"abc", more=parts == 2), body()][:parts]
    made = answer(start(200, length), *messages, head=head_of(method="HEAD"))
    assert made.content == b""
    assert made.values(b"content-length") == [value for _, value in length]
    assert made.read().reusable
    assert made.response.keep_alive


@pytest.mark.parametrize("head", [None, KEEP_1_0])
@pytest.mark.parametrize("status", [204, 304])
def test_9110_15_no_body_in_204_and_304(status: int, head: Any) -> None:
    made = answer(start(status), body(b"abc", more=True), body(b"d"), head=head)
    assert made.content == b""
    assert made.values(b"transfer-encoding") == []
    assert made.read().body == b""
    assert made.response.keep_alive


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize("length", [[], [(b"content-length", b"4")]])
def test_9110_15_3_6_no_content_in_205(version: str, method: str, trailers: bool, length: Any) -> None:
    head = head_of(b"Connection: keep-alive", b"TE: trailers", method=method, version=version)
    made = answer(start(205, length, trailers=trailers), body(b"abc", more=True), body(b"d"), head=head)
    assert made.values(b"content-length") == [b"0"]
    assert made.values(b"transfer-encoding") == []
    assert made.content == made.read().body == b""
    assert made.response.keep_alive


def test_9110_8_6_no_content_length_in_204_but_in_304() -> None:
    length = [(b"content-length", b"3")]
    assert answer(start(204, length), body()).values(b"content-length") == []
    assert answer(start(304, length), body()).values(b"content-length") == [b"3"]


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"gzip, chunked", b"identity", b"", b"\r\n", None])
@pytest.mark.parametrize("name", [b"transfer-encoding", b"Transfer-Encoding"])
def test_asgi_transfer_encoding_of_the_application_is_ignored(name: bytes, value: Any) -> None:
    made = with_headers((name, value), (b"x", b"y"))
    assert made.values(b"transfer-encoding") == []
    assert made.content == b"a"
    made = answer(start(200, [(name, value)]), body(b"a", more=True), body())
    assert made.values(b"transfer-encoding") == [b"chunked"]
    assert made.read().body == b"a"


# -- persistence (RFC 9112 §9.3) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "option", "sent", "keeps"),
    [
        pytest.param(head_of(), None, [], True, id="1.1"),
        pytest.param(head_of(), b"close", [b"close"], False, id="1.1, application closes"),
        pytest.param(head_of(), b"Close", [b"close"], False, id="1.1, application closes in upper case"),
        pytest.param(head_of(), b"x, close", [b"close"], False, id="1.1, application closes among others"),
        pytest.param(head_of(), b"keep-alive", [], True, id="1.1, application keeps"),
        pytest.param(head_of(), b"upgrade", [b"upgrade"], True, id="1.1, another option"),
        pytest.param(CLOSE_1_1, None, [b"close"], False, id="1.1, client closes"),
        pytest.param(CLOSE_1_1, b"close", [b"close"], False, id="1.1, both close"),
        pytest.param(CLOSE_1_1, b"keep-alive", [b"close"], False, id="1.1, client closes, application keeps"),
        pytest.param(LINE_1_0, None, [b"close"], False, id="1.0"),
        pytest.param(LINE_1_0, b"keep-alive", [b"close"], False, id="1.0, application keeps"),
        pytest.param(KEEP_1_0, None, [b"keep-alive"], True, id="1.0, client keeps"),
        pytest.param(KEEP_1_0, b"keep-alive", [b"keep-alive"], True, id="1.0, both keep"),
        pytest.param(KEEP_1_0, b"close", [b"close"], False, id="1.0, client keeps, application closes"),
    ],
)
def test_9112_9_3_connection(head: Any, option: bytes | None, sent: list[bytes], keeps: bool) -> None:
    made = with_headers(*([(b"Connection", option)] if option is not None else []), head=head)
    assert made.values(b"connection") == sent
    assert made.response.keep_alive is made.read().reusable is keeps


def test_9112_9_3_the_server_can_close_before_the_head_is_made() -> None:
    made = answer(start())
    made.response.keep_alive = False
    made.send(body(b"a"))
    assert made.values(b"connection") == [b"close"]


def test_keep_alive_parameters_are_the_servers_business() -> None:
    assert with_headers((b"Keep-Alive", b"timeout=5")).values(b"keep-alive") == []


# -- order, case, standing fields --------------------------------------------------------------------------------------


def test_fields_keep_order_case_and_repetition() -> None:
    headers = [(b"B", b"1"), (b"a", b"2"), (b"B", b"3"), (b"x-Mixed", b" v "), (b"a", b""), (b"set-cookie", b"a"),
               (b"set-cookie", b"b")]  # fmt: skip
    made = with_headers(*headers)
    assert made.head_lines[1:8] == [name + b": " + value for name, value in headers]
    assert [value for name, value in made.read().headers if name == b"set-cookie"] == [b"a", b"b"]


def test_date_and_server_are_added() -> None:
    made = with_headers()
    assert [(name, made.values(name)) for name, _ in STANDING] == [(name, [value]) for name, value in STANDING]


@pytest.mark.parametrize(("own", "other"), [(b"Date", b"server"), (b"server", b"date")])
def test_date_and_server_of_the_application_are_not_doubled(own: bytes, other: bytes) -> None:
    made = with_headers((own, b"mine"))
    assert made.values(own.lower()) == [b"mine"]
    assert made.values(other) == [dict(STANDING)[other]]


def spellings(name: bytes, first: int) -> list[bytes]:
    """Of a name: ``first`` and the next few out of all that differ in case, so that no two tests use the same."""
    numbers = range(first, first + 10)
    return [bytes(c ^ 0x20 if c != 0x2D and number >> i & 1 else c for i, c in enumerate(name)) for number in numbers]


def test_content_length_has_no_case_even_when_it_is_new() -> None:
    for name in spellings(b"content-length", 40):
        assert answer(start(200, [(name, b"2")]), body(b"a", more=True), body(b"b")).content == b"ab"
    for name in spellings(b"content-length", 60):
        with pytest.raises(AppError):
            answer(start(200, [(name, b"2")]), body(b"abc"))


def test_a_name_has_no_case_even_when_it_is_new() -> None:
    for name in spellings(b"transfer-encoding", 40):
        assert with_headers((name, b"gzip")).values(b"transfer-encoding") == []
    for name in spellings(b"connection", 40):
        assert with_headers((name, b"close")).values(b"connection") == [b"close"]
    for name in spellings(b"date", 1)[:6] + spellings(b"server", 40):
        assert with_headers((name, b"mine")).values(name.lower()) == [b"mine"]


def test_a_field_that_was_sent_before_is_checked_like_a_new_one() -> None:
    for _ in range(2):
        assert with_headers((b"x-again", b"1")).values(b"x-again") == [b"1"]
        with pytest.raises(AppError):
            with_headers((b"content-length", b"2"))
        with pytest.raises(AppError):
            with_headers((b"x-again", b"1\r\n"))


def test_pairs_may_be_lists() -> None:
    pair: Any = [b"x-list", b"1"]
    for value in (b"1", b"2"):
        pair[1] = value
        assert answer(start(200, [pair]), body()).values(b"x-list") == [value]


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_names_and_values_are_byte_strings_of_any_type(kind: Any) -> None:
    made = with_headers(
        (kind(b"X-Any"), kind(b"1")), (kind(b"Content-Length"), kind(b"1")), (b"connection", kind(b"close")),
        (kind(b"keep-alive"), kind(b"a=b")),
    )  # fmt: skip
    assert (made.values(b"x-any"), made.values(b"content-length"), made.response.keep_alive) == ([b"1"], [b"1"], False)
    assert made.values(b"keep-alive") == []
    with pytest.raises(AppError):
        with_headers((b"x", kind(b"a\r\nb: c")))


def test_a_name_that_was_sent_before_may_be_of_another_type() -> None:
    assert with_headers((b"x-again", b"1")).values(b"x-again") == [b"1"]
    response = with_headers((memoryview(b"x-again"), b"2")).response
    assert response.field(b"x-again") == b"2"
    assert [type(name) for name, _ in response.fields] == [bytes]


def test_many_different_names() -> None:
    """More than are remembered, which changes nothing."""
    headers = [(b"x-%d" % number, b"%d" % number) for number in range(2500)]
    made = with_headers(*headers)
    assert made.head_lines[1:2501] == [name + b": " + value for name, value in headers]
    assert with_headers((b"Content-LENGTH", b"1"), (b"cONNECTION", b"close")).values(b"connection") == [b"close"]
    for name in (b"x 1", b"x\n"):
        with pytest.raises(AppError):
            with_headers((name, b"a"))


# -- header injection (RFC 9110 §5) ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [b"", b" ", b"a b", b"a:", b"a:b", b":status", b"a\r\nb", b"a\n", b"\ra", b"a\0", b"a\t", b"a\x7f", b"\xe9", b'"a"',
     b"a,b", b"a/b", b"(a)", b"a\xa0", "a", None, 5, bytearray(b"a b"), [b"a"]],
    ids=repr,
)  # fmt: skip
def test_9110_5_1_what_is_no_name_is_refused(name: Any) -> None:
    for headers in ([(name, b"v")], [(b"x", b"y"), (name, b"v")]):
        with pytest.raises(AppError):
            with_headers(*headers)


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0A, 0x20), 0x7F])
@pytest.mark.parametrize("name", [b"x", b"X-New-%d", b"date", b"server", b"location"])
def test_9110_5_5_control_characters_in_a_value_are_refused(name: bytes, code: int) -> None:
    name = name.replace(b"%d", b"%d" % code)
    for value in (b"%c", b"a%cb", b"a%c", b"%ca", b"a\r\n%c"):
        with pytest.raises(AppError):
            with_headers((name, value % code))


@pytest.mark.parametrize(
    "value",
    [b"a\r\nSet-Cookie: b=c", b"a\r\n\r\n<script>", b"a\nb: c", b"a\rb: c", b"\r\n", b"a\r\n b",
     b"a\r\n\r\nHTTP/1.1 200 OK\r\n"],
)  # fmt: skip
def test_9110_5_5_response_splitting_is_refused(value: bytes) -> None:
    for headers in ([(b"x", value)], [(b"x", b"y"), (b"location", value), (b"z", b"w")]):
        with pytest.raises(AppError):
            with_headers(*headers)


@pytest.mark.parametrize("value", [b"\r\na: b", b"close\r\na: b", b"close,\n", b"keep-alive\0"])
@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"transfer-encoding"])
def test_nothing_gets_in_by_a_field_that_is_the_servers_business(name: bytes, value: bytes) -> None:
    try:
        made = with_headers((name, value))
    except AppError:
        return
    assert made.values(b"a") == []
    assert made.wire.count(b"\r\n") == made.wire.count(b"\n") == len(made.head_lines) + 1


@pytest.mark.parametrize("code", [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
def test_9110_5_5_every_other_character_goes_out(code: int) -> None:
    assert with_headers((b"x", b"a%cb" % code)).values(b"x") == [b"a%cb" % code]


@pytest.mark.parametrize("value", ["text", None, 5, 5.0, [b"a"], object()])
@pytest.mark.parametrize("name", [b"x", b"date", b"server"])
def test_values_are_bytes(name: bytes, value: Any) -> None:
    with pytest.raises(AppError):
        with_headers((name, value))


@pytest.mark.parametrize("name", [b"content-length", b"connection"])
@pytest.mark.parametrize("value", [None, 5, [b"a"], "1", "close"])
def test_values_of_special_fields_are_bytes(name: bytes, value: Any) -> None:
    with pytest.raises(AppError):
        with_headers((name, value))


# -- answers of the server's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 408, 413, 414, 431, 500, 501, 503, 504, 505])
def test_error_response_is_a_whole_answer(status: int) -> None:
    refusal = PeerError(status, "no such thing \N{LATIN SMALL LETTER E WITH ACUTE}")
    view = read_response(error_response(refusal, standing_fields))
    assert (view.status, view.body) == (status, "no such thing \N{LATIN SMALL LETTER E WITH ACUTE}\n".encode())
    assert dict(view.headers)[b"content-type"] == b"text/plain; charset=utf-8"
    assert not view.reusable
    assert [field for field in view.headers if field in STANDING] == STANDING


def test_error_response_to_head_has_no_body() -> None:
    wire = error_response(PeerError(500, "text"), standing_fields, with_body=False)
    assert wire.endswith(b"\r\n\r\n")
    assert read_response(wire, "HEAD").status == 500
    assert dict(read_response(wire, "HEAD").headers)[b"content-length"] == b"5"


def test_error_response_with_further_fields() -> None:
    wire = error_response(PeerError(426, "other version", ((b"upgrade", b"h2c"),)), standing_fields)
    assert (b"upgrade", b"h2c") in read_response(wire).headers


@pytest.mark.parametrize("status", [400, 500, 503, 504])
def test_only_who_may_come_again_is_told_when(status: int) -> None:
    """RFC 9110 §10.2.3."""
    refusal = PeerError(status, "busy")
    in_http1 = read_response(error_response(refusal, standing_fields)).headers
    in_http2 = Http2Response(head_of(), lambda response: [])
    assert in_http2.refuse(refusal) == b"busy\n"
    assert ((b"retry-after", b"1") in in_http1) is (status == 503)
    assert in_http2.response_head is not None
    assert ((b"retry-after", b"1") in in_http2.response_head) is (status == 503)
