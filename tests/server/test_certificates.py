"""Certificate files: what can be wrong with them, and how they change under a running server."""

import os
import ssl
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key

import trioserve
from tests.helpers.apps import hello
from tests.helpers.certificates import authority, client_context, files_of, server_certificate
from tests.helpers.serving import serving
from tests.helpers.stream_pairs import MemoryPeer, TlsPeer
from tests.helpers.transcripts import get, ok
from trioserve import Config, ConfigError
from trioserve._server.certificates import LOOK_SECONDS, Certificates
from trioserve._server.tls import load_certificates
from trioserve._streams.memory import MemoryClient


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a certificate, its key, and what is no such thing."""
    monkeypatch.chdir(tmp_path)
    files_of(server_certificate(), tmp_path)
    files_of(another_certificate(), tmp_path, "another")
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    (tmp_path / "both.pem").write_bytes(server_certificate().private_key_and_cert_chain_pem.bytes())
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "noise.pem").write_bytes(os.urandom(100))
    (tmp_path / "folder").mkdir()
    certificate = (tmp_path / "server.pem").read_text()
    (tmp_path / "damaged.pem").write_text(certificate.replace(certificate[100:140], "A" * 40))
    (tmp_path / "bad.crl").write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    (tmp_path / "damaged.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (tmp_path / "rsa.key").write_bytes(rsa_key())
    key = load_key(server_certificate().private_key_pem.bytes(), None)
    for name, password in (("locked.key", b"sesame"), ("latin.key", b"s\xe9same")):
        (tmp_path / name).write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)))
    return tmp_path


def another_certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost")


@cache
def rsa_key() -> bytes:
    """Of another kind than those of the certificates."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def problem(**options: Any) -> str:
    """The one line that a user reads."""
    with pytest.raises(ConfigError) as error:
        load_certificates(Config(**options), None)
    assert "\n" not in str(error.value)
    return str(error.value)


GOOD: dict[str, Any] = {"ssl_certfile": "server.pem", "ssl_keyfile": "server.key"}
VERIFYING: dict[str, Any] = {**GOOD, "ssl_cert_reqs": "required", "ssl_ca_certs": "ca.pem"}


# -- loading -----------------------------------------------------------------------------------------------------------


def test_without_options_there_is_no_tls() -> None:
    assert load_certificates(Config(), None) is None


@pytest.mark.parametrize("options", [
    GOOD,
    {"ssl_certfile": "both.pem"},
    {"ssl_certfile": "server.pem", "ssl_keyfile": "both.pem"},
    {**GOOD, "ssl_keyfile": "locked.key", "ssl_keyfile_password": "sesame"},
    {**GOOD, "ssl_keyfile": "latin.key", "ssl_keyfile_password": os.fsdecode(b"s\xe9same")},
    {**GOOD, "ssl_keyfile_password": "not needed"},
    {**GOOD, "ssl_ca_certs": "ca.pem", "ssl_cert_reqs": "required"},
    {**GOOD, "ssl_ca_certs": "ca.pem", "ssl_cert_reqs": ssl.CERT_OPTIONAL},
    {**GOOD, "ssl_ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256", "ssl_min_version": 1.3},
])
def test_files_that_are_fine(directory: Path, options: dict[str, Any]) -> None:
    certificates = load_certificates(Config(**options), None)
    assert certificates is not None
    assert certificates.identity.certificate == server_certificate().cert_chain_pems[0].bytes().decode()


