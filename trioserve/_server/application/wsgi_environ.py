"""The environment of a WSGI application (PEP 3333), from a scope of ASGI's."""

import sys
from functools import lru_cache
from typing import IO, Any, Final
from urllib.parse import unquote_to_bytes

from trioserve._types import Scope

__all__ = ["environ_of"]

# A proxy may have checked one spelling of a field, while CGI's names cannot tell X-User from X_User: drop the latter.
# HTTP_PROXY would be taken for a setting by HTTP clients inside the application (CVE-2016-5385). What wsgi.input gives
# is no longer chunked, and applications that are told of chunks look for them.
_DROPPED: Final = (b"proxy", b"transfer-encoding")


def environ_of(scope: Scope, body: IO[bytes]) -> dict[str, Any]:
    """The environment of PEP 3333: bytes are spelled as Latin-1 text there."""
    root_path = scope["root_path"].encode()
    path = unquote_to_bytes(scope["raw_path"]).removeprefix(root_path)
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    host, port = scope["server"] or ("", None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root_path.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,  # Apache's name for the target as it came
        "RAW_URI": target,  # gunicorn's
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host if port is not None else "localhost",
        "SERVER_PORT": str(port if port is not None else 443 if scope["scheme"] == "https" else 80),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,  # reading ends by itself, also without a content-length
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope["client"] is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1] or "")
    for name, value in scope["headers"]:
        key = _key_of(name)
        if key is not None:
            text = value.decode("latin-1")
            environ[key] = text if key not in environ else _joined(key, environ[key], text)
    return environ


@lru_cache(512)  # clients send few names; what an attacker invents pushes out the others
def _key_of(name: bytes) -> str | None:
    if b"_" in name or name in _DROPPED:
        return None
    text = name.decode("latin-1").upper().replace("-", "_")
    return text if text in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{text}"


def _joined(key: str, value: str, other: str) -> str:
    """A field that is there twice is joined, cookies in their own way (RFC 9110 §5.3, RFC 6265 §5.4)."""
    return f"{value}{'; ' if key == 'HTTP_COOKIE' else ','}{other}"
