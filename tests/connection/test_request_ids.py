"""Names of requests: who may give them, who gets to see them, and what they cost when nobody asks."""

import logging
import re
from typing import Any

import anyio
import pytest

from tests.helpers.apps import hello, reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, receive_response
from trioserve._connection import RequestIds
from trioserve._connection import request_ids as request_ids_module
from trioserve._types import Receive, Scope, Send

MADE = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")
LOCAL = ("127.0.0.1", 5)


def trusting(peer: Any, local: Any) -> bool:
    return True


def name_of(*fields: tuple[bytes, bytes], header: str = "X-Request-ID", trusts: Any = trusting) -> str:
    return RequestIds(header, trusts).name(LOCAL, LOCAL, list(fields))


# Whose names are believed.


def test_a_given_name() -> None:
    assert name_of((b"host", b"a"), (b"x-request-id", b"7f3a-b")) == "7f3a-b"
    assert name_of((b"x-amzn-trace-id", b"Root=1-67891233"), header="X-Amzn-Trace-Id") == "Root=1-67891233"


@pytest.mark.parametrize("value", [b"", b"two words", b"\xe9", b"tab\t", b"x" * 129])
def test_names_that_are_not_fit_for_a_log(value: bytes) -> None:
    assert MADE.fullmatch(name_of((b"x-request-id", value)))
    assert name_of((b"x-request-id", value), (b"x-request-id", b"second")) == "second"


def test_made_names_are_unique() -> None:
    one, other = RequestIds("a", trusting), RequestIds("a", trusting)
    assert len({ids.name(LOCAL, LOCAL, []) for ids in (one, other) for _ in range(100)}) == 200


def test_strangers_are_not_believed() -> None:
    assert MADE.fullmatch(name_of((b"x-request-id", b"forged"), trusts=lambda peer, local: False))


# Who sees them.


async def telling(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the names that its request has, asked for twice."""
    name = scope["extensions"]["trioserve.request_id"]["get"]
    await reply(send, f"{name()} {name()}".encode())


async def test_the_application() -> None:
    async with serving(telling, forwarded_allow_ips="192.0.2.1") as site:
        assert body_of(await site.answer_to(get("/", "x-request-id: abc"))) == b"abc abc"
        client = site.connect()
        names = set()
        for _ in range(3):
            await client.send_all(get())
            one, other = body_of(await receive_response(client)).split()
            assert one == other and MADE.fullmatch(one.decode())
            names.add(one)
        assert len(names) == 3


async def test_a_client_cannot_choose_its_name() -> None:
    async with serving(telling) as site:
        # Made names have hexadecimal digits, which this one could not be among by chance.
        assert b"chosen" not in await site.answer_to(get("/", "x-request-id: chosen"))


async def test_lines_about_the_request(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/stuck":
            await anyio.sleep_forever()
        if scope["path"] == "/raises":
            raise LookupError

    async with serving(app, timeout_request=5, forwarded_allow_ips="*", sendfile=False) as site:
        for path in ("/stuck", "/raises", "/returns"):
            await site.everything_after(get(path, f"x-request-id: of{path}"))
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [vars(record)["request_id"] for record in records] == ["of/stuck", "of/raises", "of/returns"]


async def test_lines_about_a_traced_request(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    trace, span = "4bf92f35" * 4, "00f067aa" * 2
    async with serving(app) as site:
        await site.everything_after(get("/", f"traceparent: 00-{trace}-{span}-01"))
        await site.everything_after(get("/", "traceparent: nonsense"))
    one, other = [vars(record) for record in caplog.records if record.levelno >= logging.WARNING]
    assert (one["trace_id"], one["span_id"]) == (trace, span)
    assert "trace_id" not in other


async def test_off(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["extensions"])
        raise LookupError

    async with serving(app, request_id_header="off") as site:
        await site.everything_after(get("/", "x-request-id: abc"))
    assert "trioserve.request_id" not in seen[0]
    assert not hasattr(caplog.records[-1], "request_id")


async def test_nobody_asks_so_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> str:
        raise NotImplementedError

    monkeypatch.setattr(request_ids_module.RequestIds, "name", refuse)
    async with serving(hello) as site:
        assert body_of(await site.answer_to(get())) == b"/"
