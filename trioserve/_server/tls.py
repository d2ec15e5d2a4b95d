"""Certificate files become an SSLContext, and again whenever they change.

A context that is in use is never touched: a new one is made of the files, whole, and takes its place for the
connections to come. So a half-written file or a wrong password costs a line in the log, not the site.
"""

import logging
import os
import re
import ssl
from collections.abc import Callable
from typing import Final

import anyio

from trioserve._complaints import complain
from trioserve._config import OPTIONS, Config
from trioserve._errors import ConfigError
from trioserve._server.engine import choose_http2_engine
from trioserve._streams import ServerIdentity

__all__ = ["Certificates", "load_certificates", "protocols"]

log = logging.getLogger("trioserve")

LOOK_SECONDS: Final = 5.0  # between two looks at the files; they are read when two in a row have found the same

_VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_VERIFICATION: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
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
        self.identity.context, self.identity.certificate = fresh.context, fresh.certificate
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


def load_certificates(config: Config, context: ssl.SSLContext | None) -> Certificates | None:
    """What to present: ``context``, or what the options name; ``None`` for a server without TLS.

    Raises:
        ConfigError: an option is missing, at odds with another one, or a file is not what it should be.
    """
    if context is not None:
        _refuse_options_beside_context(config)
        _check_context(context)
        given = ServerIdentity(context, certificate=None)
        return Certificates(lambda: given, files=())
    if config.ssl_certfile is None:
        for name in ("ssl_keyfile", "ssl_ca_certs", "ssl_cert_reqs"):
            if getattr(config, name) not in (None, "none"):
                raise ConfigError(name, "there is no TLS without a certificate: give --ssl-certfile as well")
        if config.insecure_bind:
            raise ConfigError("insecure_bind", "without certificates no address has TLS: use --bind")
        return None
    files = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
    return Certificates(lambda: _read_identity(config), tuple(file for file in files if file is not None))


def _refuse_options_beside_context(config: Config) -> None:
    standard = Config()
    for name in OPTIONS:
        if name.startswith("ssl_") and getattr(config, name) != getattr(standard, name):
            raise ConfigError(name, "does not go together with an ssl_context, which has settings of its own")


def _check_context(context: ssl.SSLContext) -> None:
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    except (AttributeError, ssl.SSLError):
        raise ConfigError("ssl_context", f"{context!r} is not an SSLContext for servers") from None


def _read_identity(config: Config) -> ServerIdentity:
    """A new context from the files. Raises ConfigError, which names the option whose file or text is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.ssl_min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(protocols(config))
    try:
        context.set_ciphers(config.ssl_ciphers)
    except ssl.SSLError:
        raise ConfigError("ssl_ciphers", f"{config.ssl_ciphers!r} selects no cipher that OpenSSL knows") from None
    certificate = _load_pair(context, config)
    _load_authorities(context, config)
    return ServerIdentity(context, certificate)


def protocols(config: Config) -> tuple[str, ...]:
    """What is offered by ALPN, the best first (RFC 7301). Raises ConfigError."""
    return ("http/1.1",) if choose_http2_engine(config) is None else ("h2", "http/1.1")


def _load_pair(context: ssl.SSLContext, config: Config) -> str:
    """Certificate and key into ``context``; the certificate itself in PEM."""
    assert config.ssl_certfile is not None
    certificate = _first_certificate(config.ssl_certfile)
    key_option, key_file = "ssl_certfile", config.ssl_certfile
    if config.ssl_keyfile is not None:
        key_option, key_file = "ssl_keyfile", config.ssl_keyfile
        _check_readable("ssl_keyfile", key_file)
    asked_for_password = False

    def password() -> str:
        nonlocal asked_for_password
        asked_for_password = True
        return config.ssl_keyfile_password or ""  # OpenSSL would ask at the terminal otherwise

    try:
        context.load_cert_chain(config.ssl_certfile, key_file, password)
    except (OSError, ValueError) as exc:  # an SSLError is an OSError; ValueError: a password that is too long
        if asked_for_password and config.ssl_keyfile_password is None:
            raise ConfigError("ssl_keyfile_password", f"the key in {key_file!r} needs a password") from None
        if asked_for_password:
            raise ConfigError("ssl_keyfile_password", f"is not the password of the key in {key_file!r}") from None
        raise _explain_pair(exc, config.ssl_certfile, key_option, key_file) from None
    return certificate


def _explain_pair(exc: OSError | ValueError, cert_file: str, key_option: str, key_file: str) -> ConfigError:
    reason = getattr(exc, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return ConfigError(key_option, f"the key in {key_file!r} does not belong to the certificate in {cert_file!r}")
    if reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return ConfigError("ssl_certfile", f"the certificate in {cert_file!r} is too weak: {_words(reason)}")
    if key_option == "ssl_certfile":
        return ConfigError(key_option, f"{key_file!r} holds no usable private key; give it by --ssl-keyfile")
    return ConfigError(key_option, f"{key_file!r} holds no usable private key in PEM")


def _first_certificate(path: str) -> str:
    """The certificate that a server presents, in PEM, once all in the file are known to be sound."""
    match = _PEM_CERTIFICATE.search(_read("ssl_certfile", path))
    if match is None:
        raise ConfigError("ssl_certfile", f"{path!r} holds no certificate in PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as exc:
        problem = _words(getattr(exc, "reason", None) or str(exc))
        raise ConfigError("ssl_certfile", f"{path!r} holds a certificate that cannot be read: {problem}") from None
    return match[0].replace("\r\n", "\n") + "\n"


def _load_authorities(context: ssl.SSLContext, config: Config) -> None:
    path = config.ssl_ca_certs
    if path is not None:
        _check_readable("ssl_ca_certs", path)
        try:
            context.load_verify_locations(cafile=path)
        except OSError:  # an SSLError is one
            raise ConfigError("ssl_ca_certs", f"{path!r} holds no certificates in PEM") from None
        if config.ssl_cert_reqs == "none":
            complain(
                log, "--ssl-ca-certs has no effect: without --ssl-cert-reqs no client is asked for a certificate",
                level=logging.WARNING)
    elif config.ssl_cert_reqs != "none":
        raise ConfigError("ssl_ca_certs", "is needed to verify the certificates that --ssl-cert-reqs asks for")
    context.verify_mode = _VERIFICATION[config.ssl_cert_reqs]


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
