"""TLS as clients meet it: curl, httpx, ``openssl s_client``, and a probe for what ought to be refused."""

import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from tests.helpers.certificates import (
    authority,
    client_certificate,
    client_context,
    expired_certificate,
    files_of,
    foreign_authority,
    foreign_client_certificate,
    server_certificate,
)
from tests.helpers.curl import FAILED_BY_STATUS, Curl
from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.system_programs import system_program

PATIENCE_SECONDS = 20.0
BIG = os.urandom(3 * 1024 * 1024)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys of everybody, as files."""
    directory = tmp_path_factory.mktemp("certificates")
    files_of(server_certificate(), directory)
    files_of(client_certificate(), directory, "client")
    files_of(foreign_client_certificate(), directory, "foreign")
    files_of(expired_certificate(), directory, "expired")
    (directory / "ca.pem").write_bytes(authority().cert_pem.bytes())
    (directory / "foreign-ca.pem").write_bytes(foreign_authority().cert_pem.bytes())
    return directory


def options(directory: Path) -> list[str]:
    return ["--ssl-certfile", str(directory / "server.pem"), "--ssl-keyfile", str(directory / "server.key")]


@pytest.fixture(scope="module")
def server(loop: Flavour, directory: Path) -> Iterator[ServerProcess]:
    """Asks for a client certificate and does without."""
    verify = ["--ssl-ca-certs", str(directory / "ca.pem"), "--ssl-cert-reqs", "optional"]
    with serve("tls_app:app", loop, *options(directory), *verify, "--log-level", "debug") as server:
        yield server


@pytest.fixture(scope="module")
def strict_server(loop: Flavour, directory: Path) -> Iterator[ServerProcess]:
    """Lets nobody in without a certificate; TLS 1.3 only."""
    verify = ["--ssl-ca-certs", str(directory / "ca.pem"), "--ssl-cert-reqs", "2", "--ssl-min-version", "1.3"]
    with serve("tls_app:app", loop, *options(directory), *verify) as server:
        yield server


def url(server: ServerProcess, path: str = "/") -> str:
    return f"https://localhost:{server.address[1]}{path}"


# -- curl --------------------------------------------------------------------------------------------------------------


def test_the_start_line_says_https(server: ServerProcess) -> None:
    assert "Listening on https://127.0.0.1:" in server.start_line


def test_curl(server: ServerProcess, directory: Path) -> None:
    curl = Curl("--cacert", directory / "ca.pem", url(server), url(server))
    assert curl.code == 0, curl.talk
    assert "ALPN: server accepted h2" in curl.talk or "accepted to use h2" in curl.talk
    assert curl.talk.count("SSL connection using TLSv1.3") == 1  # for both requests
    answer = Curl("--cacert", directory / "ca.pem", url(server)).json()
    assert answer["scheme"] == "https"
    assert answer["tls"]["server_cert"] == server_certificate().cert_chain_pems[0].bytes().decode()
    assert answer["tls"]["client_cert_chain"] == []


def test_curl_with_tls_and_without(loop: Flavour, directory: Path) -> None:
    with serve("tls_app:app", loop, *options(directory), "--insecure-bind", "127.0.0.1:0") as server:
        secure = Curl("--cacert", directory / "ca.pem", url(server)).json()
        assert secure["scheme"] == "https" and secure["tls"]["tls_version"] == 0x0304
        assert Curl(server.insecure_url).json() == {"scheme": "http", "tls": None}
        assert Curl("--insecure", server.insecure_url.replace("http", "https")).code != 0
        assert Curl("--fail", server.url.replace("https", "http")).code == FAILED_BY_STATUS


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_with_a_client_certificate(server: ServerProcess, directory: Path, version: str) -> None:
    tls = Curl(
        f"--tlsv{version}", "--tls-max", version, "--cacert", directory / "ca.pem",
        "--cert", directory / "client.pem", "--key", directory / "client.key", url(server)).json()["tls"]
    assert tls["tls_version"] == {"1.2": 0x0303, "1.3": 0x0304}[version]
    assert tls["client_cert_chain"][0] == client_certificate().cert_chain_pems[0].bytes().decode()
    assert re.fullmatch(r"CN=Ann,OU=Testing cert [^,]+,O=Example\\, Inc\.", tls["client_cert_name"])
    assert tls["client_cert_error"] is None


@pytest.mark.parametrize("who", ["foreign", "expired"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_with_a_certificate_that_is_not_accepted(
    server: ServerProcess, directory: Path, who: str, version: str
) -> None:
    curl = Curl(
        "--tls-max", version, "--cacert", directory / "ca.pem", "--cert", directory / f"{who}.pem",
        "--key", directory / f"{who}.key", url(server))
    assert curl.code != 0
    assert {"foreign": "unknown ca", "expired": "certificate expired"}[who] in curl.talk
    server.stderr.wait_for("failed: the client's certificate is not accepted: ")


def test_curl_that_does_not_trust_the_server(server: ServerProcess, directory: Path) -> None:
    assert Curl("--cacert", directory / "foreign-ca.pem", url(server)).code == 60  # "cannot be authenticated"


def test_curl_without_the_certificate_that_is_required(strict_server: ServerProcess, directory: Path) -> None:
    curl = Curl("--cacert", directory / "ca.pem", url(strict_server))
    assert curl.code != 0
    assert "certificate required" in curl.talk


def test_plain_http_on_a_tls_port(server: ServerProcess) -> None:
    curl = Curl(f"http://localhost:{server.address[1]}/")
    assert (curl.code, curl.body) == (0, b"this port speaks TLS: its addresses begin with https://\n")
    server.stderr.wait_for("failed: the client speaks plain HTTP")


# -- httpx -------------------------------------------------------------------------------------------------------------


def test_httpx_with_mutual_tls(strict_server: ServerProcess) -> None:
    with httpx.Client(verify=client_context(client_certificate()), trust_env=False) as client:
        for _ in range(3):
            answer = client.get(url(strict_server)).json()
            assert answer["tls"]["client_cert_name"].startswith("CN=Ann,")


def test_httpx_is_refused_without(strict_server: ServerProcess) -> None:
    with (
        httpx.Client(verify=client_context(), trust_env=False) as client,
        pytest.raises(httpx.NetworkError, match="certificate required"),
    ):
        client.get(url(strict_server))


def test_large_bodies_there_and_back(loop: Flavour, directory: Path) -> None:
    with (
        serve("probe:app", loop, *options(directory)) as server,
        httpx.Client(verify=client_context(), trust_env=False, timeout=PATIENCE_SECONDS) as client,
    ):
        assert client.post(url(server, "/echo"), content=BIG).content == BIG
        assert hashlib.sha256(BIG).hexdigest() in client.post(url(server, "/digest"), content=BIG).text
        assert client.get(url(server, "/parts?count=1000&size=1000")).content == b"x" * 1_000_000


def test_fastapi(loop: Flavour, directory: Path) -> None:
    with (
        serve("fastapi_app:app", loop, *options(directory)) as server,
        httpx.Client(verify=client_context(), trust_env=False, timeout=PATIENCE_SECONDS) as client,
    ):
        assert client.get(url(server, "/items/7")).json()["item_id"] == 7
        assert client.post(url(server, "/items"), json={"name": "kettle", "price": 3}).status_code == 201
        data = os.urandom(2_000_000)
        response = client.post(url(server, "/form"), data={"name": "picture"}, files={"upload": ("a.bin", data)})
        assert response.json()["sum"] == sum(data)
        with client.stream("GET", url(server, "/stream")) as response:
            assert [int(line) for line in response.iter_lines()] == list(range(1000))
        assert client.get(url(server, "/state")).json() == {"greeting": "hello from the lifespan"}


# -- openssl s_client --------------------------------------------------------------------------------------------------


def s_client(server: ServerProcess, directory: Path, *arguments: str, text: bytes) -> str:
    """What ``openssl s_client`` says when it is typed ``text``. It stays until the server hangs up."""
    command = [
        system_program("openssl", package="openssl"), "s_client", "-connect", f"localhost:{server.address[1]}",
        "-CAfile", str(directory / "ca.pem"), "-servername", "localhost", "-ign_eof", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client(server: ServerProcess, directory: Path, version: str) -> None:
    said = s_client(server, directory, version, "-alpn", "unknown,http/1.1", text=LAST_REQUEST)
    assert "Verification: OK" in said
    assert "ALPN protocol: http/1.1" in said
    assert "HTTP/1.1 200 OK" in said
    assert "unexpected eof" not in said  # the server says close_notify
    assert "Compression: NONE" in said
    if version == "-tls1_2":
        assert "Secure Renegotiation IS supported" in said
        assert re.search(r"Server Temp Key: (X25519|ECDH)", said)


def test_close_notify_is_the_last_thing_sent(server: ServerProcess, directory: Path) -> None:
    said = s_client(server, directory, "-msg", text=LAST_REQUEST)
    assert "<<< TLS 1.3, Alert [length 0002], warning close_notify" in said


def test_renegotiation_is_refused(server: ServerProcess, directory: Path) -> None:
    said = s_client(server, directory, "-tls1_2", "-no_ign_eof", text=b"R\n" + LAST_REQUEST)
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said
    assert "HTTP/1.1 200 OK" not in said


def test_a_session_is_resumed(server: ServerProcess, directory: Path, tmp_path: Path) -> None:
    session = str(tmp_path / "session")
    for version in ("-tls1_2", "-tls1_3"):
        assert "New, TLS" in s_client(server, directory, version, "-sess_out", session, text=LAST_REQUEST)
        again = s_client(server, directory, version, "-sess_in", session, text=LAST_REQUEST)
        assert "Reused, TLS" in again
        assert "HTTP/1.1 200 OK" in again


class TlsClient:
    """A connection through Python's ssl, as plain as can be."""

    def __init__(self, server: ServerProcess, context: ssl.SSLContext) -> None:
        self._plain = socket.create_connection(server.address, timeout=PATIENCE_SECONDS)
        try:
            self.sock = context.wrap_socket(self._plain, server_hostname="localhost", suppress_ragged_eofs=False)
        except BaseException:
            self._plain.close()
            raise

    def __enter__(self) -> "TlsClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def ask(self, request: bytes = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") -> bytes:
        self.sock.sendall(request)
        return self.sock.recv(65536)

    @property
    def certificate(self) -> bytes | None:
        return self.sock.getpeercert(binary_form=True)


