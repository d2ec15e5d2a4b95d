"""Requests and WebSockets of every kind, at the application ``probe``, and what their clients see."""

import secrets
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import ServerProcess

__all__ = ["NEEDED", "Seen", "traffic_of_every_kind"]

NEEDED: Final = ("--http2", "--timeout-header", "2s")
"""Options of a server that gets this traffic."""

LEFT: Final = 499  # in the access log


@dataclass
class Seen:
    """What clients have seen: answers by status, body bytes, WebSockets."""

    statuses: Counter[int] = field(default_factory=Counter)
    sent_bytes: int = 0
    received_bytes: int = 0
    websockets: Counter[int] = field(default_factory=Counter)
    messages: int = 0

    def note(self, status: int, body: bytes = b"") -> None:
        self.statuses[status] += 1
        self.received_bytes += len(body)


def traffic_of_every_kind(server: ServerProcess) -> Seen:
    """One turn of it takes some seconds, because there are clients that never finish their request heads."""
    seen = Seen()
    for kind in (ordinary, over_http2, refused, aborted, aborted_over_http2, websockets):
        kind(server, seen)
    return seen


def ordinary(server: ServerProcess, seen: Seen) -> None:
    for target in ("/hello", "/nothing", "/fail", "/return_early") * 4:
        answer = fetch(server.address, target)
        seen.note(answer.status, answer.body)
    for _ in range(4):
        with RawClient(server.address) as client:
            for _ in range(3):
                client.get("/hello")
                answer = client.receive_response()
                seen.note(answer.status, answer.body)
            client.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
            answer = client.receive_response()
            seen.note(answer.status, answer.body)
            seen.sent_bytes += 5000
            client.send(b"BREW /hello HTTP/1.1\r\nHost: test\r\n\r\n")
            answer = client.receive_response()
            seen.note(answer.status, answer.body)


def over_http2(server: ServerProcess, seen: Seen) -> None:
    for _ in range(4):
        with httpx.Client(http1=False, http2=True, trust_env=False) as client:
            for target in ("/hello", "/nothing", "/fail"):
                answer = client.get(f"{server.url}{target}")
                seen.note(answer.status_code, answer.content)
            answer = client.post(f"{server.url}/echo", content=b"x" * 7000)
            seen.note(answer.status_code, answer.content)
            seen.sent_bytes += 7000


def refused(server: ServerProcess, seen: Seen) -> None:
    """All together, because the last one of each kind is refused only when its time is over."""
    with ExitStack() as connected:
        clients = []
        for request in (b"no request\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", b"GET / HTT") * 2:
            clients.append(connected.enter_context(RawClient(server.address)))
            clients[-1].send(request)
        for client in clients:
            answer = client.receive_response()
            seen.note(answer.status, answer.body)


def aborted(server: ServerProcess, seen: Seen) -> None:
    """Clients that leave before they get anything, and after the first part of it."""
    for _ in range(3):
        token = secrets.token_hex(8)
        client = RawClient(server.address)
        client.get(f"/hang_midway?token={token}")
        client.receive_until(b"begun")
        client.reset()
        server.stderr.wait_for(f"{token} cancelled")
        seen.note(200, b"begun")
    for _ in range(3):
        token = secrets.token_hex(8)
        client = RawClient(server.address)
        client.send(f"POST /echo?token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbegun".encode())
        server.stderr.wait_for(f"{token} entered")
        client.reset()
        server.stderr.wait_for(f"{token} disconnected")
        seen.note(LEFT)
        seen.sent_bytes += len(b"begun")


def aborted_over_http2(server: ServerProcess, seen: Seen) -> None:
    """The same: a client that closes its connection in the middle of an answer."""
    for _ in range(3):
        token = secrets.token_hex(8)
        with (
            httpx.Client(http1=False, http2=True, trust_env=False) as client,
            client.stream("GET", f"{server.url}/hang_midway?token={token}") as answer,
        ):
            assert next(answer.iter_bytes()) == b"begun"
        server.stderr.wait_for(f"{token} cancelled")
        seen.note(200, b"begun")


def websockets(server: ServerProcess, seen: Seen) -> None:
    for _ in range(4):
        with connect(f"{server.ws_url}/echo", proxy=None, compression=None) as socket:
            for text in ("a", "bc", "x" * 1000):
                socket.send(text)
                assert socket.recv() == text
                seen.messages += 1
        seen.note(101)
        seen.websockets[1000] += 1
    for target in ("/refuse", "/deny"):
        with pytest.raises(InvalidStatus) as refusal:
            connect(f"{server.ws_url}{target}", proxy=None)
        seen.note(refusal.value.response.status_code, bytes(refusal.value.response.body or b""))
