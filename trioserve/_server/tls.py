"""Whether a server has TLS, and from where: the files that options name, or a context that it was given."""

import ssl
from typing import TYPE_CHECKING

from trioserve._config import OPTIONS, Config
from trioserve._errors import ConfigError

if TYPE_CHECKING:
    from trioserve._server.certificates import Certificates

__all__ = ["load_certificates"]


def load_certificates(config: Config, context: ssl.SSLContext | None) -> "Certificates | None":
    """What to present: ``context``, or what the options name; ``None`` for a server without TLS.

    Raises:
        ConfigError: an option is missing, at odds with another one, or a file is not what it should be.
    """
    if context is None and config.ssl_certfile is None:
        _refuse_options_without_certificate(config)
        return None
    from trioserve._server.certificates import given_certificates, read_certificates  # nobody else pays for them

    if context is None:
        return read_certificates(config)
    _refuse_options_beside_context(config)
    return given_certificates(context)


def _refuse_options_without_certificate(config: Config) -> None:
    for name in ("ssl_keyfile", "ssl_ca_certs", "ssl_cert_reqs", "ssl_crl", "ssl_sni"):
        if getattr(config, name) not in (None, "none", ()):
            raise ConfigError(name, "there is no TLS without a certificate: give --ssl-certfile as well")
    if config.insecure_bind:
        raise ConfigError("insecure_bind", "without certificates no address has TLS: use --bind")


def _refuse_options_beside_context(config: Config) -> None:
    standard = Config()
    for name in OPTIONS:
        if name.startswith("ssl_") and getattr(config, name) != getattr(standard, name):
            raise ConfigError(name, "does not go together with an ssl_context, which has settings of its own")
