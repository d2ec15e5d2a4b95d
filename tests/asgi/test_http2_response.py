"""The fields of an answer as HTTP/2 has them (RFC 9113 §8.2)."""

from typing import Any

import pytest

from tests.helpers.response_reading import body, head_of, start
from trioserve._asgi.http2_response import Http2Response
from trioserve._errors import AppError

STATUS = (b":status", b"200")


def sent_head(*headers: tuple[bytes, bytes]) -> Any:
    response = Http2Response(head_of(), lambda dated: [])
    for message in (start(200, headers), body(b"a")):
        response.encode(message, [])
    return response.response_head


@pytest.mark.parametrize(("given", "sent"), [
    ([], []),
    ([(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")], [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]),
    ([(b"X-A", b"1"), (b"x-b", b"2")], [(b"x-a", b"1"), (b"x-b", b"2")]),
    ([(b"x-a", b"1"), (b"x-b", b" 2\t")], [(b"x-a", b"1"), (b"x-b", b"2")]),
    ([(b"x-a", b"1"), (b"proxy-connection", b"close"), (b"Upgrade", b"x")], [(b"x-a", b"1")]),
    ([(b"te", b"trailers")], []),
], ids=["none", "as they are", "case", "white space", "HTTP/1.1", "HTTP/1.1 only"])  # fmt: skip
def test_9113_8_2_fields(given: list[tuple[bytes, bytes]], sent: list[tuple[bytes, bytes]]) -> None:
    for _ in range(2):  # what is remembered of the names changes nothing
        assert sent_head(*given) == [STATUS, *sent]


@pytest.mark.parametrize("character", [b"\r", b"\n", b"\0", b"\x0b", b"\x7f"])
@pytest.mark.parametrize("value", [b"a%bb", b"a%b"], ids=["inside", "at the end"])
def test_9113_8_2_1_no_control_characters(value: bytes, character: bytes) -> None:
    assert sent_head((b"x-control", b"a")) == [STATUS, (b"x-control", b"a")]
    with pytest.raises(AppError, match="control character"):
        sent_head((b"x-control", value % character))
