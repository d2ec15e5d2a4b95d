"""What an access line says of a request that never became one. Seldom written, so its format is not compiled."""

import json
import re
import time
from typing import Any

from trioserve._config import DEFAULT_ACCESS_FORMAT
from trioserve._connection import Refused
from trioserve._server.access_log.format import (
    ATOM,
    json_start,
    local_time,
    phrase_of_status,
    process_id,
    shown,
    variable,
)

__all__ = ["json_refused_line", "refused_fields", "refused_line"]


def refused_line(text: str, refused: Refused) -> str:
    """The format ``text``, which is known to be one, with its atoms filled in; what is not known is ``-``."""
    atoms = _atoms(refused)

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "%"
        return variable(match[2]) if match[3] == "e" else atoms.get(match[4], "-")

    return ATOM.sub(value, text)


def _atoms(refused: Refused) -> dict[str, str]:
    client, query = refused.client, refused.query_string
    return {
        "h": client[0] if client is not None else "-",
        "client": f"{client[0]}:{client[1]}" if client is not None else "-",
        "t": local_time(int(time.time())),
        "r": shown(refused.line),
        "m": refused.method or "-",
        "U": shown(refused.raw_path),
        "q": "" if query == b"" else shown(query),
        "H": f"HTTP/{refused.http_version}" if refused.http_version is not None else "-",
        "s": str(refused.status),
        "st": phrase_of_status(refused.status),
        "B": str(refused.body_bytes),
        "b": str(refused.body_bytes),
        "p": process_id(),
        "reason": refused.reason,
    }


def refused_fields(refused: Refused) -> dict[str, Any]:
    """What a record, or a line of JSON, says; the keys are those of an answered request."""
    client, path, query = refused.client, refused.raw_path, refused.query_string
    return {
        "client": client[0] if client is not None else None,
        "client_port": client[1] if client is not None else None,
        "method": refused.method,
        "path": path.decode("latin-1") if path is not None else None,
        "query": query.decode("latin-1") if query is not None else None,
        "http_version": refused.http_version,
        "status": refused.status,
        "bytes": refused.body_bytes,
        "duration_ms": None,
        "user_agent": None,
        "request_id": None,
        "trace_id": None,
        "span_id": None,
        "reason": refused.reason,
    }


def json_refused_line(text: str, refused: Refused) -> str:
    """A line of JSON with these fields, and a message in the format ``text``; the default's parts are fields anyway."""
    if text != DEFAULT_ACCESS_FORMAT:
        message = refused_line(text, refused)
    elif refused.method is not None and refused.raw_path is not None:
        message = f"{refused.method} {refused.raw_path.decode('latin-1')} {refused.status}"
    else:
        message = f"{shown(refused.line)} {refused.status}"
    return json.dumps(json_start(message) | refused_fields(refused))
