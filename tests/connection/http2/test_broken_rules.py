"""Who breaks a rule of HTTP/2 loses the stream or the connection. A bug of ours costs no more than that, either."""

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.http2_client import Answer, Http2Client, http2_client
from tests.helpers.http2_numbers import INTERNAL_ERROR, PROTOCOL_ERROR
from tests.helpers.serving import serving
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

# -- what ends a stream ----------------------------------------------------------------------------------------------


async def test_a_malformed_request_ends_its_stream_only(options: dict[str, Any]) -> None:  # RFC 9113 §8.1.1
    async with serving(hello, **options) as site, http2_client(site) as client:
        answer = await client.get(fields=[(b"connection", b"close")])
        assert answer.reset == PROTOCOL_ERROR
        assert (await client.get()).ended


@pytest.mark.parametrize("body", [b"short", b"much too long"])
@pytest.mark.parametrize("trailers", [False, True])
async def test_a_body_of_another_length_ends_its_stream_only(
    options: dict[str, Any], body: bytes, trailers: bool
) -> None:  # RFC 9113 §8.1.1
    read: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            try:
                read.append(await read_body(receive))
            except EOFError as exc:
                read.append(type(exc))
        else:
            await reply(send)

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", fields=[(b"content-length", b"7")], ends=False)
        client.h2.send_data(stream, body, end_stream=not trailers)
        if trailers:
            client.h2.send_headers(stream, [(b"x-sum", b"3")], end_stream=True)
        await client.say()
        assert (await client.answer(stream)).reset == PROTOCOL_ERROR
        assert (await client.get("/other")).ended
    assert read == [EOFError]


@pytest.mark.parametrize("wrong", ["length", "trailers"])
async def test_a_stream_that_its_client_has_spoilt_meanwhile(
    options: dict[str, Any], wrong: str, caplog: pytest.LogCaptureFixture
) -> None:  # RFC 9113 §5.4.2, §8.1, §8.1.1
    """The engine resets it. Its application hears of that at once, and what it sends afterwards is nobody's."""
    heard: list[object] = []
    begun, answer_now = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/":
            await reply(send)
            return
        begun.set()
        await answer_now.wait()
        heard.append((await receive())["type"])
        raise RuntimeError("which would be a 500")

    async with serving(app, **options) as site, http2_client(site) as client:
        await client.get("/other")  # after which the client has nothing to say of its own accord
        stream = await client.ask(method=b"POST", fields=[(b"content-length", b"7")], ends=False)
        await begun.wait()
        if wrong == "length":
            client.h2.send_data(stream, b"", end_stream=True)
        else:
            client.h2.send_data(stream, b"7 bytes")
            client.h2.send_headers(stream, [(b":path", b"/")], end_stream=True)
        await client.say()
        assert (await client.answer(stream)).reset is not None
        answer_now.set()
        await settled()
        assert heard == ["http.disconnect"]
        assert (await client.get("/other")).ended
    assert "Internal error" not in caplog.text


async def post_with_trailers(client: Http2Client, field: tuple[bytes, bytes], *, begun: bool) -> Answer:
    """The answer to a request of four bytes; where it has ``begun``, its head has come before the rest."""
    stream = client.prepare(method=b"POST", fields=[field], ends=False)
    if begun:
        await client.say()
        await settled()
    client.h2.send_data(stream, b"body")
    client.h2.send_headers(stream, [(b"x-trailer", b"1")], end_stream=True)
    await client.say()
    return await client.answer(stream)


@pytest.mark.parametrize("begun", [False, True], ids=["in one piece", "the head before"])
async def test_a_malformed_request_with_trailers_ends_its_stream_only(
    options: dict[str, Any], begun: bool
) -> None:  # RFC 9113 §8.1.1
    async with serving(hello, **options) as site, http2_client(site) as client:
        answer = await post_with_trailers(client, (b"X", b"upper case"), begun=begun)
        assert answer.reset == PROTOCOL_ERROR
        assert (await client.get()).ended
        assert client.goaways == []


