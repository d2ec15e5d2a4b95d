"""Behind a proxy, over real sockets: curl speaks as one, in header fields and in the PROXY protocol."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.system_programs import system_program

FIELDS = ["X-Forwarded-For: 1.1.1.1, 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.com"]


def curl(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [system_program("curl", package="curl"), "-sS", "--max-time", "20", *arguments]
    return subprocess.run(command, check=False, capture_output=True)


def origin(url: str, *arguments: str) -> Any:
    """What the application says of a request that curl sends there."""
    done = curl(url, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def headers(*lines: str) -> list[str]:
    return [argument for line in lines for argument in ("--header", line)]


def test_header_fields_of_a_trusted_proxy(loop: Flavour) -> None:
    believed = ["--forwarded-headers", "x-forwarded-for,x-forwarded-proto,x-forwarded-host"]
    with serve("origin:app", loop, *believed) as server:
        told = origin(f"{server.url}/a", *headers(*FIELDS))
        assert told == {"client": ["198.51.100.7", 0], "server": ["example.com", 443], "scheme": "https",
                        "root_path": "", "path": "/a", "host": "example.com"}
        assert server.stdout.wait_for("GET /a ").startswith('INFO:     198.51.100.7:0 - "GET /a HTTP/1.1" 200 OK ')


def test_header_fields_of_a_stranger(loop: Flavour) -> None:
    with serve("origin:app", loop, "--forwarded-allow-ips", "192.0.2.1") as server:
        told = origin(f"{server.url}/a", *headers(*FIELDS, "Host: a"))
        assert told["client"][0] == "127.0.0.1"
        assert (told["scheme"], told["host"]) == ("http", "a")


def test_peers_on_a_unix_socket_are_trusted(loop: Flavour, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with serve("origin:app", loop, "--bind", f"unix:{path}", port=None):
        told = origin("http://a/", "--unix-socket", path, *headers(*FIELDS))
        assert (told["client"], told["scheme"]) == (["198.51.100.7", 0], "https")


@pytest.fixture(scope="module")
def proxied(loop: Flavour) -> Iterator[ServerProcess]:
    with serve("origin:app", loop, "--proxy-protocol") as server:
        yield server


def test_the_proxy_protocol(proxied: ServerProcess) -> None:
    told = origin(f"{proxied.url}/", "--haproxy-protocol")
    assert told["client"][0] == "127.0.0.1"
    assert told["server"] == list(proxied.address)


def test_two_requests_after_one_header(proxied: ServerProcess) -> None:
    done = curl("--haproxy-protocol", f"{proxied.url}/a", f"{proxied.url}/b")
    assert [told for told in (b'"path": "/a"', b'"path": "/b"') if told in done.stdout] == [
        b'"path": "/a"', b'"path": "/b"']


def test_without_its_header_there_is_no_answer(proxied: ServerProcess) -> None:
    done = curl(f"{proxied.url}/")
    assert (done.returncode, done.stdout) in ((52, b""), (56, b""))  # an empty reply, or a reset
    proxied.stderr.wait_for("it does not begin with a PROXY header")
