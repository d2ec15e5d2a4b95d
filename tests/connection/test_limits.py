"""How many connections, how many requests at once, how many in all."""

import anyio
import pytest

from tests.helpers.apps import echo, hello, read_body, reply, sleeper
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok, post, receive_response, status_of
from trioserve._connection import Turnstile
from trioserve._streams.memory import MemoryClient
from trioserve._types import Receive, Scope, Send
from trioserve.testing import seconds_passed, settled


async def ask(site: Site, target: str) -> MemoryClient:
    """A connection whose request is in the server."""
    client = site.connect()
    await client.send_all(get(target))
    await settled()
    return client


# -- limit_concurrency -----------------------------------------------------------------------------------------------


async def test_concurrency_one_more_waits_for_a_free_slot() -> None:
    async with serving(sleeper, limit_concurrency=2) as site:
        running = [await ask(site, "/0.5"), await ask(site, "/0.7")]
        waiting = await ask(site, "/10")
        with seconds_passed() as elapsed:
            assert await receive_response(waiting) == ok(b"/10")
        assert elapsed.seconds == pytest.approx(10.5)
        for client in running:
            await receive_response(client)


async def test_concurrency_who_waits_too_long_gets_503_and_may_come_again() -> None:  # RFC 9110 §15.6.4
    async with serving(sleeper, limit_concurrency=1) as site:
        await ask(site, "/10")
        with seconds_passed() as elapsed:
            response = await receive_response(await ask(site, "/0"))
        assert elapsed.seconds == 1
    assert status_of(response) == 503
    assert b"retry-after: 1\r\n" in response


async def test_concurrency_a_full_queue_refuses_at_once() -> None:
    async with serving(sleeper, limit_concurrency=2) as site:
        for target in ("/10", "/10", "/0", "/0"):
            await ask(site, target)
        with seconds_passed() as elapsed:
            assert status_of(await receive_response(await ask(site, "/0"))) == 503
    assert elapsed.seconds == 0


async def test_concurrency_first_come_first_served() -> None:
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])
        await sleeper(scope, receive, send)

    targets = ["/0.1", "/0.2", "/0.3", "/0.4", "/0.5", "/0.6"]
    async with serving(app, limit_concurrency=3) as site:
        clients = [await ask(site, target) for target in targets]
        for client in clients:
            await receive_response(client)
    assert served == targets


async def test_concurrency_idle_connections_do_not_count() -> None:
    async with serving(hello, limit_concurrency=1) as site:
        clients = [site.connect() for _ in range(10)]
        for client in clients * 2:
            await client.send_all(get())
            assert await receive_response(client) == ok(b"/")


async def test_concurrency_a_failing_request_gives_its_slot_back() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            raise ValueError
        await hello(scope, receive, send)

    async with serving(app, limit_concurrency=1) as site:
        for _ in range(3):
            assert status_of(await site.answer_to(get("/fail"))) == 500
        assert await site.answer_to(get()) == ok(b"/")


async def test_concurrency_a_cancelled_request_gives_its_slot_back() -> None:
    async with serving(sleeper, limit_concurrency=1, timeout_request=5) as site:
        assert status_of(await site.answer_to(get("/100"))) == 504
        assert await site.answer_to(get("/0")) == ok(b"/0")


async def test_concurrency_a_request_is_over_although_its_client_still_sends_a_body() -> None:
    async with serving(hello, limit_concurrency=1) as site:
        uploading = site.connect()
        await uploading.send_all(post(b"", length=100))
        assert await receive_response(uploading) == ok(b"/")
        await settled()
        assert await site.answer_to(get("/next")) == ok(b"/next")
        assert not uploading.lost


async def test_concurrency_a_request_refused_with_its_body_unread_can_be_read() -> None:  # RFC 9112 §9.6
    async with serving(sleeper, limit_concurrency=1) as site:
        await ask(site, "/10")
        client = site.connect()
        client.send_nowait(post(b"x" * 500_000, target="/0"))
        await anyio.sleep(2)
        assert status_of(await client.receive_rest()) == 503
        assert not client.lost


# -- limit_connections -----------------------------------------------------------------------------------------------


async def test_connections_further_ones_wait_in_the_backlog() -> None:
    async with serving(hello, limit_connections=2) as site:
        clients = [await ask(site, "/") for _ in range(3)]
        assert site.connections == 2
        assert site.listener.waiting == 1
        assert await receive_response(clients[0]) == ok(b"/")
        await clients[0].aclose()
        assert await receive_response(clients[2]) == ok(b"/")
        assert site.listener.waiting == 0


