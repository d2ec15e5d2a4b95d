"""What may be a secret and is therefore not shown: in the trace, in timelines, in spans."""

from typing import Final

__all__ = ["MASK", "is_secret"]

MASK: Final = "***"
_SECRETS: Final = (  # parts of the names of fields whose values let somebody in
    "auth", "cookie", "credential", "csrf", "key", "passw", "secret", "session", "signature", "token", "xsrf",
)  # fmt: skip
_NO_SECRETS: Final = ("sec-websocket-key", "www-authenticate", "proxy-authenticate")


def is_secret(name: str) -> bool:
    """The value of a header field, or of a parameter, of this name is not shown."""
    name = name.lower()
    return name not in _NO_SECRETS and any(part in name for part in _SECRETS)