def test_key_updates_disturb_nothing(server: ServerProcess, directory: Path) -> None:  # RFC 8446 §4.6.3
    command = [
        system_program("openssl", package="openssl"), "s_client", "-connect", f"localhost:{server.address[1]}",
        "-CAfile", str(directory / "ca.pem"), "-tls1_3", "-msg"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None and client.stdout is not None
        seen = b""

        def type_and_see(text: bytes, answer: bytes, times: int) -> None:
            nonlocal seen
            assert client.stdin is not None and client.stdout is not None
            client.stdin.write(text)
            client.stdin.flush()
            while seen.count(answer) < times:
                data = os.read(client.stdout.fileno(), 65536)
                assert data, seen
                seen += data

        type_and_see(b"", b"NewSessionTicket", 2)
        for times in range(1, 4):
            type_and_see(b"K\n", b">>> TLS 1.3, Handshake [length 0005], KeyUpdate", times)
            type_and_see(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200 OK", times)
            assert seen.count(b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate") == times
        client.stdin.close()
        client.stdout.read()
        client.wait(PATIENCE_SECONDS)


def test_a_client_that_closes_properly_gets_its_answer(server: ServerProcess) -> None:
    with TlsClient(server, client_context()) as client:
        assert client.ask().startswith(b"HTTP/1.1 200 OK")
        client.sock.unwrap()  # waits for the server's close_notify


# -- what ought to be refused ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rsa_server(directory: Path) -> Iterator[ServerProcess]:
    """With a key that the old ciphers can use."""
    certificate = authority().issue_cert("localhost", key_type=trustme.KeyType.RSA)
    cert, key = files_of(certificate, directory, "rsa")
    with serve("tls_app:app", Flavour("trio"), "--ssl-certfile", str(cert), "--ssl-keyfile", str(key)) as server:
        yield server


def lenient_context(version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    """A client's that would do with anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which is what this is about
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=lambda version: version.name)
def test_old_versions(rsa_server: ServerProcess, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|UNEXPECTED_EOF"):
        TlsClient(rsa_server, lenient_context(version, "ALL"))


def test_tls_1_2_where_1_3_is_the_least(strict_server: ServerProcess) -> None:
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        TlsClient(strict_server, lenient_context(ssl.TLSVersion.TLSv1_2, "ALL"))


def test_every_cipher_that_openssl_knows(rsa_server: ServerProcess, server: ServerProcess) -> None:
    everything = lenient_context(ssl.TLSVersion.TLSv1_2, "ALL:eNULL").get_ciphers()
    names = [cipher["name"] for cipher in everything if cipher["protocol"] != "TLSv1.3"]
    assert len(names) > 50
    accepted = set()
    for name in names:
        for one in (rsa_server, server):
            try:
                with TlsClient(one, lenient_context(ssl.TLSVersion.TLSv1_2, name)) as client:
                    assert client.ask().startswith(b"HTTP/1.1 200 OK")
                    accepted.add(name)
            except ssl.SSLError as exc:
                assert re.search("HANDSHAKE_FAILURE|NO_CIPHERS_AVAILABLE|INTERNAL_ERROR", str(exc)), (name, exc)
    assert accepted == {
        f"ECDHE-{key}-{cipher}" for key in ("RSA", "ECDSA")
        for cipher in ("AES256-GCM-SHA384", "AES128-GCM-SHA256", "CHACHA20-POLY1305")}


# -- certificates that change ------------------------------------------------------------------------------------------


def test_rotation(loop: Flavour, tmp_path: Path) -> None:
    files_of(server_certificate(), tmp_path)
    with serve("tls_app:app", loop, *options(tmp_path)) as server, TlsClient(server, client_context()) as before:
        assert before.ask().startswith(b"HTTP/1.1 200 OK")
        old = before.certificate
        files_of(authority().issue_cert("localhost"), tmp_path)
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("The certificates have been reloaded")
        assert before.ask().startswith(b"HTTP/1.1 200 OK")
        with TlsClient(server, client_context()) as after:
            assert after.certificate not in (old, None)
            assert after.ask().startswith(b"HTTP/1.1 200 OK")


def test_rotation_to_something_bad(loop: Flavour, tmp_path: Path) -> None:
    files_of(server_certificate(), tmp_path)
    with serve("tls_app:app", loop, *options(tmp_path), errors_expected=True) as server:
        (tmp_path / "server.key").write_text("nonsense")
        server.send_signal(signal.SIGHUP)
        line = server.stderr.wait_for("The certificates were not reloaded, the old ones stay: ssl_keyfile: ")
        assert line.startswith("ERROR:")
        with TlsClient(server, client_context()) as client:
            assert client.ask().startswith(b"HTTP/1.1 200 OK")


# -- starting ----------------------------------------------------------------------------------------------------------


def test_a_handshake_that_does_not_come(loop: Flavour, directory: Path) -> None:
    more = ["--timeout-tls-handshake", "0.2", "--log-level", "debug"]
    with serve("tls_app:app", loop, *options(directory), *more) as server:
        client = socket.create_connection(server.address, timeout=PATIENCE_SECONDS)
        with client, pytest.raises(ConnectionResetError):
            client.recv(1)
        server.stderr.wait_for("tls-handshake-timeout: closing the connection of ")


def test_shutdown_closes_idle_connections_with_close_notify(loop: Flavour, directory: Path) -> None:
    with serve("tls_app:app", loop, *options(directory)) as server, TlsClient(server, client_context()) as client:
        client.ask()
        server.send_signal(signal.SIGTERM)
        assert client.sock.recv(1) == b""  # without close_notify it would be an error
        server.judge_end()


