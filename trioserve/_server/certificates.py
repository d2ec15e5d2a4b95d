"""Certificate files become an SSLContext, and again whenever they change.

A context that is in use is never touched: a new one is made of the files, whole, and takes its place for the
connections to come. So a half-written file or a wrong password costs a line in the log, not the site.
"""

import logging
import os
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from trioserve._complaints import complain
from trioserve._config import Config
from trioserve._errors import ConfigError
from trioserve._host_names import HostNames, NamedCertificate
from trioserve._server.engine import protocols
from trioserve._streams import ServerIdentity

__all__ = ["Certificates", "given_certificates", "read_certificates"]

log = logging.getLogger("trioserve")

LOOK_SECONDS: Final = 5.0  # between two looks at the files; they are read when two in a row have found the same

_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_VERIFICATION: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_OTHER_KEY: Final = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL says of a key that is not the certificate's: of the same kind, and of another one, as RSA and ECDSA."""
_PEM_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class Certificates:
    """What a server's TLS listeners present. ``watch`` is a task for the server's nursery.

    Args:
        load: makes it; raises ConfigError.
        files: what it is made of; empty if it comes from elsewhere and is its owner's to change.
    """

    def __init__(self, load: Callable[[], ServerIdentity], files: tuple[str, ...]) -> None:
        self._load = load
        self._files = files
        self._loaded = self._fingerprint()  # before the files are read: what changes in between is seen later
        self.identity = load()

    def reload(self) -> None:
        """Read the files again, for new connections; what is wrong with them is logged, and the old ones stay."""
        if not self._files:
            complain(
                log, "The certificates were given as an ssl_context: there are no files to read again",
                level=logging.WARNING)
            return
        self._loaded = self._fingerprint()
        try:
            fresh = self._load()
        except ConfigError as exc:
            complain(log, "The certificates were not reloaded, the old ones stay: %s", exc)
            return
        self.identity.become(fresh)
        complain(log, "The certificates have been reloaded", level=logging.INFO)

    async def watch(self) -> None:
        """Reload when a file has changed and then stayed the same from one look to the next; until cancelled."""
        last = self._loaded
        while self._files:
            await anyio.sleep(LOOK_SECONDS)
            seen = self._fingerprint()
            if seen != self._loaded and seen == last:
                self.reload()
            last = seen

    def _fingerprint(self) -> list[tuple[int, ...] | None]:
        return [_fingerprint(path) for path in self._files]


def _fingerprint(path: str) -> tuple[int, ...] | None:
    """What changes with the content of a file, behind links too; ``None`` when it is not there."""
    try:
        known = os.stat(path)
    except (OSError, ValueError):
        return None
    return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns


def read_certificates(config: Config) -> Certificates:
    """What the options name. Raises ConfigError: a file is not what it should be."""
    files = [config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs, config.ssl_crl]
    for named in config.named_certificates:
        files += [named.certfile, named.keyfile]
    return Certificates(lambda: _read_identity(config), tuple(file for file in files if file is not None))


def given_certificates(context: ssl.SSLContext) -> Certificates:
    """What somebody else has made. Raises ConfigError: it is no context for servers."""
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    except (AttributeError, ssl.SSLError):
        raise ConfigError("ssl_context", f"{context!r} is not an SSLContext for servers") from None
    given = ServerIdentity(context, certificate=None)
    return Certificates(lambda: given, files=())


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key, with the options that name their files, and what to do about a missing key."""

    certificate: str
    key: str
    certificate_option: str = "ssl_certfile"
    key_option: str = "ssl_certfile"
    advice: str = ""


def _read_identity(config: Config) -> ServerIdentity:
    """New contexts from the files. Raises ConfigError, which names the option whose file or text is wrong."""
    assert config.ssl_certfile is not None
    if config.ssl_keyfile is None:
        pair = _Pair(config.ssl_certfile, config.ssl_certfile, advice="; give it by --ssl-keyfile")
    else:
        pair = _Pair(config.ssl_certfile, config.ssl_keyfile, key_option="ssl_keyfile")
    context, certificate = _read_context(config, pair)
    others = [(named.hosts, *_read_context(config, _pair_of(named))) for named in config.named_certificates]
    _warn_of_unasked(config)
    if others:
        context.sni_callback = _chooser([(hosts, other) for hosts, other, _ in others])
    return ServerIdentity(context, certificate, {other: shown for _, other, shown in others})


def _pair_of(named: NamedCertificate) -> _Pair:
    advice = "; give it after a comma" if named.keyfile is None else ""
    return _Pair(named.certfile, named.keyfile or named.certfile, "ssl_sni", "ssl_sni", advice)


def _chooser(
    contexts: Sequence[tuple[HostNames, ssl.SSLContext]]
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """An ``sni_callback``: the first context whose hosts have the one that a client asks for (RFC 6066 §3)."""

    def choose(session: ssl.SSLObject, host: str | None, default: ssl.SSLContext) -> None:
        for hosts, context in contexts:
            if host is not None and host in hosts:
                session.context = context
                return

    return choose


def _read_context(config: Config, pair: _Pair) -> tuple[ssl.SSLContext, str]:
    """A context that presents ``pair``, and the certificate in PEM; the other settings are the same for all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.ssl_min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(protocols(config))
    try:
        context.set_ciphers(config.ssl_ciphers)
    except (ssl.SSLError, UnicodeEncodeError):  # UnicodeEncodeError: bytes of another encoding
        raise ConfigError("ssl_ciphers", f"{config.ssl_ciphers!r} selects no cipher that OpenSSL knows") from None
    certificate = _load_pair(context, pair, config.ssl_keyfile_password)
    _load_authorities(context, config)
    return context, certificate


