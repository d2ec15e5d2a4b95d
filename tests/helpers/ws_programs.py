"""WebSocket clients that people use, each behind the same few calls; whatever a client does by itself, it does."""

import base64
import json
import os
import ssl
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import anyio
import trio
import trio_websocket
import websockets.exceptions
from anyio.from_thread import BlockingPortal, start_blocking_portal
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.helpers.certificates import authority, client_context
from tests.helpers.server_process import WAIT_SECONDS, Output
from tests.helpers.system_programs import system_program, without

__all__ = ["CLIENTS", "Closed", "Connect", "Refused", "WebSocketProgram", "node_ws", "open_websocket"]

NODE_PROGRAM: Final = Path(__file__).parents[1] / "e2e" / "programs" / "node_ws"
LARGEST: Final = 64 * 1024 * 1024  # bytes of a message that a client takes


@dataclass
class Closed(Exception):
    """The WebSocket is at its end, and this is what the server said."""

    code: int
    reason: str


@dataclass
class Refused(Exception):
    """The handshake was answered by an HTTP response."""

    status: int
    body: str


class WebSocketProgram(ABC):
    """An open WebSocket, as its client shows it.

    Attributes:
        subprotocol: what was agreed on, or "".
        compressed: whether permessage-deflate was.
    """

    subprotocol: str
    compressed: bool

    @abstractmethod
    def send(self, message: str | bytes) -> None:
        """Send a message."""

    @abstractmethod
    def receive(self) -> str | bytes:
        """The next message. Raises Closed."""

    @abstractmethod
    def ping(self) -> None:
        """Send a ping, and wait for its answer."""

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Close, and wait until that is over."""

    def receive_close(self) -> Closed:
        """What the server says at the end, which comes next."""
        try:
            message = self.receive()
        except Closed as exc:
            return exc
        raise AssertionError(f"the server says {message!r:.100} instead of closing")


Connect: TypeAlias = Callable[..., AbstractContextManager[WebSocketProgram]]
"""Opens a WebSocket to the ``url`` and offers ``subprotocols``; over TLS trusts ``authority()``. Raises Refused."""


# -- trio-websocket --------------------------------------------------------------------------------------------------


class OverTrio(WebSocketProgram):
    compressed = False  # it offers none

    def __init__(self, connection: trio_websocket.WebSocketConnection, portal: BlockingPortal) -> None:
        self._connection = connection
        self._portal = portal
        self.subprotocol = connection.subprotocol or ""

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def limited() -> Any:
            with anyio.fail_after(WAIT_SECONDS):
                return await function(*arguments)

        try:
            return self._portal.call(limited)
        except trio_websocket.ConnectionClosed as exc:
            assert exc.reason is not None
            raise Closed(exc.reason.code, exc.reason.reason or "") from None

    def send(self, message: str | bytes) -> None:
        self._call(self._connection.send_message, message)

    def receive(self) -> str | bytes:
        message: str | bytes = self._call(self._connection.get_message)
        return message

    def ping(self) -> None:
        self._call(self._connection.ping)

    def close(self, code: int, reason: str) -> None:
        self._call(self._connection.aclose, code, reason)


@asynccontextmanager
async def trio_connection(url: str, subprotocols: tuple[str, ...]) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """On a stream of our own, which is closed at the end; trio-websocket leaves some of its own to the collector."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    async with await trio_stream(parts.scheme, parts.hostname, parts.port) as stream, trio.open_nursery() as nursery:
        with trio.fail_after(WAIT_SECONDS):
            connection = await trio_websocket.wrap_client_stream(
                nursery, stream, parts.netloc, f"{parts.path}?{parts.query}", subprotocols=list(subprotocols),
                max_message_size=LARGEST)
        yield connection
        nursery.cancel_scope.cancel()


async def trio_stream(scheme: str, host: str, port: int) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    if scheme == "ws":
        return await trio.open_tcp_stream(host, port)
    return await trio.open_ssl_over_tcp_stream(host, port, ssl_context=client_context(), https_compatible=True)


@contextmanager
def over_trio(url: str, *subprotocols: str) -> Iterator[WebSocketProgram]:
    rejections: list[BaseException] = []
    with start_blocking_portal("trio") as portal:
        try:
            with portal.wrap_async_context_manager(trio_connection(url, subprotocols)) as connection:
                yield OverTrio(connection, portal)
        except* trio_websocket.ConnectionRejected as group:
            rejections.extend(group.exceptions)
    for exc in rejections:
        assert isinstance(exc, trio_websocket.ConnectionRejected)
        raise Refused(exc.status_code, (exc.body or b"").decode())


# -- websockets ------------------------------------------------------------------------------------------------------


