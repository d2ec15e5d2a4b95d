"""Several certificates by the name that a client asks for, and client certificates that were revoked."""

import json
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.helpers.certificates import authority, client_context, files_of, server_certificate
from tests.helpers.server_process import WAIT_SECONDS, Flavour, ServerProcess, serve
from tests.helpers.worker_processes import successor_of

HOSTS = ("shop.example", "*.shop.example")
PROCESSES = pytest.mark.parametrize("processes", [[], ["--workers", "2"]], ids=["one process", "workers"])


def certificate_for(*names: str) -> trustme.LeafCert:
    return authority().issue_cert(*names)


def pem_of(certificate: trustme.LeafCert) -> str:
    return certificate.cert_chain_pems[0].bytes().decode()


def ask(server: ServerProcess, host: str | None, client: trustme.LeafCert | None = None) -> Any:
    """What the application says of its TLS to a client that asks for ``host`` and trusts what it is shown."""
    context = client_context(client)
    context.check_hostname = host is not None
    with (
        socket.create_connection(server.address, timeout=WAIT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := secure.recv(65536):
            answer += data
        tls = json.loads(answer.partition(b"\r\n\r\n")[2])["tls"]
        shown = ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"")
        assert "".join(shown.split()) == "".join(tls["server_cert"].split())
        return tls


class Site:
    """A directory with certificates, and the options that name them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shop = certificate_for("shop.example")
        self.below = certificate_for("*.shop.example")
        self.write_files()

    def write_files(self) -> None:
        files_of(server_certificate(), self.directory)
        files_of(self.shop, self.directory, "shop")
        (self.directory / "below.pem").write_bytes(self.below.private_key_and_cert_chain_pem.bytes())

    @property
    def options(self) -> list[str]:
        at = self.directory
        return [
            "--ssl-certfile", f"{at}/server.pem", "--ssl-keyfile", f"{at}/server.key",
            "--ssl-sni", f"shop.example={at}/shop.pem,{at}/shop.key", "--ssl-sni", f"*.shop.example={at}/below.pem",
        ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def serving(loop: Flavour, *options: str, **how: Any) -> Iterator[ServerProcess]:
    with serve("tls_app:app", loop, *options, **how) as server:
        if "--workers" in options:
            server.stderr.wait_for("workers are ready")
        yield server


# -- several certificates ----------------------------------------------------------------------------------------------


@PROCESSES
def test_who_asks_for_a_host_gets_its_certificate(loop: Flavour, site: Site, processes: list[str]) -> None:
    with serving(loop, *site.options, *processes) as server:
        for host, certificate in [
            ("shop.example", site.shop), ("SHOP.example", site.shop), ("www.shop.example", site.below),
            ("localhost", server_certificate()), (None, server_certificate()),
        ]:
            assert ask(server, host)["server_cert"] == pem_of(certificate)


def test_who_asks_for_another_host_gets_the_first_certificate(loop: Flavour, site: Site) -> None:
    with (
        serving(loop, *site.options) as server,
        pytest.raises(ssl.SSLCertVerificationError, match=r"certificate is not valid for 'other\.example'"),
    ):
        ask(server, "other.example")


def test_all_are_renewed_together(loop: Flavour, site: Site) -> None:
    with serving(loop, *site.options) as server:
        site.shop = certificate_for("shop.example")
        site.write_files()
        server.send_signal(signal.SIGHUP)
        server.stderr.wait_for("The certificates have been reloaded")
        assert ask(server, "shop.example")["server_cert"] == pem_of(site.shop)


def test_a_client_certificate_is_asked_for_whatever_the_host(loop: Flavour, site: Site, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    ann = authority().issue_cert("ann@example.org", common_name="Ann")
    with serving(
        loop, *site.options, "--ssl-ca-certs", f"{tmp_path}/ca.pem", "--ssl-cert-reqs", "required"
    ) as server:
        for host in ("localhost", "shop.example"):
            assert ask(server, host, ann)["client_cert_name"].startswith("CN=Ann")
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                ask(server, host)


# -- revoked certificates ----------------------------------------------------------------------------------------------


def revocation_list(*revoked: trustme.LeafCert) -> bytes:
    """Of ``authority()``, in PEM."""
    ca = x509.load_pem_x509_certificate(authority().cert_pem.bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.subject)
    builder = builder.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=1))
    for leaf in revoked:
        serial = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - timedelta(hours=1))
        builder = builder.add_revoked_certificate(entry.build())
    key: Any = load_pem_private_key(authority().private_key_pem.bytes(), None)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def is_let_in(server: ServerProcess, client: trustme.LeafCert) -> bool:
    try:
        return bool(ask(server, "localhost", client))
    except (ssl.SSLError, ConnectionResetError):
        return False


@PROCESSES
def test_who_was_revoked_is_refused(loop: Flavour, site: Site, tmp_path: Path, processes: list[str]) -> None:
    """Also whoever is revoked later: the list is read again with the certificates."""
    ann, eve = (authority().issue_cert(f"{name}@example.org") for name in ("ann", "eve"))
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    (tmp_path / "crl.pem").write_bytes(revocation_list(eve))
    verify = ["--ssl-ca-certs", f"{tmp_path}/ca.pem", "--ssl-cert-reqs", "required", "--ssl-crl", f"{tmp_path}/crl.pem"]
    with serving(loop, *site.options, *verify, *processes, "--log-level", "debug") as server:
        assert is_let_in(server, ann)
        assert not is_let_in(server, eve)
        server.stderr.wait_for("certificate revoked")
        (tmp_path / "crl.pem").write_bytes(revocation_list(eve, ann))
        first = int(server.stderr.lines_with("Listening on")[0].partition("[")[2].partition("]")[0] or 0)
        server.send_signal(signal.SIGHUP)
        if processes:
            successor_of(server, first)
            server.stderr.wait_for("Every worker has had its turn")
        else:
            server.stderr.wait_for("The certificates have been reloaded")
        assert not is_let_in(server, ann)
