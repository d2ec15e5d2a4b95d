"""HTTP/2 with clients that people use: curl, nghttp, h2load, httpx; over TLS and with prior knowledge."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.helpers.certificates import authority, files_of, server_certificate
from tests.helpers.curl import Curl
from tests.helpers.server_process import LOOPS, Flavour, ServerProcess, serve
from tests.helpers.system_programs import system_program

ENGINES = ("ngh2", "h2")
UPLOAD = bytes(4 * 1024 * 1024)  # many windows


@pytest.fixture(scope="module", params=[(loop, engine) for loop in LOOPS for engine in ENGINES], ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    flavour: Flavour
    flavour, engine = request.param
    with serve("probe:app", flavour, "--http2", "--http2-engine", engine) as server:
        yield server


def url(server: ServerProcess, path: str = "/") -> str:
    return f"http://127.0.0.1:{server.address[1]}{path}"


def run(program: str, *arguments: str | Path) -> str:
    path = system_program(program, package="nghttp2-client")
    done = subprocess.run([path, *arguments], capture_output=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_curl_with_prior_knowledge(server: ServerProcess) -> None:
    curl = Curl("--http2-prior-knowledge", url(server, "/census"))  # its version 7.88 cannot do so twice in a row
    assert curl.code == 0, curl.talk
    assert "HTTP/2 200" in curl.talk


def test_curl_posts(server: ServerProcess) -> None:
    body = bytes(range(256)) * 4096
    curl = Curl("--http2-prior-knowledge", "--data-binary", "@-", url(server, "/echo"), stdin=body)
    assert (curl.code, curl.body) == (0, body)


def test_http1_on_the_same_port(server: ServerProcess) -> None:
    assert "HTTP/1.1 200 OK" in Curl(url(server, "/census")).talk


def test_nghttp(server: ServerProcess) -> None:
    said = run("nghttp", "--null-out", "--stat", "--multiply=20", url(server, "/census"))
    assert said.count(" 200 ") == 20


def test_h2load(server: ServerProcess) -> None:
    said = run("h2load", "--requests=500", "--clients=4", "--max-concurrent-streams=16", url(server, "/hello"))
    assert "500 succeeded, 0 failed" in said


def test_httpx(server: ServerProcess) -> None:
    with httpx.Client(http1=False, http2=True, trust_env=False) as client:
        answer = client.post(url(server, "/echo"), content=b"body")
    assert (answer.http_version, answer.content) == ("HTTP/2", b"body")


def test_curl_reads_an_error_that_comes_before_its_upload_has_ended(server: ServerProcess) -> None:
    curl = Curl("--http2-prior-knowledge", "--data-binary", "@-", url(server, "/nowhere"), stdin=UPLOAD)
    assert (curl.code, curl.body) == (0, b"no such behaviour"), curl.talk


def test_httpx_reads_an_error_that_comes_before_its_upload_has_ended(server: ServerProcess) -> None:
    with httpx.Client(http1=False, http2=True, trust_env=False, timeout=30) as client:
        for _ in range(2):
            assert client.post(url(server, "/nowhere"), content=UPLOAD).status_code == 404


# -- over TLS, without an option: ALPN -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def tls_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    certificate, key = files_of(server_certificate(), tmp_path_factory.mktemp("tls"))
    pair = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    with serve("probe:app", LOOPS[0], *pair, "--http2-engine", request.param) as server:
        yield server


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return path


def tls_url(server: ServerProcess, path: str) -> str:
    return f"https://localhost:{server.address[1]}{path}"


def test_curl_over_tls(tls_server: ServerProcess, ca: Path) -> None:
    address = tls_url(tls_server, "/census")
    curl = Curl("--cacert", ca, address, address)
    assert curl.code == 0, curl.talk
    assert curl.talk.count("HTTP/2 200") == 2
    assert curl.talk.count("SSL connection using") == 1
    old = Curl("--http1.1", "--cacert", ca, address)
    assert "HTTP/1.1 200" in old.talk


def test_nghttp_over_tls(tls_server: ServerProcess) -> None:
    said = run("nghttp", "--null-out", "--stat", "--multiply=20", tls_url(tls_server, "/parts?count=50"))
    assert said.count(" 200 ") == 20


def test_h2load_over_tls(tls_server: ServerProcess) -> None:
    said = run("h2load", "--requests=500", "--clients=4", "--max-concurrent-streams=16",
               tls_url(tls_server, "/hello"))
    assert "Application protocol: h2" in said
    assert "500 succeeded, 0 failed" in said


def test_httpx_over_tls(tls_server: ServerProcess, ca: Path) -> None:
    context = ssl.create_default_context(cafile=ca)
    with httpx.Client(http2=True, verify=context, trust_env=False) as client:
        answer = client.post(tls_url(tls_server, "/echo"), content=b"body")
    assert (answer.http_version, answer.content) == ("HTTP/2", b"body")