class OverWebsockets(WebSocketProgram):
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol or ""
        self.compressed = bool(connection.protocol.extensions)

    def send(self, message: str | bytes) -> None:
        with as_closed():
            self._connection.send(message)

    def receive(self) -> str | bytes:
        with as_closed():
            return self._connection.recv(timeout=WAIT_SECONDS)

    def ping(self) -> None:
        assert self._connection.ping().wait(WAIT_SECONDS)

    def close(self, code: int, reason: str) -> None:
        self._connection.close(code, reason)


@contextmanager
def as_closed() -> Iterator[None]:
    try:
        yield
    except websockets.exceptions.ConnectionClosed as exc:
        code, reason = (exc.rcvd.code, exc.rcvd.reason) if exc.rcvd is not None else (1006, "")
        raise Closed(code, reason) from None


def open_websocket(url: str, *subprotocols: str, cookie: str = "") -> ClientConnection:
    """The package's own connection, for tests of something else than clients. Every wait but ``recv`` is bounded."""
    return connect(
        url, subprotocols=[Subprotocol(name) for name in subprotocols] or None, max_size=LARGEST, proxy=None,
        ssl=_context_of_two_threads() if url.startswith("wss:") else None,
        additional_headers={"Cookie": cookie} if cookie else None,
        open_timeout=WAIT_SECONDS, close_timeout=WAIT_SECONDS)


def _context_of_two_threads() -> ssl.SSLContext:
    """This client reads in a thread while another one writes, without a lock.

    With TLS 1.3 the session tickets that follow the handshake are read at the same moment as the request is written,
    and OpenSSL sometimes loses the request then. TLS 1.2 has no such tickets.
    """
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextmanager
def over_websockets(url: str, *subprotocols: str) -> Iterator[WebSocketProgram]:
    try:
        with open_websocket(url, *subprotocols) as connection:
            yield OverWebsockets(connection)
    except websockets.exceptions.InvalidStatus as exc:
        raise Refused(exc.response.status_code, (exc.response.body or b"").decode()) from None


# -- ws, on Node -----------------------------------------------------------------------------------------------------


class NodeWs(WebSocketProgram):
    """A process of its own, which is killed at the end if it is still there."""

    def __init__(self, url: str, subprotocols: tuple[str, ...], authorities: str) -> None:
        node = system_program("node", package="nodejs")
        if not (NODE_PROGRAM / "node_modules" / "ws").is_dir():
            without("npm's package 'ws'", f"npm ci --prefix {NODE_PROGRAM}")
        self.process = subprocess.Popen(
            [node, NODE_PROGRAM / "client.mjs", url, *subprotocols], text=True,
            env=os.environ | {"NODE_EXTRA_CA_CERTS": authorities},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        self.output = Output(self.process.stdout)
        self._seen = 0  # messages
        self._pings = 0

    def wait_open(self) -> None:
        answer = self._wait_for("open", "refused", "error")
        if answer["type"] == "refused":
            raise Refused(answer["status"], answer["body"])
        assert answer["type"] == "open", answer
        self.subprotocol = answer["subprotocol"]
        self.compressed = "permessage-deflate" in answer["extensions"]

    def _wait_for(self, *kinds: str, times: int = 1) -> Any:
        return json.loads(self.output.wait_for_any([f'{{"type":"{kind}"' for kind in kinds], times=times))

    def _tell(self, command: str, **given: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **given}) + "\n")
        self.process.stdin.flush()

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._tell("send", text=message)
        else:
            self._tell("send", bytes=base64.b64encode(message).decode())

    def receive(self) -> str | bytes:
        self._seen += 1
        told = self._wait_for("message", "close", times=self._seen)
        if told["type"] == "close":
            raise Closed(told["code"], told["reason"])
        return base64.b64decode(told["bytes"]) if "bytes" in told else str(told["text"])

    def ping(self) -> None:
        self._pings += 1
        self._tell("ping", payload=f"{self._pings}")
        assert self._wait_for("pong", times=self._pings)["payload"] == f"{self._pings}"

    def wait_for_pings(self, count: int) -> None:
        """Until the server has sent so many; the client answers them by itself."""
        self._wait_for("ping", times=count)

    def close(self, code: int, reason: str) -> None:
        self._tell("close", code=code, reason=reason)
        self._wait_for("close")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.output.wait_for_end()


@contextmanager
def node_ws(url: str, *subprotocols: str) -> Iterator[NodeWs]:
    with ExitStack() as stack:
        authorities = stack.enter_context(authority().cert_pem.tempfile()) if url.startswith("wss:") else ""
        program = NodeWs(url, subprotocols, authorities)
        stack.callback(program.end)
        program.wait_open()
        yield program


CLIENTS: Final[dict[str, Connect]] = {"trio-websocket": over_trio, "websockets": over_websockets, "node-ws": node_ws}
