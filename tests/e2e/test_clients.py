"""Clients that people use: curl, httpx, aiohttp, ab, and a pipelining one."""

import hashlib
import io
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import anyio
import httpx
import pytest

from tests.helpers.curl import Curl
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.system_programs import system_program

BIG = os.urandom(3 * 1024 * 1024)
BIG_SHA256 = hashlib.sha256(BIG).hexdigest()


@pytest.fixture(scope="module")
def server(every_flavour: Flavour) -> Iterator[ServerProcess]:
    with serve("probe:app", every_flavour) as server:
        yield server


@pytest.fixture
def anyio_backend() -> str:
    """Of the clients; aiohttp has no other."""
    return "asyncio"


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(BIG)
    return path


def test_the_start_line_names_what_runs(server: ServerProcess, every_flavour: Flavour) -> None:
    assert f"({every_flavour.backend}, {every_flavour.http})" in server.start_line
    loop = every_flavour.loop if every_flavour.backend == "asyncio" else "trio"
    assert fetch(server.address, "/census").json()["loop"] == loop


# -- curl ------------------------------------------------------------------------------------------------------------


def test_curl_get(server: ServerProcess) -> None:
    curl = Curl(f"{server.url}/hello")
    assert curl.code == 0
    assert curl.body == b"Hello, world!"
    assert "< HTTP/1.1 200 OK\n" in curl.talk


def test_curl_reuses_its_connection(server: ServerProcess) -> None:
    curl = Curl(f"{server.url}/hello", f"{server.url}/parts?count=3&size=10", f"{server.url}/hello")
    assert curl.body == b"Hello, world!" + b"x" * 30 + b"Hello, world!"
    assert len(set(re.findall(r"< x-client-port: (\d+)", curl.talk))) == 1


def test_curl_head(server: ServerProcess) -> None:
    curl = Curl("--head", f"{server.url}/hello")
    assert curl.code == 0
    assert "< content-length: 13\n" in curl.talk


def test_curl_post(server: ServerProcess) -> None:
    curl = Curl("--data-binary", "a=1&b=2", f"{server.url}/echo")
    assert curl.code == 0
    assert curl.body == b"a=1&b=2"


def test_curl_chunked_upload(server: ServerProcess) -> None:
    curl = Curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", f"{server.url}/digest", stdin=BIG)
    assert curl.json() == {"bytes": len(BIG), "sha256": BIG_SHA256, "method": "POST"}
    assert "> Transfer-Encoding: chunked\n" in curl.talk


def test_curl_waits_for_100_continue(server: ServerProcess, big_file: Path) -> None:
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "60")
    curl = Curl(*expect, "--data-binary", f"@{big_file}", f"{server.url}/digest")
    assert curl.json()["sha256"] == BIG_SHA256
    assert curl.talk.index("< HTTP/1.1 100 Continue") < curl.talk.index("< HTTP/1.1 200 OK")


def test_curl_is_spared_an_upload_that_nobody_reads(server: ServerProcess, big_file: Path) -> None:
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "60")
    curl = Curl(*expect, "--data-binary", f"@{big_file}", f"{server.url}/nowhere")
    assert curl.code == 0
    assert curl.body == b"no such behaviour"
    assert "100 Continue" not in curl.talk


def test_curl_http_1_0(server: ServerProcess) -> None:
    curl = Curl("--http1.0", f"{server.url}/hello")
    assert curl.code == 0
    assert curl.body == b"Hello, world!"


def test_curl_http_1_0_without_a_length(server: ServerProcess) -> None:
    curl = Curl("--http1.0", f"{server.url}/parts?count=100&size=1000")
    assert curl.code == 0
    assert len(curl.body) == 100_000
    assert "transfer-encoding" not in curl.talk.lower()


def test_curl_put_a_file(server: ServerProcess, big_file: Path) -> None:
    curl = Curl("-T", big_file, f"{server.url}/digest")
    assert curl.json() == {"bytes": len(BIG), "sha256": BIG_SHA256, "method": "PUT"}


def test_curl_put_from_a_pipe(server: ServerProcess) -> None:
    curl = Curl("-T", "-", f"{server.url}/digest", stdin=BIG)
    assert curl.json() == {"bytes": len(BIG), "sha256": BIG_SHA256, "method": "PUT"}


def test_curl_asks_for_an_upgrade_to_http_2_and_gets_an_answer(server: ServerProcess) -> None:
    curl = Curl("--http2", f"{server.url}/hello")       # RFC 9110 §7.8: a server may ignore it
    assert curl.code == 0, curl.talk
    assert curl.body == b"Hello, world!"


def test_curl_sees_a_whole_long_response(server: ServerProcess) -> None:
    curl = Curl(f"{server.url}/parts?count=2000&size=5000")
    assert curl.code == 0
    assert len(curl.body) == 10_000_000


