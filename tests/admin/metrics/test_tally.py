"""What one process counts, told by a server that serves."""

import anyio
import pytest

from tests.helpers.apps import echo, hello, reply
from tests.helpers.http2_client import http2_client
from tests.helpers.serving import serving
from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import echo as websocket_echo
from tests.helpers.ws_client import open_websocket
from trioserve._admin.history import History
from trioserve._admin.metrics.families import DURATION_BUCKETS
from trioserve._admin.metrics.samples import summed
from trioserve._admin.metrics.tally import Tally
from trioserve._connection import Answered
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

REQUESTS = "trioserve_requests_total"
DURATION = "trioserve_request_duration_seconds"
RECEIVED = "trioserve_request_body_bytes_total"
SENT = "trioserve_response_body_bytes_total"
ENDED_EARLY = "trioserve_requests_ended_early_total"
CLOSED = "trioserve_websockets_closed_total"


def numbers(tally: Tally, family: str) -> dict[tuple[str, ...], list[float]]:
    """Those of a family, by their labels."""
    return {sample.labels: sample.numbers for sample in summed([tally.samples()])[family]}


def counts(tally: Tally, family: str) -> dict[tuple[str, ...], float]:
    """The same for a family of single numbers."""
    return {labels: value for labels, (value,) in numbers(tally, family).items()}


class TimedTally(Tally):
    """Takes every request to have lasted as long as it is told."""

    def __init__(self, seconds: float) -> None:
        super().__init__(History())
        self._seconds = seconds

    def answered(self, answered: Answered, seconds: float) -> None:
        super().answered(answered, self._seconds)


