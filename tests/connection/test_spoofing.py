"""Who may claim what: the whole server, with peers that are trusted and peers that are not."""

import json
import logging
from typing import Any, Final

import pytest

from tests.helpers.apps import reply
from tests.helpers.serving import serving
from tests.helpers.transcripts import body_of, get, receive_response
from trioserve._streams import Address
from trioserve._streams.memory import MemoryListener
from trioserve._types import Receive, Scope, Send

LOCAL: Final = ("127.0.0.1", 4000)
STRANGER: Final = ("203.0.113.9", 4000)
TCP: Final = ("192.0.2.80", 8000)
UNIX: Final = ("/run/app.sock", None)

X: Final = (
    "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: /evil",
)  # fmt: skip
RFC_7239: Final = ('Forwarded: for="2.2.2.2:2";proto=https;host=worse',)
ALL_X: Final = "x-forwarded-for,x-forwarded-proto,x-forwarded-host,x-forwarded-port,x-forwarded-prefix"


async def tells_origin(scope: Scope, receive: Receive, send: Send) -> None:
    host = dict(scope["headers"])[b"host"].decode()
    await reply(send, json.dumps([scope["client"], scope["scheme"], host, scope["root_path"]]).encode())


async def origin(peer: Address | None, local: Address, *fields: str, **options: Any) -> list[Any]:
    """What the application gets to see of a request of ``peer``."""
    async with serving(tells_origin, listeners=[MemoryListener(local)], **options) as site:
        client = site.connect(peer)
        await client.send_all(get("/", *fields))
        response = await receive_response(client)
        await client.aclose()
    told = json.loads(body_of(response))
    return [told[0] and tuple(told[0]), *told[1:]]


def plain(peer: Address | None) -> list[Any]:
    """Nothing is believed."""
    return [peer, "http", "a", ""]


@pytest.mark.parametrize(("peer", "local", "options", "fields", "seen"), [
    # by default: loopback and unix sockets, and only what uvicorn believes
    (LOCAL, TCP, {}, X, [("1.1.1.1", 0), "https", "a", ""]),
    (("::1", 1), TCP, {}, X, [("1.1.1.1", 0), "https", "a", ""]),
    (None, UNIX, {}, X, [("1.1.1.1", 0), "https", "a", ""]),
    (STRANGER, TCP, {}, X, plain(STRANGER)),
    (("10.0.0.1", 1), TCP, {}, X, plain(("10.0.0.1", 1))),
    (LOCAL, TCP, {}, RFC_7239, plain(LOCAL)),  # the other kind, through a proxy that does not know it
    (LOCAL, TCP, {}, (*X, *RFC_7239), [("1.1.1.1", 0), "https", "a", ""]),
    (LOCAL, TCP, {}, (), plain(LOCAL)),
    # the other kind
    (LOCAL, TCP, {"forwarded_headers": "forwarded"}, RFC_7239, [("2.2.2.2", 2), "https", "worse", ""]),
    (LOCAL, TCP, {"forwarded_headers": "forwarded"}, X, plain(LOCAL)),
    (LOCAL, TCP, {"forwarded_headers": "forwarded"}, (*RFC_7239, *X), [("2.2.2.2", 2), "https", "worse", ""]),
    (STRANGER, TCP, {"forwarded_headers": "forwarded"}, RFC_7239, plain(STRANGER)),
    # more fields, each for itself
    (LOCAL, TCP, {"forwarded_headers": ALL_X}, X, [("1.1.1.1", 0), "https", "evil:666", "/evil"]),
    (STRANGER, TCP, {"forwarded_headers": ALL_X}, X, plain(STRANGER)),
    (LOCAL, TCP, {"forwarded_headers": "x-forwarded-host"}, X, [LOCAL, "http", "evil", ""]),
    (LOCAL, TCP, {"forwarded_headers": "x-forwarded-prefix"}, X, [LOCAL, "http", "a", "/evil"]),
    # other peers
    (STRANGER, TCP, {"forwarded_allow_ips": "203.0.113.0/24"}, X, [("1.1.1.1", 0), "https", "a", ""]),
    (STRANGER, TCP, {"forwarded_allow_ips": "*"}, X, [("1.1.1.1", 0), "https", "a", ""]),
    (LOCAL, TCP, {"forwarded_allow_ips": "203.0.113.9"}, X, plain(LOCAL)),
    (LOCAL, TCP, {"forwarded_allow_ips": "unix"}, X, plain(LOCAL)),
    (None, UNIX, {"forwarded_allow_ips": "127.0.0.1"}, X, plain(None)),
    (None, UNIX, {"forwarded_allow_ips": UNIX[0]}, X, [("1.1.1.1", 0), "https", "a", ""]),
    (None, UNIX, {"forwarded_allow_ips": "/run/other.sock"}, X, plain(None)),
    (LOCAL, TCP, {"forwarded_allow_ips": ""}, X, plain(LOCAL)),
    # switched off
    (LOCAL, TCP, {"proxy_headers": False}, (*X, *RFC_7239), plain(LOCAL)),
    (LOCAL, TCP, {"proxy_headers": False, "forwarded_allow_ips": "*"}, X, plain(LOCAL)),
    # a stranger who comes through the trusted proxy, which adds his address
    (LOCAL, TCP, {}, ("X-Forwarded-For: 1.1.1.1, 203.0.113.9",), [("203.0.113.9", 0), "http", "a", ""]),
    (LOCAL, TCP, {}, ("X-Forwarded-For: 127.0.0.1, 203.0.113.9",), [("203.0.113.9", 0), "http", "a", ""]),
    (LOCAL, TCP, {}, ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 203.0.113.9"),
     [("203.0.113.9", 0), "http", "a", ""]),
    (LOCAL, TCP, {"forwarded_headers": "forwarded"}, ('Forwarded: for="127.0.0.1, for=203.0.113.9',),
     [("203.0.113.9", 0), "http", "a", ""]),
])
async def test_header_fields(
    peer: Address | None, local: Address, options: dict[str, Any], fields: tuple[str, ...], seen: list[Any]
) -> None:
    assert await origin(peer, local, *fields, **options) == seen


async def test_each_request_of_a_connection_has_its_own_client() -> None:
    async with serving(tells_origin, listeners=[MemoryListener(TCP)]) as site:
        client = site.connect(LOCAL)
        for address in ("1.1.1.1", "1.1.1.2", "1.1.1.2", ""):
            await client.send_all(get("/", *([f"X-Forwarded-For: {address}"] if address else [])))
            told = json.loads(body_of(await receive_response(client)))
            assert told[0] == ([address, 0] if address else list(LOCAL))
        await client.aclose()


async def test_the_access_log_names_whom_the_application_sees(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioserve.access")
    await origin(LOCAL, TCP, *X, access_log=True)
    await origin(STRANGER, TCP, *X, access_log=True)
    await origin(LOCAL, TCP, "X-Forwarded-For: unknown", access_log=True)
    lines = [record.getMessage() for record in caplog.records if record.name == "trioserve.access"]
    assert [line.partition(" ")[0] for line in lines] == ["1.1.1.1:0", "203.0.113.9:4000", "-"]
