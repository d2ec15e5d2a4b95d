"""What may be a secret and is therefore not shown: in the trace, in the tree, in the history."""

from typing import Final

__all__ = ["MASK", "is_secret", "without_query"]

MASK: Final = "***"
_SECRETS: Final = (  # parts of the names of fields whose values let somebody in
    "auth", "cookie", "credential", "csrf", "key", "passw", "secret", "session", "signature", "token", "xsrf",
)  # fmt: skip
_NO_SECRETS: Final = ("sec-websocket-key", "www-authenticate", "proxy-authenticate")


def is_secret(name: str) -> bool:
    """The value of a header field of this name is not shown."""
    name = name.lower()
    return name not in _NO_SECRETS and any(part in name for part in _SECRETS)


def without_query(line: str) -> str:
    """A request line or target without what its query says: links that let somebody in have their secret there."""
    path, query, _ = line.partition("?")
    return f"{path}?{MASK}" if query else path