def _load_pair(context: ssl.SSLContext, pair: _Pair, known_password: str | None) -> str:
    """Certificate and key into ``context``; the certificate itself in PEM."""
    certificate = _first_certificate(pair.certificate_option, pair.certificate)
    if pair.key != pair.certificate:
        _check_readable(pair.key_option, pair.key)
    asked_for_password = False

    def password() -> bytes:
        nonlocal asked_for_password
        asked_for_password = True
        return (known_password or "").encode("utf-8", "surrogateescape")  # none: OpenSSL would ask at the terminal

    try:
        context.load_cert_chain(pair.certificate, pair.key, password)
    except (OSError, ValueError) as exc:  # an SSLError is an OSError; ValueError: a password that is too long
        if asked_for_password and known_password is None:
            raise ConfigError("ssl_keyfile_password", f"the key in {pair.key!r} needs a password") from None
        if asked_for_password:
            raise ConfigError("ssl_keyfile_password", f"is not the password of the key in {pair.key!r}") from None
        raise _explain_pair(exc, pair) from None
    return certificate


def _explain_pair(exc: OSError | ValueError, pair: _Pair) -> ConfigError:
    reason = getattr(exc, "reason", None)
    if reason in _OTHER_KEY:
        return ConfigError(
            pair.key_option, f"the key in {pair.key!r} does not belong to the certificate in {pair.certificate!r}")
    if reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return ConfigError(
            pair.certificate_option, f"the certificate in {pair.certificate!r} is too weak: {_words(reason)}")
    kind = "" if pair.advice else " in PEM"
    return ConfigError(pair.key_option, f"{pair.key!r} holds no usable private key{kind}{pair.advice}")


def _first_certificate(option: str, path: str) -> str:
    """The certificate that a server presents, in PEM, once all in the file are known to be sound."""
    match = _PEM_CERTIFICATE.search(_read(option, path))
    if match is None:
        raise ConfigError(option, f"{path!r} holds no certificate in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as exc:
        problem = _words(getattr(exc, "reason", None) or str(exc))
        raise ConfigError(option, f"{path!r} holds a certificate that cannot be read: {problem}") from None
    return match[0].replace("\r\n", "\n") + "\n"


def _load_authorities(context: ssl.SSLContext, config: Config) -> None:
    path = config.ssl_ca_certs
    if path is not None:
        _check_readable("ssl_ca_certs", path)
        try:
            context.load_verify_locations(cafile=path)
        except OSError:  # an SSLError is one
            raise ConfigError("ssl_ca_certs", f"{path!r} holds no certificates in PEM") from None
    elif config.ssl_cert_reqs != "none":
        raise ConfigError("ssl_ca_certs", "is needed to verify the certificates that --ssl-cert-reqs asks for")
    if config.ssl_crl is not None:
        _load_revocations(context, config.ssl_crl)
    context.verify_mode = _VERIFICATION[config.ssl_cert_reqs]


def _load_revocations(context: ssl.SSLContext, path: str) -> None:
    """With them the list of the authority that issued a client's certificate is needed (RFC 5280 §6.3)."""
    if "-----BEGIN X509 CRL-----" not in _read("ssl_crl", path):
        raise ConfigError("ssl_crl", f"{path!r} holds no revocation list in PEM")
    try:
        context.load_verify_locations(cafile=path)
    except OSError as exc:
        problem = _words(getattr(exc, "reason", None) or str(exc))
        raise ConfigError("ssl_crl", f"{path!r} holds a revocation list that cannot be read: {problem}") from None
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _warn_of_unasked(config: Config) -> None:
    if config.ssl_cert_reqs == "none":
        for name, path in (("--ssl-ca-certs", config.ssl_ca_certs), ("--ssl-crl", config.ssl_crl)):
            if path is not None:
                complain(
                    log, "%s has no effect: without --ssl-cert-reqs no client is asked for a certificate", name,
                    level=logging.WARNING)


def _read(name: str, path: str) -> str:
    """The file's text. Raises ConfigError with the option's name."""
    try:
        with open(path, encoding="latin-1") as file:  # around PEM there may be anything
            return file.read()
    except (OSError, ValueError) as exc:
        raise ConfigError(name, f"{path!r} cannot be read: {getattr(exc, 'strerror', exc)}") from None


def _check_readable(name: str, path: str) -> None:
    """Not read, because a shell's ``<(...)`` can be read only once. Raises ConfigError with the option's name."""
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as exc:
        raise ConfigError(name, f"{path!r} cannot be read: {getattr(exc, 'strerror', exc)}") from None


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()
