"""HTTP/2 over a stream in memory, with either engine: requests and answers, what ends them, and how it all ends."""

import logging
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hyperframe.frame import RstStreamFrame

from tests.helpers.apps import echo, hello, part, read_body, reply, start
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, ok, receive_response
from trioserve import ClientDisconnected
from trioserve._connection.http2.goodbye import BEGUN_SECONDS
from trioserve._connection.patience import Patience
from trioserve._connection.timeouts import Timeout
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled

CANCEL, NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 8, 0, 1, 2
REFUSED_STREAM, ENHANCE_YOUR_CALM = 7, 11
INITIAL_WINDOW_SIZE = 4
HIGHEST_STREAM = 2**31 - 1


@pytest.fixture(params=["ngh2", "h2"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"http2": True, "http2_engine": request.param}


# -- requests and answers --------------------------------------------------------------------------------------------


async def test_a_request_and_its_answer(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, http2_client(site) as client:
        answer = await client.get("/path")
    assert (answer.status, answer.body, answer.ended) == (200, b"/path", True)
    assert answer.fields == [(b":status", b"200")]


async def test_the_scope(options: dict[str, Any]) -> None:  # ASGI HTTP 2.5, RFC 9113 §8.2.3, §8.3.1
    scopes = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await reply(send)

    fields = [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2"), (b"cookie", b"b=2")]
    async with serving(app, **options) as site, http2_client(site) as client:
        await client.get("/a%20b?c=d", fields=fields)
    [scope] = scopes
    assert (scope["http_version"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        "2", "/a b", b"/a%20b", b"c=d")
    assert [tuple(field) for field in scope["headers"]] == [
        (b"host", b"a"), (b"x-a", b"1"), (b"cookie", b"a=1; b=2"), (b"x-a", b"2")]
    assert {"http.response.trailers", "http.response.early_hint"} <= scope["extensions"].keys()


async def test_a_body_arrives_whole(options: dict[str, Any]) -> None:
    body = bytes(range(256)) * 8192  # several windows
    async with serving(echo, **options) as site, http2_client(site) as client:
        answer = await client.post(body)
    assert answer.body == body


async def test_hints_parts_and_trailers(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
        await send({"type": "http.response.start", "status": 201, "headers": [(b"X-A", b" 1 ")], "trailers": True})
        await part(send, b"ab")
        await part(send, b"c", more=False)
        await send({"type": "http.response.trailers", "headers": [(b"X-Sum", b"3")]})

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get()
    assert answer.interim == [(b":status", b"103"), (b"link", b"</a.css>")]
    assert answer.fields == [(b":status", b"201"), (b"x-a", b"1")]
    assert (answer.body, answer.trailers, answer.ended) == (b"abc", [(b"x-sum", b"3")], True)


async def test_request_trailers_end_the_body_and_are_dropped(options: dict[str, Any]) -> None:
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        await client.send(stream, b"abc")
        client.h2.send_headers(stream, [(b"x-sum", b"3")], end_stream=True)
        await client.say()
        assert (await client.answer(stream)).body == b"abc"


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
async def test_answers_without_a_body(options: dict[str, Any], method: bytes, status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, b"unwanted", status, [(b"connection", b"close"), (b"transfer-encoding", b"chunked")])

    async with serving(app, **options) as site, http2_client(site) as client:
        answer = await client.get(method=method)
        assert (answer.fields, answer.body, answer.ended) == ([(b":status", b"%d" % status)], b"", True)
        assert (await client.get()).ended


async def test_100_continue(options: dict[str, Any]) -> None:  # RFC 9110 §10.1.1
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", fields=[(b"expect", b"100-continue")], ends=False)
        while not client.answers[stream].interim:
            await client.listen()
        assert client.answers[stream].interim == [(b":status", b"100")]
        await client.send(stream, b"now", ends=True)
        assert (await client.answer(stream)).body == b"now"


async def test_a_success_before_the_body_lets_go_of_the_rest(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async with serving(hello, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = await client.answer(stream)
        assert (answer.status, answer.ended) == (200, True)
        with seconds_passed() as elapsed:
            while answer.reset is None:
                await client.listen()
        assert answer.reset == NO_ERROR
        assert elapsed.seconds < 1
        assert (await client.get()).ended


async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, b"", 413)


async def test_a_client_may_go_on_sending_after_its_answer(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async with serving(too_large, **options, limit_http2_streams=1) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        assert (await client.answer(stream)).ended
        await client.send(stream, bytes(1_000_000), ends=True)  # several windows
        assert (await client.get()).ended
        assert client.answers[stream].reset is None


async def test_a_client_that_stops_sending_after_its_answer(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async with serving(too_large, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = await client.answer(stream)
        await client.send(stream, bytes(1000))
        await anyio.sleep(1)
        await client.send(stream, bytes(1000))
        with seconds_passed() as elapsed:
            while answer.reset is None:
                await client.listen()
        assert (answer.status, answer.ended, answer.reset) == (413, True, NO_ERROR)
        assert 2 <= elapsed.seconds <= 4
        assert (await client.get()).ended


async def test_what_a_client_goes_on_sending_is_in_nobodys_way(options: dict[str, Any]) -> None:
    async with serving(too_large, **options, limit_http2_streams=1) as site, http2_client(site) as client:
        client.h2.remote_settings[3] = 2  # as if it did not count streams
        stream = await client.ask(method=b"POST", ends=False)
        assert (await client.answer(stream)).ended
        with seconds_passed() as elapsed:
            assert (await client.get()).ended
        assert client.answers[stream].reset == NO_ERROR
        assert elapsed.seconds < 1


async def test_a_client_that_never_stops_sending_after_its_answer(options: dict[str, Any]) -> None:
    async with serving(too_large, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = await client.answer(stream)
        with seconds_passed() as elapsed, anyio.move_on_after(100):
            while answer.reset is None:
                await client.send(stream, b"x")
                with anyio.move_on_after(1):
                    await client.listen()
        assert answer.reset == NO_ERROR
        assert 29 <= elapsed.seconds <= 32


async def test_many_streams_at_once(options: dict[str, Any]) -> None:
    running, all_run = 0, anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        if running == 100:
            all_run.set()
        await all_run.wait()
        await reply(send, scope["path"].encode())

    async with serving(app, **options) as site, http2_client(site) as client:
        streams = [await client.ask(f"/{number}") for number in range(100)]
        for number, stream in enumerate(streams):
            assert (await client.answer(stream)).body == b"/%d" % number


async def test_http1_on_the_same_port(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site:
        client = site.connect()
        for byte in get("/old"):
            await client.send_all(bytes([byte]))
            await settled()
        assert await receive_response(client) == ok(b"/old")


async def test_without_the_option_cleartext_is_http1() -> None:
    async with serving(hello) as site:
        answer = await site.everything_after(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 505 ")


# -- what is refused -------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("fields", "status"), [
    ([(b"x-large", b"a" * 9000)], 431),
    ([(b"x-many", b"1")] * 101, 431),
    ([(b"content-length", b"1001")], 413),
])  # fmt: skip
async def test_a_request_over_the_limits(
    options: dict[str, Any], fields: list[tuple[bytes, bytes]], status: int
) -> None:
    limits: dict[str, Any] = {"limit_header_bytes": 8192, "limit_request_body": 1000}
    async with serving(hello, **options, **limits) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", fields=fields, ends=False)
        assert (await client.answer(stream)).status == status
        assert (await client.get()).ended


async def test_a_body_that_grows_over_the_limit(options: dict[str, Any]) -> None:
    async with serving(echo, **options, limit_request_body=1000) as site, http2_client(site) as client:
        assert (await client.post(bytes(1001))).status == 413
        assert (await client.post(bytes(1000))).status == 200


async def test_one_stream_too_many_is_refused(options: dict[str, Any]) -> None:  # RFC 9113 §5.1.2
    gate = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await reply(send)

    async with serving(app, **options, limit_http2_streams=2) as site, http2_client(site) as client:
        await client.listen()
        client.h2.remote_settings[3] = 100  # this client does not care
        client.h2.remote_settings.acknowledge()
        streams = [await client.ask() for _ in range(3)]
        assert (await client.answer(streams[2])).reset == REFUSED_STREAM
        gate.set()
        for stream in streams[:2]:
            assert (await client.answer(stream)).ended


async def test_an_application_counts_until_it_has_ended(options: dict[str, Any]) -> None:  # CVE-2023-44487
    """Streams that are reset make room for others, whose applications wait until there is room for them, too."""
    running, most = 0, 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await anyio.sleep(60)
        finally:
            running -= 1

    async with serving(app, **options, limit_http2_streams=4) as site, http2_client(site) as client:
        for _ in range(20):
            await client.reset(await client.ask())
            await settled()
        assert most == 4


async def test_limit_concurrency_counts_streams(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(30)
        await reply(send)

    async with serving(app, **options, limit_concurrency=1) as site, http2_client(site) as client:
        first, second, third = [await client.ask() for _ in range(3)]
        refused = await client.answer(third)
        assert (refused.status, dict(refused.fields)[b"retry-after"]) == (503, b"1")
        assert (await client.answer(second)).status == 503
        assert (await client.answer(first)).status == 200


# -- floods ----------------------------------------------------------------------------------------------------------


async def waits_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def test_resets_have_a_rate(options: dict[str, Any]) -> None:  # CVE-2023-44487
    async with serving(waits_for_ever, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(10):
            await client.reset(await client.ask())
        await anyio.sleep(3)
        await client.reset(await client.ask())  # a tenth of the time has passed
        await client.reset(await client.ask())
        await client.until_end()
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


async def begun(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await part(send, b"the beginning")
    await anyio.sleep_forever()


async def test_resets_after_the_beginning_of_an_answer_are_free(options: dict[str, Any]) -> None:
    """A page is loaded anew while it is still coming."""
    async with serving(begun, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(12):
            streams = [await client.ask() for _ in range(100)]
            for stream in streams:
                assert (await client.head(stream)).status == 200
            for stream in streams:
                client.h2.reset_stream(stream, CANCEL)
            await client.say()
            await settled()
        assert (await client.head(await client.ask())).status == 200
        assert client.goaways == []


async def test_resets_that_come_after_the_end_are_free(options: dict[str, Any]) -> None:
    """They have crossed the end of the answer on the way."""
    async with serving(hello, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(12):
            stream = await client.ask()
            await client.answer(stream)
            await client.stream.send_all(RstStreamFrame(stream, error_code=CANCEL).serialize())
            await settled()
        assert (await client.get()).status == 200
        assert client.goaways == []


async def test_a_page_whose_images_do_not_come_may_be_loaded_12_times(options: dict[str, Any]) -> None:
    async with serving(waits_for_ever, **options) as site, http2_client(site) as client:
        for _ in range(12):
            streams = [await client.ask() for _ in range(100)]
            await settled()
            for stream in streams:
                client.h2.reset_stream(stream, CANCEL)
            await client.say()
            await settled()
        client.h2.ping(b"12345678")
        await client.say()
        while not client.pongs and not client.has_ended:
            await client.listen()
        assert client.goaways == []


@pytest.mark.parametrize("limit", ["limit_http2_resets", "limit_http2_control_frames"])
async def test_who_uses_up_an_allowance_is_named(
    options: dict[str, Any], limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    options[limit] = 100
    async with serving(waits_for_ever, **options) as site, http2_client(site) as client:
        for _ in range(110):
            if limit == "limit_http2_resets":
                client.h2.reset_stream(client.prepare(), CANCEL)
            else:
                client.h2.ping(b"12345678")
        await client.say()
        await client.until_end()
    [record] = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "trioserve")
    assert str(client.stream.local) in record.message
    assert record.message.endswith(f"(--{limit.replace('_', '-')})")


async def test_resets_that_are_provoked_count_too(options: dict[str, Any]) -> None:  # CVE-2025-8671
    async with serving(hello, **options, limit_http2_resets=10) as site, http2_client(site) as client:
        for _ in range(11):
            await client.ask(fields=[(b"upgrade", b"x")])
        await client.until_end()
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


async def test_frames_that_make_no_progress_have_a_rate(options: dict[str, Any]) -> None:  # CVE-2019-9512
    async with serving(hello, **options, limit_http2_control_frames=100) as site, http2_client(site) as client:
        for _ in range(101):
            client.h2.ping(b"12345678")
        await client.say()
        await client.until_end()
        assert client.goaways[-1][1] == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("window", [1, 10, 1000])
async def test_a_client_with_a_small_window_may_open_it_again_and_again(
    options: dict[str, Any], window: int
) -> None:  # RFC 9113 §6.9
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(300 * window))

    settings = {INITIAL_WINDOW_SIZE: window}
    async with (
        serving(app, **options, limit_http2_control_frames=100) as site, http2_client(site, settings) as client,
    ):
        assert (await client.get()).body == bytes(300 * window)


async def test_a_client_may_acknowledge_each_small_part(options: dict[str, Any]) -> None:  # RFC 9113 §6.9
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(300):
            await part(send, b"x")
            await anyio.sleep(0.01)

    async with serving(app, **options, limit_http2_control_frames=100) as site, http2_client(site) as client:
        stream = await client.ask()
        answer = await client.head(stream)
        while len(answer.body) < 300:
            before = len(answer.body)
            await client.listen()
            assert not client.has_ended
            if len(answer.body) > before:
                for whose in (stream, None):
                    client.h2.increment_flow_control_window(1, whose)
                await client.say()


# -- the client leaves -----------------------------------------------------------------------------------------------


async def test_a_reset_is_a_disconnect(options: dict[str, Any]) -> None:
    events: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        events.append((await receive())["type"])
        events.append((await receive())["type"])
        try:
            await reply(send)
        except ClientDisconnected as exc:
            events.append(type(exc))

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        other = await client.ask("/other")
        await client.reset(stream)
        assert events == ["http.request", "http.request", "http.disconnect", ClientDisconnected]
        assert not client.answers[other].is_over


async def test_a_reset_cancels_an_application_that_streams_and_does_not_listen(options: dict[str, Any]) -> None:
    ended = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, b"x")
        try:
            await anyio.sleep(3600)
        finally:
            ended.set()

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await client.head(stream)
        with seconds_passed() as elapsed:
            await client.reset(stream)
            await ended.wait()
        assert elapsed.seconds < 1


async def test_all_streams_are_told_when_the_connection_breaks(options: dict[str, Any]) -> None:
    told = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal told
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        told += 1

    async with serving(app, **options) as site:
        async with http2_client(site) as client:
            for _ in range(3):
                await client.ask()
            await settled()
        await settled()
        assert told == 3


# -- the application fails -------------------------------------------------------------------------------------------


async def test_an_exception_before_the_answer_is_500(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("planned")

    async with serving(app, **options) as site, http2_client(site) as client:
        assert (await client.get()).status == 500
        assert (await client.get()).status == 500  # on the same connection


async def test_an_exception_in_the_answer_resets_the_stream(options: dict[str, Any]) -> None:  # RFC 9113 §8.1
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/other":
            await anyio.sleep(1)
            await reply(send, b"whole")
            return
        await start(send)
        await part(send, b"half")
        raise RuntimeError("planned")

    async with serving(app, **options) as site, http2_client(site) as client:
        other = await client.ask("/other")
        answer = await client.get()
        assert (answer.body, answer.reset, answer.ended) == (b"half", INTERNAL_ERROR, False)
        assert (await client.answer(other)).body == b"whole"


async def fails_while_much_is_unsent(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(part, send, bytes(500_000))
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("planned")


@pytest.mark.parametrize("size", [70_000, 500_000])
async def test_what_was_sent_before_an_exception_arrives(options: dict[str, Any], size: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(part, send, bytes(size))  # more than the client's window
            await settled()
            raise RuntimeError("planned")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        answer = await client.answer(stream)
        assert (len(answer.body), answer.reset, answer.ended) == (size, INTERNAL_ERROR, False)
        assert (await client.get()).reset == INTERNAL_ERROR  # the connection goes on


async def test_what_was_sent_before_a_timeout_arrives(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, bytes(100_000))
        await anyio.sleep_forever()

    async with serving(app, **options, timeout_request=2) as site, http2_client(site) as client:
        client.takes_bodies = False
        stream = await client.ask()
        await anyio.sleep(3)
        await client.listen()
        assert client.answers[stream].reset is None
        client.takes_bodies = True
        client.h2.increment_flow_control_window(100_000)
        client.h2.increment_flow_control_window(100_000, stream)
        await client.say()
        answer = await client.answer(stream)
        assert (len(answer.body), answer.reset, answer.ended) == (100_000, CANCEL, False)


async def test_a_client_that_does_not_take_what_was_sent_before_an_exception(options: dict[str, Any]) -> None:
    options["timeout_write"] = 8
    async with serving(fails_while_much_is_unsent, **options) as site, http2_client(site) as client:
        client.takes_bodies = False
        with seconds_passed() as elapsed:
            answer = await client.get()
        assert answer.reset == ENHANCE_YOUR_CALM
        assert 8 <= elapsed.seconds <= 9.6


async def test_the_deadline_of_a_shutdown_while_the_rest_of_a_cut_answer_waits(options: dict[str, Any]) -> None:
    options["timeout_graceful_shutdown"] = 2
    async with serving(fails_while_much_is_unsent, **options) as site, http2_client(site) as client:
        client.takes_bodies = False
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            await client.until_end()
        assert client.answers[stream].reset == INTERNAL_ERROR
        assert elapsed.seconds < 5


async def test_an_application_that_goes_on_after_its_answer(options: dict[str, Any]) -> None:
    gone_on = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send)
        await anyio.sleep(3)
        gone_on.set()

    async with serving(app, **options) as site, http2_client(site) as client:
        with seconds_passed() as elapsed:
            for _ in range(5):
                assert (await client.get()).ended
        assert elapsed.seconds == 0
        await gone_on.wait()


# -- flow control ----------------------------------------------------------------------------------------------------


async def test_a_shut_window_stops_its_application_only(options: dict[str, Any]) -> None:  # RFC 9113 §5.2.2
    parts_sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal parts_sent
        if scope["path"] == "/small":
            await reply(send, b"small")
            return
        await start(send)
        for _ in range(100):
            await part(send, bytes(65536))
            parts_sent += 1

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 10}) as client:
        client.takes_bodies = False
        stream = await client.ask("/large")
        await client.head(stream)
        await settled()
        assert parts_sent <= 4
        assert (await client.get("/small")).body == b"small"


async def test_a_body_that_nobody_takes_is_bounded(options: dict[str, Any]) -> None:
    gate = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await reply(send, b"%d" % len(await read_body(receive)))

    async with serving(app, **options) as site, http2_client(site) as client:
        await client.listen()
        stream = await client.ask(method=b"POST", ends=False)
        let_in = 0
        with anyio.move_on_after(5):
            while True:
                await client.send(stream, bytes(16384))
                let_in += 16384
        assert let_in <= 512 * 1024
        gate.set()
        await client.send(stream, b"", ends=True)
        assert int((await client.answer(stream)).body) >= let_in


async def test_an_end_needs_no_window(options: dict[str, Any]) -> None:  # RFC 9113 §6.9.1
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await part(send, bytes(100))
        await anyio.sleep(1)
        await part(send, b"", more=False)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 100}) as client:
        client.takes_bodies = False
        answer = await client.get()
        assert (answer.body, answer.ended) == (bytes(100), True)


async def test_urgent_streams_come_first(options: dict[str, Any]) -> None:  # RFC 9218 §10
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, scope["path"].encode() * 20_000)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 0}) as client:
        client.takes_bodies = False
        streams = [await client.ask("/a", fields=[(b"priority", b"u=5")]), await client.ask("/b"),
                   await client.ask("/c", fields=[(b"priority", b"u=1")])]
        for stream in streams:
            await client.head(stream)
        client.h2.update_settings({INITIAL_WINDOW_SIZE: 40_000})
        await client.say()
        while sum(len(client.answers[stream].body) for stream in streams) < 65_535:
            await client.listen()
        assert [len(client.answers[stream].body) for stream in streams] == [0, 25_535, 40_000]


@pytest.mark.parametrize(("priority", "takes_turns"), [(b"u=2", False), (b"u=2, i", True), (b"", True)])
async def test_streams_of_the_same_urgency(
    options: dict[str, Any], priority: bytes, takes_turns: bool
) -> None:  # RFC 9218 §10
    """One after the other, or in turns: as the client says, and in turns when it says nothing."""
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(40_000))

    fields = [(b"priority", priority)] if priority else []
    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 0}) as client:
        client.takes_bodies = False
        streams = [await client.ask(fields=fields) for _ in range(2)]
        for stream in streams:
            await client.head(stream)
        client.h2.update_settings({INITIAL_WINDOW_SIZE: 40_000})
        await client.say()
        while sum(len(client.answers[stream].body) for stream in streams) < 65_535:
            await client.listen()
        first, second = (len(client.answers[stream].body) for stream in streams)
        assert (abs(first - second) <= 16_384 and max(first, second) < 40_000) is takes_turns


# -- timeouts --------------------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        with seconds_passed() as elapsed:
            while not client.goaways:
                await client.listen()
        assert elapsed.seconds == 7
        with seconds_passed() as elapsed:
            await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (1, NO_ERROR)]
        assert elapsed.seconds == pytest.approx(BEGUN_SECONDS)


async def test_a_request_that_comes_when_an_idle_connection_is_closed(options: dict[str, Any]) -> None:
    """Some proxies would not send it again on another connection."""
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        await anyio.sleep(7.5)
        stream = await client.ask()  # before it reads what the server has sent
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_a_request_that_comes_at_the_very_end_of_the_idle_time(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is over, and the task that waits has not yet been told."""
    give_up = Patience._give_up
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        stream = client.prepare()

        def give_up_too_early(patience: Patience, expected: Timeout) -> None:
            give_up(patience, expected)
            client.stream.send_nowait(client.h2.data_to_send())

        monkeypatch.setattr(Patience, "_give_up", give_up_too_early)
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_an_idle_client_that_does_not_listen_is_closed(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_http2_idle=0.25) as site, http2_client(site) as client:
        await client.get()
        await anyio.sleep(2)
        stream = await client.ask()
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (1, NO_ERROR)]
        assert client.answers[stream].status is None


async def test_pings_do_not_keep_an_idle_connection_open(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_http2_idle=7) as site, http2_client(site) as client:
        await client.get()
        with seconds_passed() as elapsed:
            for _ in range(3):
                await anyio.sleep(2)
                client.h2.ping(b"12345678")
                await client.say()
            while not client.goaways:
                await client.listen()
        assert elapsed.seconds == 7


async def test_a_head_that_does_not_end(options: dict[str, Any]) -> None:
    async with serving(hello, **options, timeout_header=3) as site, http2_client(site) as client:
        await client.get()
        await client.stream.send_all(b"\0\0\1\1\1\0\0\0\3\x82")  # HEADERS without END_HEADERS
        with seconds_passed() as elapsed:
            while not client.goaways:
                await client.listen()
        assert elapsed.seconds == 3


@pytest.mark.parametrize("early", [b"", b"PRI * HT"])
async def test_a_preface_that_does_not_come(options: dict[str, Any], early: bytes) -> None:
    async with serving(hello, **options, timeout_header=3) as site:
        client = site.connect()
        await client.send_all(early)
        with seconds_passed() as elapsed, pytest.raises(ClientDisconnected):
            await client.receive_some()
        assert elapsed.seconds == 3


async def test_a_body_that_does_not_come(options: dict[str, Any]) -> None:
    async with serving(echo, **options, timeout_body=3) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        with seconds_passed() as elapsed:
            assert (await client.answer(stream)).status == 408
        assert elapsed.seconds == 3
        assert (await client.get()).ended


async def test_a_body_that_drips(options: dict[str, Any]) -> None:
    async with serving(echo, **options) as site, http2_client(site) as client:
        stream = await client.ask(method=b"POST", ends=False)
        answer = client.answers[stream]
        async with anyio.create_task_group() as dripping:

            async def drip() -> None:
                while not answer.is_over:
                    await client.send(stream, b"x")
                    await anyio.sleep(1)

            dripping.start_soon(drip)
            with seconds_passed() as elapsed:
                assert (await client.answer(stream)).status == 408
            dripping.cancel_scope.cancel()
        assert 5 <= elapsed.seconds < 7


async def test_a_window_that_stays_shut(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, bytes(1000) if scope["path"] == "/" else b"")

    async with (
        serving(app, **options, timeout_write=8) as site,
        http2_client(site, {INITIAL_WINDOW_SIZE: 10}) as client,
    ):
        client.takes_bodies = False
        with seconds_passed() as elapsed:
            answer = await client.get()
        assert answer.reset == ENHANCE_YOUR_CALM
        assert 8 <= elapsed.seconds <= 9
        assert (await client.get("/other")).ended


async def test_a_request_that_takes_too_long(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(3600 if scope["path"] == "/" else 5)
        await reply(send)

    async with serving(app, **options, timeout_request=3) as site, http2_client(site) as client:
        with seconds_passed() as elapsed:
            assert (await client.get()).status == 504
        assert elapsed.seconds == 3


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_a_drain_in_two_steps(options: dict[str, Any]) -> None:  # RFC 9113 §6.8
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(2)
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        answer = await client.answer(stream)
        assert answer.body == b"whole"
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]
        await client.until_end()


async def test_a_request_that_had_begun_when_the_client_heard_of_the_end(options: dict[str, Any]) -> None:
    """Go's client may acknowledge the ping first."""
    async with serving(hello, **options) as site, http2_client(site) as client:
        await client.get()
        site.server.request_shutdown("test")
        while not client.goaways:
            await client.listen()  # and acknowledge
        await anyio.sleep(BEGUN_SECONDS / 2)
        stream = await client.ask()
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_a_drain_waits_for_the_first_request_of_a_new_connection(options: dict[str, Any]) -> None:
    """A client that learns of the end before it has sent the request that it has connected for may give it up."""
    async with serving(hello, **options) as site, http2_client(site) as client:
        site.server.request_shutdown("test", settle=0.5)
        await settled()
        await anyio.sleep(0.75)
        assert client.goaways == []
        stream = await client.ask()
        assert (await client.answer(stream)).body == b"/"
        await client.until_end()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_a_drain_waits_no_longer_than_a_second_for_the_first_request(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, http2_client(site) as client:
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            await client.until_end()
        assert elapsed.seconds == pytest.approx(1 + BEGUN_SECONDS)
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (0, NO_ERROR)]


async def test_a_silent_connection_is_told_at_once(options: dict[str, Any]) -> None:
    async with serving(hello, **options) as site, http2_client(site) as client:
        await anyio.sleep(1)
        site.server.request_shutdown("test")
        with seconds_passed() as elapsed:
            await client.until_end()
        assert elapsed.seconds == pytest.approx(BEGUN_SECONDS)
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (0, NO_ERROR)]


async def test_a_client_that_leaves_instead_of_asking_is_not_waited_for(options: dict[str, Any]) -> None:
    with seconds_passed() as elapsed:
        async with serving(hello, **options) as site, http2_client(site) as client:
            site.server.request_shutdown("test")
            await settled()
            await client.stream.aclose()
    assert elapsed.seconds == 0


async def test_streams_are_reset_at_the_deadline_before_the_connection_ends(options: dict[str, Any]) -> None:
    options["timeout_graceful_shutdown"] = 2
    async with serving(waits_for_ever, **options) as site, http2_client(site) as client:
        streams = [await client.ask() for _ in range(3)]
        await settled()
        site.server.request_shutdown("test")
        await client.until_end()
    assert [client.answers[stream].reset for stream in streams] == [INTERNAL_ERROR] * 3


async def test_an_application_that_answers_when_it_is_cancelled_at_the_deadline(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
                await reply(send, b"sorry")

    async with serving(app, **options, timeout_graceful_shutdown=2) as site, http2_client(site) as client:
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        assert (await client.answer(stream)).body == b"sorry"
        await client.until_end()


@pytest.mark.parametrize("ended_by", ["a deadline", "a cancellation from outside"])
async def test_requests_that_have_not_begun_are_refused_at_the_end(options: dict[str, Any], ended_by: str) -> None:
    """They wait for the applications of streams that their client has reset. Nobody waits for them."""
    may_end = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.move_on_after(60, shield=True):
            await may_end.wait()

    options |= {"timeout_graceful_shutdown": 2, "limit_http2_streams": 1, "on_disconnect": "notify"}
    async with serving(app, **options) as site, http2_client(site) as client:
        await client.reset(await client.ask())
        await settled()
        stream = await client.ask()
        await settled()
        if ended_by == "a deadline":
            site.server.request_shutdown("test")
        else:
            [connection] = site.server._lifetime.connections
            assert connection.nursery is not None
            connection.nursery.cancel()
        assert (await client.answer(stream)).reset == REFUSED_STREAM
        may_end.set()
        await client.until_end()


async def test_a_drain_while_the_network_is_full(options: dict[str, Any]) -> None:
    """The notice does not get into the middle of a frame, of which the network has taken a part."""
    body = bytes(1_000_000)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, body)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 2 * len(body)}) as client:
        client.h2.increment_flow_control_window(2 * len(body))
        stream = await client.ask()
        await settled()
        site.server.request_shutdown("test")
        await settled()
        answer = await client.answer(stream)
        await client.until_end()
    assert answer.body == body
    assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (stream, NO_ERROR)]


async def test_the_last_request_of_a_connection(options: dict[str, Any]) -> None:  # RFC 9113 §6.8
    """With it the end is announced. Those in progress are finished, one that was on the way as well, then it closes."""
    gate = anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await reply(send, b"whole")

    async with serving(app, **options, limit_requests_per_connection=2) as site, http2_client(site) as client:
        streams = [await client.ask()]
        await settled()
        await client.listen()
        assert client.goaways == []
        streams += [await client.ask(), await client.ask()]
        while len(client.goaways) < 2:
            await client.listen()
        assert client.goaways == [(HIGHEST_STREAM, NO_ERROR), (streams[-1], NO_ERROR)]
        assert (await client.answer(await client.ask())).reset == REFUSED_STREAM
        gate.set()
        for stream in streams:
            assert (await client.answer(stream)).body == b"whole"
        await client.until_end()


@pytest.mark.parametrize("last_stream", [0, HIGHEST_STREAM], ids=["second step", "first step"])
@pytest.mark.parametrize("piece", [1, 1000])
async def test_a_client_that_has_sent_goaway_gets_its_answers(
    options: dict[str, Any], last_stream: int, piece: int
) -> None:  # RFC 9113 §6.8
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(1)
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        goaway = b"\0\0\x08\7\0\0\0\0\0" + last_stream.to_bytes(4, "big") + bytes(4)
        for at in range(0, len(goaway), piece):
            await client.stream.send_all(goaway[at : at + piece])
            await settled()
        assert (await client.answer(stream)).body == b"whole"


async def test_a_client_that_has_finished_sending_gets_its_answers(options: dict[str, Any]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.2)
        await reply(send, b"whole")

    async with serving(app, **options) as site, http2_client(site) as client:
        stream = await client.ask()
        client.stream.send_eof()
        while not client.answers[stream].is_over and not client.has_ended:
            for event in client.h2.receive_data(await client.stream.receive_some()):
                client._note(event)
        assert client.answers[stream].body == b"whole"


async def test_a_client_that_has_finished_sending_gets_what_waits_for_the_network(options: dict[str, Any]) -> None:
    """Its windows are open, so nothing is in the way of the rest."""
    size = 1_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for _ in range(10):
            await part(send, bytes(size // 10))
        await part(send, b"", more=False)

    async with serving(app, **options) as site, http2_client(site, {INITIAL_WINDOW_SIZE: 2 * size}) as client:
        client.takes_bodies = False
        client.h2.increment_flow_control_window(2 * size)
        stream = await client.ask()
        await settled()
        client.stream.send_eof()
        await settled()
        for event in client.h2.receive_data(await client.stream.receive_rest()):
            client._note(event)
    answer = client.answers[stream]
    assert (len(answer.body), answer.ended, answer.reset) == (size, True, None)


async def test_what_waits_for_its_turn_begins_although_its_client_has_finished_sending(
    options: dict[str, Any]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/long":
            await anyio.sleep(10)
        await reply(send, b"answer")

    async with serving(app, **options, limit_http2_streams=2) as site, http2_client(site) as client:
        for stream in [await client.ask("/long") for _ in range(2)]:
            await client.reset(stream)  # which its application need not notice
        streams = [await client.ask() for _ in range(2)]
        client.stream.send_eof()
        while data := await client.stream.receive_some():
            for event in client.h2.receive_data(data):
                client._note(event)
        assert [client.answers[stream].body for stream in streams] == [b"answer", b"answer"]
        await settled()
        assert site.connections == 0


async def test_a_client_that_has_finished_sending_opens_no_window(options: dict[str, Any]) -> None:
    outcomes: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep(0.2)
        try:
            await start(send)
            await part(send, bytes(1000))
            await part(send, bytes(1000), more=False)
        except ClientDisconnected as exc:
            outcomes.append(exc)
            raise

    async with (
        serving(app, **options, on_disconnect="notify") as site,
        http2_client(site, {INITIAL_WINDOW_SIZE: 10}) as client,
    ):
        client.takes_bodies = False
        stream = await client.ask()
        client.stream.send_eof()
        with seconds_passed() as elapsed:
            data = await client.stream.receive_rest()
        for event in client.h2.receive_data(data):
            client._note(event)
        assert (len(client.answers[stream].body), client.answers[stream].reset) == (10, CANCEL)
        assert elapsed.seconds < 5
    assert len(outcomes) == 1


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