def test_the_context_is_what_the_options_say(directory: Path) -> None:
    certificates = load_certificates(Config(**GOOD), None)
    assert certificates is not None
    context = certificates.identity.context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE
    assert context.options & ssl.OP_NO_RENEGOTIATION and context.options & ssl.OP_NO_COMPRESSION
    for cipher in context.get_ciphers():  # forward secrecy and authenticated encryption
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-")
        assert cipher["aead"]
    options = {**GOOD, "ssl_ca_certs": "ca.pem", "ssl_cert_reqs": "2", "ssl_min_version": "TLSv1.3"}
    certificates = load_certificates(Config(**options), None)
    assert certificates is not None
    assert certificates.identity.context.verify_mode == ssl.CERT_REQUIRED
    assert certificates.identity.context.minimum_version == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(("options", "option", "parts"), [
    ({"ssl_keyfile": "server.key"}, "ssl_keyfile", ["--ssl-certfile"]),
    ({"ssl_ca_certs": "ca.pem"}, "ssl_ca_certs", ["--ssl-certfile"]),
    ({"ssl_cert_reqs": "required"}, "ssl_cert_reqs", ["--ssl-certfile"]),
    ({"insecure_bind": ["*:80"]}, "insecure_bind", ["without certificates", "use --bind"]),
    ({"ssl_certfile": "nowhere.pem"}, "ssl_certfile", ["'nowhere.pem' cannot be read", "No such file"]),
    ({"ssl_certfile": "folder"}, "ssl_certfile", ["'folder' cannot be read", "directory"]),
    ({"ssl_certfile": "empty.pem"}, "ssl_certfile", ["'empty.pem' holds no certificate"]),
    ({"ssl_certfile": "noise.pem"}, "ssl_certfile", ["'noise.pem' holds no certificate"]),
    ({"ssl_certfile": "server.key"}, "ssl_certfile", ["'server.key' holds no certificate"]),
    ({"ssl_certfile": "damaged.pem", "ssl_keyfile": "server.key"}, "ssl_certfile", ["'damaged.pem'", "cannot be read"]),
    ({"ssl_certfile": "server.pem"}, "ssl_certfile", ["'server.pem' holds no usable private key", "--ssl-keyfile"]),
    ({**GOOD, "ssl_keyfile": "nowhere.key"}, "ssl_keyfile", ["'nowhere.key' cannot be read"]),
    ({**GOOD, "ssl_keyfile": "empty.pem"}, "ssl_keyfile", ["'empty.pem' holds no usable private key"]),
    ({**GOOD, "ssl_keyfile": "server.pem"}, "ssl_keyfile", ["'server.pem' holds no usable private key"]),
    ({**GOOD, "ssl_keyfile": "damaged.key"}, "ssl_keyfile", ["'damaged.key' holds no usable private key"]),
    ({**GOOD, "ssl_keyfile": "another.key"}, "ssl_keyfile", ["'another.key' does not belong", "'server.pem'"]),
    ({**GOOD, "ssl_keyfile": "rsa.key"}, "ssl_keyfile", ["'rsa.key' does not belong", "'server.pem'"]),
    ({**GOOD, "ssl_keyfile": "locked.key"}, "ssl_keyfile_password", ["'locked.key' needs a password"]),
    ({**GOOD, "ssl_keyfile": "locked.key", "ssl_keyfile_password": "wrong"}, "ssl_keyfile_password", ["'locked.key'"]),
    ({**GOOD, "ssl_keyfile": "locked.key", "ssl_keyfile_password": "x" * 5000}, "ssl_keyfile_password", ["'locked."]),
    ({**GOOD, "ssl_cert_reqs": "optional"}, "ssl_ca_certs", ["--ssl-cert-reqs"]),
    ({**GOOD, "ssl_cert_reqs": "optional", "ssl_ca_certs": "nowhere.pem"}, "ssl_ca_certs", ["cannot be read"]),
    ({**GOOD, "ssl_cert_reqs": "optional", "ssl_ca_certs": "noise.pem"}, "ssl_ca_certs", ["holds no certificates"]),
    ({"ssl_certfile": "nul\x00"}, "ssl_certfile", ["has a null character"]),
    ({**GOOD, "ssl_keyfile": "nul\x00"}, "ssl_keyfile", ["has a null character"]),
    ({**GOOD, "ssl_keyfile": "folder"}, "ssl_keyfile", ["'folder' cannot be read"]),
    ({**GOOD, "ssl_cert_reqs": 1, "ssl_ca_certs": "folder"}, "ssl_ca_certs", ["'folder' cannot be read"]),
    ({"ssl_sni": ["a=server.pem"]}, "ssl_sni", ["--ssl-certfile"]),
    ({"ssl_crl": "ca.pem"}, "ssl_crl", ["--ssl-certfile"]),
    ({**GOOD, "ssl_sni": ["a=nowhere.pem"]}, "ssl_sni", ["'nowhere.pem' cannot be read"]),
    ({**GOOD, "ssl_sni": ["a=another.pem"]}, "ssl_sni", ["'another.pem' holds no usable private key", "after a comma"]),
    ({**GOOD, "ssl_sni": ["a=another.pem,server.key"]}, "ssl_sni", ["'server.key' does not belong", "'another.pem'"]),
    ({**GOOD, "ssl_sni": ["a=both.pem", "b=empty.pem"]}, "ssl_sni", ["'empty.pem' holds no certificate"]),
    ({**VERIFYING, "ssl_crl": "ca.pem"}, "ssl_crl", ["no revocation"]),
    ({**VERIFYING, "ssl_crl": "x.pem"}, "ssl_crl", ["cannot be read"]),
    ({**VERIFYING, "ssl_crl": "bad.crl"}, "ssl_crl", ["cannot be"]),
    ({**GOOD, "ssl_ciphers": "NONSENSE"}, "ssl_ciphers", ["'NONSENSE' selects no cipher"]),
    ({**GOOD, "ssl_ciphers": "\udcfc"}, "ssl_ciphers", ["selects no cipher"]),
])
def test_what_is_wrong_is_said_in_one_line(
    directory: Path, options: dict[str, Any], option: str, parts: list[str]
) -> None:
    line = problem(**options)
    assert line.startswith(f"{option}: ")
    for part in parts:
        assert part in line
    assert "wrong" not in line and "xxxxx" not in line  # a password is nobody's business