async def test_connections_a_broken_one_gives_its_place_back() -> None:
    async with serving(hello, limit_connections=1) as site:
        for _ in range(5):
            (await ask(site, "/")).abort()
            await settled()
        assert await site.answer_to(get()) == ok(b"/")


# -- limit_requests_per_connection -----------------------------------------------------------------------------------


async def test_requests_per_connection_the_last_response_closes_it() -> None:  # RFC 9112 §9.6
    async with serving(hello, limit_requests_per_connection=3) as site:
        for _ in range(2):
            client = site.connect()
            for _ in range(2):
                await client.send_all(get())
                assert await receive_response(client) == ok(b"/")
            await client.send_all(get())
            assert await client.receive_rest() == ok(b"/", "connection: close")
            assert not client.lost


async def test_requests_per_connection_of_pipelined_ones_the_rest_is_left() -> None:
    async with serving(hello, limit_requests_per_connection=2) as site:
        client = site.connect()
        await client.send_all(3 * get())
        assert await client.receive_rest() == ok(b"/") + ok(b"/", "connection: close")


async def test_requests_per_connection_the_body_of_the_last_one_is_read() -> None:
    async with serving(echo, limit_requests_per_connection=1) as site:
        client = site.connect()
        await client.send_all(post(b"x" * 100_000))
        assert (await client.receive_rest()).endswith(b"x" * 100_000)


# -- limit_max_requests ----------------------------------------------------------------------------------------------


async def test_max_requests_stops_gracefully_after_the_last() -> None:
    async with serving(hello, limit_max_requests=3) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get())
            assert await receive_response(client) == ok(b"/")
        await client.send_all(get())
        assert (await client.receive_rest()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert not client.lost
        await settled()
        with pytest.raises(ConnectionRefusedError):
            site.connect()


async def test_max_requests_lets_requests_in_progress_complete() -> None:
    async with serving(sleeper, limit_max_requests=2) as site:
        first, last = await ask(site, "/9"), await ask(site, "/5")
        assert await receive_response(last) == ok(b"/5", "connection: close")
        assert await receive_response(first) == ok(b"/9", "connection: close")


async def test_max_requests_jitter_only_ever_adds() -> None:
    async with serving(hello, limit_max_requests=2, limit_max_requests_jitter=3) as site:
        client = site.connect()
        for _ in range(2):
            await client.send_all(get())
            await receive_response(client)
        await client.receive_rest()


# -- the turnstile itself --------------------------------------------------------------------------------------------


async def test_turnstile_a_place_in_the_queue_is_given_up_when_cancelled() -> None:
    turnstile = Turnstile(1, None, on_spent=lambda: None)
    assert await turnstile.enter()
    with anyio.move_on_after(0.5) as impatience:
        await turnstile.enter()
    assert impatience.cancelled_caught
    turnstile.leave()
    assert await turnstile.enter()


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_turnstile_a_slot_that_comes_together_with_a_cancellation_is_not_lost(cancel_first: bool) -> None:
    turnstile = Turnstile(1, None, on_spent=lambda: None)

    async def visit() -> None:
        if await turnstile.enter():
            turnstile.leave()

    assert await turnstile.enter()
    async with anyio.create_task_group() as waiting:
        waiting.start_soon(visit)
        await settled()
        if cancel_first:
            waiting.cancel_scope.cancel()
        turnstile.leave()
        waiting.cancel_scope.cancel()
    with anyio.fail_after(0.5):
        assert await turnstile.enter()


async def test_turnstile_a_slot_that_comes_at_the_last_moment_is_not_lost() -> None:
    turnstile = Turnstile(1, None, on_spent=lambda: None)
    entered: list[bool] = []

    async def enter() -> None:
        entered.append(await turnstile.enter())

    await enter()
    async with anyio.create_task_group() as waiting:
        waiting.start_soon(enter)
        await settled()
        await anyio.sleep(1)  # just as long as the queue's patience
        turnstile.leave()
    if not entered[1]:
        assert await turnstile.enter()


async def test_turnstile_counts_in_all() -> None:
    spent: list[int] = []
    turnstile = Turnstile(None, 3, on_spent=lambda: spent.append(1))
    for _ in range(5):
        assert await turnstile.enter()
        turnstile.leave()
    assert spent == [1]


async def test_one_request_with_its_body_takes_one_slot() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, await read_body(receive))

    async with serving(app, limit_concurrency=1) as site:
        client = site.connect()
        for body in (b"one", b"two"):
            await client.send_all(post(body))
            assert await receive_response(client) == ok(body)