# -- httpx -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def test_httpx_keeps_its_connection(client: httpx.Client) -> None:
    requests = [("GET", "/hello", b""), ("POST", "/echo", BIG), ("HEAD", "/hello", b""), ("GET", "/nowhere", b""),
                ("GET", "/parts", b""), ("GET", "/hello", b"")]
    for method, path, body in requests:
        client.request(method, path, content=body)
    ports = {client.get("/hello").headers["x-client-port"] for _ in range(5)}
    assert ports == {client.get("/hello").headers["x-client-port"]}
    assert client.post("/echo", content=BIG).content == BIG


def test_httpx_streams_a_response(client: httpx.Client) -> None:
    with client.stream("GET", "/parts?count=500&size=10000") as response:
        assert sum(map(len, response.iter_bytes())) == 5_000_000


def test_httpx_leaves_a_stream_and_goes_on(client: httpx.Client, server: ServerProcess) -> None:
    token = f"httpx-{os.urandom(4).hex()}"
    with client.stream("GET", f"/endless?token={token}") as response:
        assert next(response.iter_raw())
    server.stderr.wait_for(f"{token} ClientDisconnected")
    assert client.get("/hello").text == "Hello, world!"


def test_httpx_streams_a_request(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(BIG), 100_000):
            yield BIG[start:start + 100_000]

    assert client.post("/digest", content=pieces()).json()["sha256"] == BIG_SHA256


async def test_httpx_streams_a_request_and_a_response(server: ServerProcess) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(BIG), 100_000):
            yield BIG[start:start + 100_000]

    found = hashlib.sha256()
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream("POST", f"{server.url}/echo", content=pieces()) as response,
    ):
        async for piece in response.aiter_bytes():
            found.update(piece)
    assert found.hexdigest() == BIG_SHA256


# -- aiohttp ---------------------------------------------------------------------------------------------------------


async def test_aiohttp(server: ServerProcess) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        ports = set()
        for _ in range(3):
            async with session.get("/hello") as response:
                assert await response.text() == "Hello, world!"
                ports.add(response.headers["x-client-port"])
        assert len(ports) == 1
        async with session.post("/digest", data=io.BytesIO(BIG), expect100=True) as response:
            assert (await response.json())["sha256"] == BIG_SHA256
        async with session.get("/parts?count=300&size=7000") as response:
            assert len(await response.read()) == 2_100_000
        async with session.head("/hello") as response:
            assert response.content_length == 13


async def test_aiohttp_streams_both_ways(server: ServerProcess) -> None:
    """One piece out, the same piece back, then the next."""
    received: list[bytes] = []
    arrived = anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal arrived
        for number in range(20):
            yield b"piece %d" % number
            await arrived.wait()
            arrived = anyio.Event()

    async with aiohttp.ClientSession(server.url) as session, session.post("/mirror", data=pieces()) as response:
        async for piece in response.content.iter_any():
            received.append(piece)
            arrived.set()
    assert received == [b"piece %d" % number for number in range(20)]


# -- ab --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("-k",), (), ("-k", "-i")], ids=["keep-alive", "close", "keep-alive-head"])
def test_ab_has_no_failed_requests(server: ServerProcess, options: tuple[str, ...]) -> None:
    program = system_program("ab", package="apache2-utils")
    command = [program, "-q", "-n", "400", "-c", "10", *options, f"{server.url}/hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    figures = dict(re.findall(r"^([\w -]+): +(\d+)", done.stdout, re.MULTILINE))
    assert figures["Complete requests"] == "400"
    assert figures["Failed requests"] == "0"
    assert "Non-2xx responses" not in figures
    assert figures.get("Keep-Alive requests", "0") == ("400" if "-k" in options else "0")


# -- pipelining ------------------------------------------------------------------------------------------------------

PIPELINE = (
    b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst"
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n"
    b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nunread"
    b"GET /parts?count=3&size=1 HTTP/1.1\r\nHost: a\r\n\r\n"
    b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
)
ANSWERS = [b"Hello, world!", b"first", b"second", b"no such behaviour", b"xxx", b"Hello, world!"]


@pytest.mark.parametrize("piece_bytes", [len(PIPELINE), 1, 7], ids=["at once", "byte by byte", "by sevens"])
def test_pipelined_requests_are_answered_in_order(server: ServerProcess, piece_bytes: int) -> None:
    with RawClient(server.address) as client:
        for start in range(0, len(PIPELINE), piece_bytes):
            client.send(PIPELINE[start:start + piece_bytes])
        answers = [client.receive_response().body for _ in ANSWERS]
        assert answers == ANSWERS
        assert client.is_closed()


def test_a_long_pipeline(server: ServerProcess) -> None:
    """More answers than the client's and the server's buffers hold; the client reads when it has sent everything."""
    count = 2000
    with RawClient(server.address) as client:
        client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" * count)
        assert all(client.receive_response().body == b"Hello, world!" for _ in range(count))
