"""What serves where no wheel of ``[standard]`` can be had: h11, and the event loops of trio and of Python itself."""

import socket
import ssl
from pathlib import Path
from typing import Final

import pytest

from tests.helpers.certificates import client_context, files_of, server_certificate
from tests.helpers.raw_http import fetch
from tests.helpers.raw_websocket import RawWebSocket
from tests.helpers.server_process import STRICT, running

OF_STANDARD: Final = ("dotenv", "h2", "httptools", "ngh2", "uvloop", "watchfiles", "websockets", "yaml")
WITHOUT_THEM: Final = f"""
import sys
sys.modules.update(dict.fromkeys({OF_STANDARD}))  # importing one of them raises ModuleNotFoundError
from trioserve.cli import main
main()
"""


def command(backend: str, *options: str) -> list[str]:
    return [*STRICT, "-c", WITHOUT_THEM, "probe:app", "--port", "0", "--backend", backend, *options]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_requests_and_websockets(backend: str) -> None:
    with running(command(backend)) as server:
        assert server.start_line.endswith(f"({backend}, h11)")
        assert fetch(server.address, "/hello").body == b"Hello, world!"
        with RawWebSocket(server.address) as client:
            client.open("/echo")
            client.echo("x" * 1000)
            client.say_goodbye()


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_tls_offers_no_http2(backend: str, tmp_path: Path) -> None:
    certificate, key = files_of(server_certificate(), tmp_path)
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        running(command(backend, "--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))) as server,
        socket.create_connection(server.address, 20) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as session,
    ):
        assert session.selected_alpn_protocol() == "http/1.1"
        session.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_all(session).endswith(b"Hello, world!")


def read_all(session: ssl.SSLSocket) -> bytes:
    return b"".join(iter(lambda: session.recv(65536), b""))