@pytest.mark.parametrize("begun", [False, True], ids=["in one piece", "the head before"])
async def test_the_trailers_of_a_request_that_is_refused_at_once(options: dict[str, Any], begun: bool) -> None:
    """They come after its answer has left, on a stream that was open when they were sent."""
    async with serving(hello, **options, limit_request_body=3) as site, http2_client(site) as client:
        answer = await post_with_trailers(client, (b"content-length", b"4"), begun=begun)
        assert answer.status == 413
        assert (await client.get()).ended
        assert client.goaways == []


# -- what ends the connection ----------------------------------------------------------------------------------------


async def test_a_broken_rule_ends_the_connection_with_its_code(options: dict[str, Any]) -> None:  # RFC 9113 §5.4.1
    async with serving(hello, **options) as site, http2_client(site) as client:
        await client.get()
        await client.stream.send_all(b"\0\0\1\0\0\0\0\0\0x")  # DATA on no stream
        await client.until_end()
        assert [code for _, code in client.goaways] == [PROTOCOL_ERROR]


async def test_a_request_before_a_broken_rule(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Both come in one piece. The request may be answered or not; its application meets no error of an engine."""
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = client.h2.get_next_available_stream_id()
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
        client.h2.send_headers(stream, head)
        client.h2.send_data(stream, b"body", end_stream=True)
        await client.stream.send_all(client.h2.data_to_send() + b"\0\0\1\0\0\0\0\0\0x")  # DATA on no stream
        await client.until_end()
        assert [code for _, code in client.goaways] == [PROTOCOL_ERROR]
    assert caplog.text == ""


@pytest.mark.parametrize("status", [200, 413])
async def test_a_broken_rule_while_an_answer_waits_for_a_window(
    options: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its request is not over either."""
    sent: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, status)
        try:
            await part(send, b"x" * 100_000, more=False)
        except ClientDisconnected as exc:
            sent.append(type(exc))

    async with serving(app, **options) as site, http2_client(site) as client:
        client.takes_bodies = False
        await client.head(await client.ask(method=b"POST", ends=False))
        await client.stream.send_all(b"\0\0\1\0\0\0\0\0\0x")  # DATA on no stream
        await client.until_end()
        assert [code for _, code in client.goaways] == [PROTOCOL_ERROR]
        await settled()
        assert site.connections == 0
    assert sent == [ClientDisconnected]
    assert caplog.text == ""


async def test_fields_on_a_closed_stream_end_the_connection(options: dict[str, Any]) -> None:  # RFC 9113 §5.1
    async with serving(hello, **options) as site, http2_client(site) as client:
        await client.get()
        await client.stream.send_all(b"\0\0\3\1\5\0\0\0\1\x82\x86\x84")
        await client.until_end()
        assert len(client.goaways) == 1


# -- bugs of ours ----------------------------------------------------------------------------------------------------


async def test_a_bug_of_ours_ends_one_stream(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from trioserve._connection.exchange import Exchange

    run = Exchange.run

    async def broken(self: Any) -> None:
        if self.request.head.path == "/bug":
            raise RuntimeError("a bug")
        await run(self)

    monkeypatch.setattr(Exchange, "run", broken)
    async with serving(hello, **options) as site, http2_client(site) as client:
        assert (await client.get("/bug")).reset == INTERNAL_ERROR
        assert (await client.get()).ended
    assert "Internal error on a stream" in caplog.text


async def test_a_bug_of_ours_at_the_end_of_a_stream_ends_one_connection(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from trioserve._connection.http2.stream import Http2Stream

    refuse = Http2Stream.answer_refusal

    def broken(self: Any, refusal: Any, *, with_body: bool) -> None:
        if self.answer.head.path == "/bug":
            raise RuntimeError("a bug")
        refuse(self, refusal, with_body=with_body)

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(Http2Stream, "answer_refusal", broken)
    async with serving(failing, **options) as site, http2_client(site) as other:
        async with http2_client(site) as client:
            await client.ask("/bug")
            with pytest.raises(ClientDisconnected):
                await client.until_end()
        assert (await other.get()).status == 500
    assert "Internal error on the connection" in caplog.text
