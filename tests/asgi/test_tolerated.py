"""What the server takes from an application although ASGI does not allow it (ASGI HTTP 2.5)."""

from typing import Any

import pytest

from trioserve._asgi import ResponseWatch


class Bytes(bytes):
    __slots__ = ()


START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body", "body": b"hello"}


def faults(*messages: Any) -> list[str]:
    watch = ResponseWatch()
    return [fault for message in messages for fault in watch.faults(message)]


@pytest.mark.parametrize("messages", [
    [START, BODY],
    [START | {"headers": [(Bytes(b"x"), Bytes(b"y"))]}, BODY | {"body": Bytes(b"hello")}],
    [START | {"headers": [(b"content-type", b"text/plain"), [b"x", b"y"]]}, BODY | {"more_body": True}, BODY],
    [START | {"trailers": True}, BODY, {"type": "http.response.trailers", "headers": [(b"x", b"y")]}],
    [START, {"type": "http.response.pathsend", "path": "/file"}],
    [START, {"type": "http.response.zerocopysend", "file": 3, "more_body": True}, BODY],
])  # fmt: skip
def test_what_is_right(messages: list[Any]) -> None:
    watch = ResponseWatch()
    assert [fault for message in messages for fault in watch.faults(message)] == []
    assert watch.complete


@pytest.mark.parametrize(("messages", "fault"), [
    ([START, BODY, BODY], "http.response.body after the end of the response, which is ignored"),
    ([START | {"trailers": True}, BODY, {"type": "http.response.trailers"}, BODY],
     "http.response.body after the end of the response, which is ignored"),
    ([START, {"type": "http.response.body", "body": bytearray(b"x")}], "a body of type bytearray: it is bytes"),
    ([START, {"type": "http.response.body", "body": memoryview(b"x")}], "a body of type memoryview: it is bytes"),
    ([START | {"headers": [(b"Content-Type", b"text/plain")]}], "the header b'Content-Type': names are in lower case"),
    ([START | {"headers": [(bytearray(b"x"), b"y")]}], "a header b'x' that is not of type bytes"),
    ([START | {"headers": [(b"x", memoryview(b"y"))]}], "a header b'x' that is not of type bytes"),
    ([START | {"headers": [(b"transfer-encoding", b"chunked")]}],
     "the header transfer-encoding, which is the server's: it is ignored"),
    ([START | {"headers": {b"x": b"y"}}], "headers that are a mapping: they are pairs"),
])  # fmt: skip
def test_what_is_tolerated(messages: list[Any], fault: str) -> None:
    assert faults(*messages) == [fault]


@pytest.mark.parametrize("messages", [
    [], [START], [START, BODY | {"more_body": True}], [START | {"trailers": True}, BODY],
    [START | {"trailers": True}, BODY, {"type": "http.response.trailers", "more_trailers": True}],
])  # fmt: skip
def test_what_is_not_complete(messages: list[Any]) -> None:
    watch = ResponseWatch()
    for message in messages:
        assert list(watch.faults(message)) == []
    assert not watch.complete
