"""Random applications, which do what they should not, and random clients, which do as well, on HTTP/1.1.

Whatever happens: answers come in order and are whole or seen to be cut short, each request is recorded and counted
once, and no task, slot of the turnstile or armed timeout is left. Deterministic, and to be run for longer as
``test_http1_fuzz`` says.
"""

import logging
import os
from random import Random
from typing import Any, Final

import anyio
import pytest

from tests.helpers.random_apps import SECONDS, Plan, PlannedApplication, random_plan
from tests.helpers.random_clients import RandomClient, answers_in
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import get, ok
from trioserve._connection import ServerContext
from trioserve._connection.records import Answered
from trioserve._connection.timeouts import Timeout
from trioserve.testing import settled
from trioserve.testing.trio_order import ordered_by

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would triple their time

ROUNDS: Final = int(os.environ.get("TRIOSERVE_FUZZ_ROUNDS", "3000")) // 10
SEED: Final = int(os.environ.get("TRIOSERVE_FUZZ_SEED", "0"))
LONG_ENOUGH: Final = 200.0  # seconds, for whatever goes on
ERRORS: Final = ("Exception in the application", "The application returned", "If it should have sent a file")

class Recorded:
    """A recorder: what access lines and metrics are made of."""

    needs_context = False

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.reasons: set[str] = set()

    def answered(self, answered: Answered, seconds: float) -> None:
        self.targets.append(answered.head.target.decode())

    def websocket_closed(self, websocket: Any, seconds: float) -> None:
        raise AssertionError("there is none")

    def refused(self, refused: Any) -> None:
        """Nonsense."""

    def ended_early(self, request: Any, reason: str, seconds: float) -> None:
        self.reasons.add(reason)


def random_options(random: Random) -> dict[str, Any]:
    return {
        "capacity": random.choice((1000, 65536)),
        "timeout_request": random.choice((None, 2.0, 10.0)),
        "timeout_body": random.choice((2.0, 10.0)),
        "timeout_write": 5.0,
        "timeout_keep_alive": random.choice((1.0, 5.0)),
        "limit_concurrency": random.choice((None, 1, 3)),
        "limit_request_body": random.choice((None, 200_000)),
        "limit_requests_per_connection": random.choice((None, None, 3)),
        "on_disconnect": random.choice(("auto", "notify", "cancel")),
        "timeout_graceful_shutdown": random.choice((0.5, 3.0, 1000.0)),
    }


async def context_of(site: Site) -> ServerContext:
    """What the server lends its connections."""
    client = site.connect()
    await settled()
    ctx = site.only_connection._ctx
    await client.aclose()
    await settled()
    return ctx


def assert_nothing_is_left(ctx: ServerContext, slots: int | None) -> None:
    if ctx.turnstile is not None:
        assert ctx.turnstile._free == slots
        assert not ctx.turnstile._queue
    for timeout in ctx.timeouts:
        assert not (timeout._deadlines if isinstance(timeout, Timeout) else timeout._moments), timeout.kind


async def stop(site: Site, random: Random) -> None:
    """At any time, and perhaps without patience."""
    await anyio.sleep(random.choice((0.0, 0.7, 2.0, 6.0)))
    site.server.request_shutdown("test", settle=random.choice((0.0, 0.5)))
    if random.random() < 0.3:
        await anyio.sleep(random.choice(SECONDS))
        site.server.force_shutdown()


async def see_it_through(site: Site) -> None:
    """The server goes on as if nothing had been."""
    await anyio.sleep(LONG_ENOUGH)
    assert site.connections == 0
    assert await site.answer_to(get("/fine")) == ok(b"fine")
    await settled()


async def talk(random: Random) -> None:
    """A server, and a client or several, until nothing goes on any more."""
    plans = [random_plan(number, random) for number in range(random.randint(1, 12))]
    options, recorded, stops = random_options(random), Recorded(), random.random() < 0.6
    several = random.choice((1, 1, 3))
    async with anyio.create_task_group() as outside:
        app = PlannedApplication(plans, outside)
        async with serving(app, recorders=[recorded], **options) as site:
            ctx = await context_of(site)
            clients = [RandomClient(site.connect(), plans[at::several], random) for at in range(several)]
            async with anyio.create_task_group() as talking:
                for client in clients:
                    talking.start_soon(client.run)
                if stops:
                    await stop(site, random)
            if not stops:
                await see_it_through(site)
    assert_nothing_is_left(ctx, options["limit_concurrency"])
    assert app.running == 0
    assert_recorded_once(plans, recorded)
    for client in clients:
        assert_in_order_and_whole(client, plans, loses_nothing=not stops and "write-timeout" not in recorded.reasons)


def assert_recorded_once(plans: list[Plan], recorded: Recorded) -> None:
    targets = [target for target in recorded.targets if target != "/fine"]
    assert len(targets) == len(set(targets))
    for plan in plans:
        assert plan.calls <= 1
        assert not plan.calls or f"/{plan.number}" in targets


def assert_in_order_and_whole(client: RandomClient, plans: list[Plan], *, loses_nothing: bool) -> None:
    answers = answers_in(client.received, plans)
    assert [answer.number for answer in answers] == [plan.number for plan in client.plans[: len(answers)]]
    for answer in answers:
        whole = plans[answer.number].whole
        assert answer.body == whole if answer.is_whole else whole.startswith(answer.body)
    if loses_nothing and client.manner in ("patient", "finishes") and not client.is_slow:
        arrived = {answer.number for answer in answers if answer.is_whole}
        assert arrived >= {plan.number for plan in client.plans if plan.has_sent_all}


@pytest.mark.timeout(60 + ROUNDS / 5)
async def test_random_applications_and_clients(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(ROUNDS):
        with ordered_by(f"{SEED}, {number}"):
            await talk(Random(f"{SEED}, {number}"))
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
        assert all(error.startswith(ERRORS) for error in errors), (number, errors)
        caplog.clear()