def test_a_weak_key(directory: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name, when = x509.Name([]), datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(when).not_valid_after(when).sign(key, hashes.SHA256()))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "weak.pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    assert problem(ssl_certfile="weak.pem") == (
        "ssl_certfile: the certificate in 'weak.pem' is too weak: ee key too small")


def test_a_password_is_not_shown(directory: Path) -> None:
    assert "sesame" not in repr(Config(ssl_keyfile_password="sesame"))


def test_authorities_that_nobody_asks_for_are_worth_a_warning(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_certificates(Config(**GOOD, ssl_ca_certs="ca.pem"), None)
    assert "--ssl-ca-certs has no effect" in caplog.text


def test_a_context_of_ones_own_is_used_as_it_is() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates = load_certificates(Config(), context)
    assert certificates is not None
    assert certificates.identity.context is context
    assert certificates.identity.certificate is None


@pytest.mark.parametrize("given", [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "context.pem"])
def test_a_context_that_is_none_for_servers(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^ssl_context: .* is not an SSLContext for servers$"):
        load_certificates(Config(), given)


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="this system has no /dev/fd")
def test_a_key_may_come_through_a_pipe(directory: Path) -> None:  # --ssl-keyfile <(decrypt site.key)
    reading, writing = os.pipe()
    os.write(writing, (directory / "server.key").read_bytes())
    os.close(writing)
    loaded(**{**GOOD, "ssl_keyfile": f"/dev/fd/{reading}"})
    os.close(reading)


@pytest.mark.parametrize("option", [
    {"ssl_certfile": "a"}, {"ssl_keyfile": "a"}, {"ssl_keyfile_password": "a"}, {"ssl_ca_certs": "a"},
    {"ssl_crl": "a"}, {"ssl_sni": ("a=a",)}, {"ssl_cert_reqs": "required"}, {"ssl_ciphers": "ALL"},
    {"ssl_min_version": "TLSv1.3"},
])
def test_a_context_and_options_contradict_each_other(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="ssl_context") as error:
        load_certificates(Config(**option), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert error.value.option in option


# -- reloading ---------------------------------------------------------------------------------------------------------


def loaded(**options: Any) -> Certificates:
    certificates = load_certificates(Config(**(options or GOOD)), None)
    assert certificates is not None
    return certificates


def replace(directory: Path, what: trustme.LeafCert) -> None:
    files_of(what, directory)


def test_a_reload_makes_a_new_context(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trioserve")
    certificates = loaded()
    identity, context = certificates.identity, certificates.identity.context
    fresh = another_certificate()
    replace(directory, fresh)
    certificates.reload()
    assert certificates.identity is identity
    assert identity.context is not context
    assert identity.certificate == fresh.cert_chain_pems[0].bytes().decode()
    assert "The certificates have been reloaded" in caplog.text


@pytest.mark.parametrize("damage", ["gone", "half", "key"])
def test_a_bad_file_changes_nothing(directory: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    certificates = loaded()
    before = certificates.identity.context, certificates.identity.certificate
    if damage == "gone":
        (directory / "server.pem").unlink()
    elif damage == "half":
        (directory / "server.pem").write_bytes((directory / "server.pem").read_bytes()[:300])
    else:
        (directory / "server.key").write_bytes((directory / "another.key").read_bytes())
    certificates.reload()
    assert (certificates.identity.context, certificates.identity.certificate) == before
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "the old ones stay: ssl_" in record.getMessage()


def test_a_context_of_ones_own_is_not_reloaded(caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates = load_certificates(Config(), context)
    assert certificates is not None
    certificates.reload()
    assert certificates.identity.context is context
    assert "no files to read again" in caplog.text


async def test_files_that_change_are_seen_once_they_stay_the_same(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trioserve")
    certificates = loaded()
    async with anyio.create_task_group() as watching:
        watching.start_soon(certificates.watch)
        await anyio.sleep(3.5 * LOOK_SECONDS)
        assert caplog.records == []
        fresh = another_certificate()
        (directory / "server.pem").write_bytes(fresh.cert_chain_pems[0].bytes())
        await anyio.sleep(LOOK_SECONDS)
        (directory / "server.key").write_bytes(fresh.private_key_pem.bytes())  # later, as people do
        await anyio.sleep(LOOK_SECONDS)
        assert caplog.records == []
        await anyio.sleep(LOOK_SECONDS)
        assert certificates.identity.certificate == fresh.cert_chain_pems[0].bytes().decode()
        await anyio.sleep(10 * LOOK_SECONDS)
        assert [record.getMessage() for record in caplog.records] == ["The certificates have been reloaded"]
        watching.cancel_scope.cancel()


async def test_a_link_that_is_moved_is_a_change(directory: Path) -> None:  # Kubernetes and certbot do so
    (directory / "live.pem").symlink_to("server.pem")
    (directory / "live.key").symlink_to("server.key")
    certificates = loaded(ssl_certfile="live.pem", ssl_keyfile="live.key")
    async with anyio.create_task_group() as watching:
        watching.start_soon(certificates.watch)
        await anyio.sleep(0.5 * LOOK_SECONDS)
        for ending in ("pem", "key"):
            (directory / f"new.{ending}").symlink_to(f"another.{ending}")
            (directory / f"new.{ending}").replace(directory / f"live.{ending}")
        await anyio.sleep(3 * LOOK_SECONDS)
        assert certificates.identity.certificate == (directory / "another.pem").read_text()
        watching.cancel_scope.cancel()


async def test_bad_files_are_complained_about_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificates = loaded()
    good = (directory / "server.pem").read_bytes()
    async with anyio.create_task_group() as watching:
        watching.start_soon(certificates.watch)
        (directory / "server.pem").unlink()
        await anyio.sleep(10 * LOOK_SECONDS)
        assert len(caplog.records) == 1
        caplog.set_level("INFO", "trioserve")
        (directory / "server.pem").write_bytes(good)
        await anyio.sleep(3 * LOOK_SECONDS)
        assert caplog.records[-1].getMessage() == "The certificates have been reloaded"
        watching.cancel_scope.cancel()


# -- in a server -------------------------------------------------------------------------------------------------------


async def open_tls(client: MemoryClient) -> TlsPeer:
    peer = TlsPeer(MemoryPeer(client), client_context())
    await peer.open()
    return peer


async def ask(peer: TlsPeer, target: str) -> None:
    await peer.send(get(target))
    assert await peer.receive() == ok(target.encode())


def certificate_of(peer: TlsPeer) -> bytes | None:
    return peer.ssl.getpeercert(binary_form=True)


async def test_rotation_keeps_connections(directory: Path) -> None:
    async with serving(hello, **GOOD) as site:
        before = await open_tls(site.connect())
        await ask(before, "/a")
        replace(directory, another_certificate())
        site.server.reload_certificates()
        after = await open_tls(site.connect())
        await ask(after, "/b")
        await ask(before, "/c")
        assert certificate_of(before) != certificate_of(after)


async def test_a_server_sees_by_itself_that_its_files_have_changed(directory: Path) -> None:
    async with serving(hello, **GOOD) as site:
        before = await open_tls(site.connect())
        replace(directory, another_certificate())
        await anyio.sleep(3 * LOOK_SECONDS)
        assert certificate_of(before) != certificate_of(await open_tls(site.connect()))


async def test_a_server_without_tls_has_nothing_to_reload() -> None:
    async with serving(hello) as site:
        assert not site.server.has_certificate_files
        site.server.reload_certificates()


async def test_a_server_with_bad_files_does_not_start(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"ssl_certfile: 'empty\.pem'"):
        await trioserve.serve(hello, port=0, ssl_certfile="empty.pem")