async def status_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes the body, and answers with the status that the path names."""
    await receive()
    await reply(send, b"x", status=int(scope["path"][1:]))


def test_nothing_has_happened_yet() -> None:
    tally = Tally(History())
    assert counts(tally, REQUESTS) == {}
    assert counts(tally, RECEIVED) == counts(tally, SENT) == {(): 0}


async def test_requests_by_method_status_and_version() -> None:
    tally = Tally(History())
    async with serving(status_app, recorders=[tally], http2=True) as site:
        for request in (get("/200"), get("/201"), get("/404"), get("/200", version="1.0"), get("/503", method="PUT")):
            await site.answer_to(request)
        async with http2_client(site) as client:
            await client.get("/200")
    assert counts(tally, REQUESTS) == {
        ("GET", "2xx", "1.1"): 2, ("GET", "4xx", "1.1"): 1, ("GET", "2xx", "1.0"): 1, ("PUT", "5xx", "1.1"): 1,
        ("GET", "2xx", "2"): 1,
    }  # fmt: skip


async def test_a_busy_server_counts_each_kind_of_request_as_what_it_is() -> None:
    tally = Tally(history := History())
    async with serving(status_app, recorders=[tally]) as site:
        client = site.connect()
        proxied = get("/200", "x-forwarded-for: 192.0.2.1")  # which means more than a plain one
        mixed = get("/200") + get("/404") + post(b"1234", target="/200") * 2 + proxied
        for request in (get("/200"), get("/200", version="1.0"), get("/503")):
            await site.answer_to(request)
        await client.send_all(mixed * 100)
        await settled()
        assert history.room == 0
        tally.look_again()
        await client.send_all(mixed * 100 + (get("/200") + proxied) * 100)
        await settled()
    assert counts(tally, REQUESTS) == {
        ("GET", "2xx", "1.1"): 601, ("GET", "4xx", "1.1"): 200, ("POST", "2xx", "1.1"): 400, ("GET", "2xx", "1.0"): 1,
        ("GET", "5xx", "1.1"): 1,
    }  # fmt: skip
    assert counts(tally, SENT)[()] == 1203
    assert counts(tally, RECEIVED)[()] == 1600
    assert {labels: sum(buckets) for labels, (_, *buckets) in numbers(tally, DURATION).items()} == {
        ("GET", "2xx"): 602, ("GET", "4xx"): 200, ("POST", "2xx"): 400, ("GET", "5xx"): 1,
    }  # fmt: skip


async def test_methods_that_clients_make_up_are_one_series() -> None:
    tally = Tally(History())
    async with serving(hello, recorders=[tally]) as site:
        for method in ("BREW", "PROPFIND", "X" * 1000):
            await site.answer_to(get(method=method))
        await site.everything_after(b"WHEN / HTTP/1.1\r\n\r\n")
    assert counts(tally, REQUESTS) == {("other", "2xx", "1.1"): 3, ("other", "4xx", "1.1"): 1}
    assert len(tally._series) == 2


async def test_requests_whose_head_could_not_be_read() -> None:
    tally = Tally(History())
    async with serving(hello, recorders=[tally]) as site:
        await site.everything_after(b"no request\r\n\r\n")
        answer = await site.everything_after(get("/", "content-length: x"))
    assert counts(tally, REQUESTS) == {("other", "4xx", "unknown"): 1, ("GET", "4xx", "1.1"): 1}
    assert all(sum(buckets) == 0 for _, *buckets in numbers(tally, DURATION).values())
    assert counts(tally, SENT)[()] > len(answer.partition(b"\r\n\r\n")[2])


async def test_a_client_that_leaves_before_its_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    tally = Tally(History())
    async with serving(app, recorders=[tally], on_disconnect="cancel", on_disconnect_grace=0.5) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        client.abort()
        await anyio.sleep(3)
    assert counts(tally, REQUESTS) == {("GET", "4xx", "1.1"): 1}
    assert counts(tally, ENDED_EARLY) == {("client-disconnect",): 1}


async def test_a_request_that_the_server_ends_without_an_answer() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    tally = Tally(History())
    async with serving(app, recorders=[tally]) as site:
        client = site.connect()
        await client.send_all(get())
        await settled()
        site.server.force_shutdown()
    assert counts(tally, REQUESTS) == {("GET", "none", "1.1"): 1}
    assert counts(tally, ENDED_EARLY) == {("shutdown-deadline",): 1}


async def test_reasons_that_applications_give_are_one_series() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["trioserve.request"]["get"]().cancel(f"reason of {scope['path']}")
        await anyio.sleep_forever()

    tally = Tally(History())
    async with serving(app, recorders=[tally]) as site:
        for target in ("/a", "/b", "/c"):
            await site.everything_after(get(target))
    assert counts(tally, ENDED_EARLY) == {("application",): 3}


@pytest.mark.parametrize(("seconds", "bucket"), [
    (0.001, 0), (0.0011, 1), (0.05, 5), (0.3, 8), (10.0, 12), (3600.0, len(DURATION_BUCKETS)),
])  # fmt: skip
async def test_durations_fall_into_the_bucket_whose_bound_they_do_not_exceed(seconds: float, bucket: int) -> None:
    tally = TimedTally(seconds)
    async with serving(hello, recorders=[tally]) as site:
        await site.answer_to(get())
    total, *buckets = numbers(tally, DURATION)["GET", "2xx"]
    assert total == seconds
    assert buckets[bucket] == sum(buckets) == 1


async def test_bytes_of_bodies() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)

    tally = Tally(History())
    async with serving(app, recorders=[tally], http2=True) as site:
        await site.answer_to(post(b"x" * 1000))
        await site.answer_to(
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        await site.answer_to(get())
        async with http2_client(site) as client:
            await client.post(b"x" * 20_000)
    assert counts(tally, RECEIVED) == counts(tally, SENT) == {(): 21_003}


@pytest.mark.parametrize(("code", "known_as"), [
    (1000, "1000"), (1001, "1001"), (None, "1xxx"), (1011, "1xxx"), (3000, "3xxx"), (4999, "4xxx"),
])  # fmt: skip
async def test_websockets_that_have_ended(code: int | None, known_as: str) -> None:
    tally = Tally(History())
    async with serving(websocket_echo, recorders=[tally]) as site:
        client = await open_websocket(site)
        await client.text("hello")
        assert await client.receive_text() == "hello"
        await client.close(code)
        await client.receive_rest()
        await settled()
        assert site.connections == 0
    assert counts(tally, CLOSED) == {(known_as,): 1}
    assert counts(tally, REQUESTS) == {("GET", "1xx", "1.1"): 1}
    ended = tally.ended_websockets
    assert (ended.received_messages, ended.received_bytes) == (1, 5)
    assert (ended.sent_messages, ended.sent_bytes) == (1, 5)


async def test_a_websocket_whose_line_is_cut() -> None:
    tally = Tally(History())
    async with serving(websocket_echo, recorders=[tally]) as site:
        client = await open_websocket(site)
        client.stream.abort()
        await settled()
    assert counts(tally, CLOSED) == {("1006",): 1}
