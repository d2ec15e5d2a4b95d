"""The path prefix under which a proxy mounts the application: one form, whoever names it (RFC 3986 §3.3)."""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

__all__ = ["decode_prefix", "read_prefix"]

_REMEMBERED: Final = 1024  # prefixes; a server has one, proxies in front of it may name a few more
_URL: Final = "[A-Za-z][A-Za-z0-9+.-]*://"
_BARE_PERCENT: Final = "%(?![0-9A-Fa-f]{2})"
_NO_PATH: Final = r"[?#\s\ud800-\udfff]"
# Also when they are percent-encoded: they end up in redirects, where browsers take a backslash for a slash.
_NEVER: Final = r"[\x00-\x1f\x7f-\x9f\\]"
_PATH_CHARACTERS: Final = "/!$&'()*+,;=:@"  # besides those that ``quote`` leaves alone


@lru_cache(maxsize=_REMEMBERED)
def read_prefix(text: str) -> str:
    """``text`` in the form that is put in front of a request target: percent-encoded UTF-8, with a slash at the front
    and none at the end, or empty. What has this form stays as it is.

    Raises:
        ValueError: it is no path, or one that a client could not ask for; the text says why.
    """
    if re.match(_URL, text):
        raise ValueError(f"{text!r} is a URL, only its path is wanted")
    if (found := re.search(_NO_PATH, text)) is not None:
        raise ValueError(f"{text!r} is no path, {found[0]!r} cannot stand in it")
    if re.search(_BARE_PERCENT, text):
        raise ValueError(f"{text!r} has a % that begins no percent-encoding, write %25")
    path = "/" + text.rstrip("/").removeprefix("/")
    try:
        decoded = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{text!r} is not percent-encoded UTF-8") from None
    if (found := re.search(_NEVER, decoded)) is not None:
        raise ValueError(f"{text!r} is no path, {found[0]!r} cannot stand in it")
    if path == "/":
        return ""
    if {"", ".", ".."} & set(decoded[1:].split("/")):
        raise ValueError(f"{text!r} has an empty segment or one of dots")
    return quote(path, safe=_PATH_CHARACTERS + "%")


@lru_cache(maxsize=_REMEMBERED)
def decode_prefix(prefix: str) -> tuple[str, bytes]:
    """What ``read_prefix`` gave, as ``root_path`` has it, decoded, and as the raw path has it."""
    return unquote(prefix), prefix.encode()
