"""What an access line says: Apache's atoms, compiled once, or one JSON object; and the same as fields of a record."""

import base64
import binascii
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, TypeAlias

from trioserve._asgi import FIRST_BODY
from trioserve._config import DEFAULT_ACCESS_FORMAT
from trioserve._config.values import nearest
from trioserve._connection.records import CLIENT_GONE, Answered, ClosedWebSocket, Recorded, status_of
from trioserve._errors import ConfigError
from trioserve._protocol.reasons import REASON_PHRASES

__all__ = [
    "ATOM", "Format", "access_fields", "access_line", "close_fields", "close_line", "compile_format", "escaped",
    "json_close_line", "json_format", "json_start", "local_time", "phrase_of_status", "process_id", "shown", "utc_time",
    "variable",
]  # fmt: skip

Format: TypeAlias = Callable[[Answered, float], str]
"""A line about an answered request that took so many seconds, without a newline."""

ATOM: Final = re.compile(r"%(?:(%)|\((?:\{([^{}]+)\}([ioe])|([A-Za-z]+))\)s)")

_PHRASES: Final = REASON_PHRASES | {CLIENT_GONE: "Client Closed Request"}
_STATUSES: Final = {status: f"{status} {phrase}" for status, phrase in _PHRASES.items()}
_NO_TRACE: Final = '"trace_id": null, "span_id": null'
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# What others send must not move a terminal's cursor either.
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {34: '\\"', 92: "\\\\"}


# What is known of a request.


def phrase_of(answered: Answered) -> str:
    """The reason phrase of the status; where there is no status, the reason why."""
    status = status_of(answered)
    return phrase_of_status(status) if status else answered.end_reason


def phrase_of_status(status: int) -> str:
    """Empty for a status that is not registered."""
    return _PHRASES.get(status, "")


def field_of(answered: Answered, name: bytes) -> bytes | None:
    """The first field of that name in the request."""
    for known, value in answered.head.headers:
        if known == name:
            return value
    return None


def client_of(recorded: Recorded) -> str:
    client = recorded.client
    return f"{client[0]}:{client[1]}" if client is not None else "-"


def request_line(answered: Answered) -> str:
    head = answered.head
    return f"{head.method} {shown(head.target)} HTTP/{head.meaning.http_version}"


def user_of(answered: Answered) -> str:
    """The user name of Basic authentication (RFC 7617 §2), whether it was accepted or not."""
    scheme, _, credentials = (field_of(answered, b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return "-"
    try:
        return shown(base64.b64decode(credentials.strip()).partition(b":")[0])
    except binascii.Error:
        return "-"


def variable(name: str) -> str:
    """An environment variable."""
    return escaped(os.environ.get(name, "-"))


def process_id() -> str:
    """In gunicorn's angle brackets."""
    return f"<{os.getpid()}>"


def shown(value: bytes | None) -> str:
    """A value that came from outside, fit for a line."""
    return escaped(value.decode("latin-1")) if value else "-"


def escaped(text: str) -> str:
    """What others have written, so that it neither ends the line nor a quoted part of it."""
    if text.isprintable() and '"' not in text and "\\" not in text:  # most are; saves 0.3 us
        return text
    return text.translate(_ESCAPES)


# Text.


def access_line(answered: Answered, seconds: float) -> str:
    """``127.0.0.1:53412 - "GET / HTTP/1.1" 200 OK 13 B 0.8 ms``: the default format.

    The same as its compiled form, at little more than half of the price (0.55 against 1.0 us).
    """
    head, response, client = answered.head, answered.response, answered.client
    address = f"{client[0]}:{client[1]}" if client is not None else "-"
    target = head.target.decode("latin-1")
    if '"' in target or "\\" in target:  # the rest is visible ASCII, nothing else gets through the parser
        target = escaped(target)
    status = _STATUSES.get(response.status) if response.state > FIRST_BODY else None
    if status is None:
        status = f"{status_of(answered)} {phrase_of(answered)}"
    return (
        f'{address} - "{head.method} {target} HTTP/{head.meaning.http_version}" '
        f"{status} {response.body_bytes} B {seconds * 1000:.1f} ms"
    )


def compile_format(text: str) -> Format:
    """A function for a format with atoms such as ``%(h)s`` and ``%({user-agent}i)s``; ``%%`` is a percent sign.

    Raises:
        ConfigError: something in the format is no atom; the text names it.
    """
    return access_line if text == DEFAULT_ACCESS_FORMAT else _compiled(_source(text))


def _source(text: str) -> str:
    """The Python expression that makes the line; ``ConfigError`` as above."""
    template, position = "", 0
    parts: list[str] = []
    for match in ATOM.finditer(text):
        template += _literal(text[position : match.start()])
        position = match.end()
        if match[1]:
            template += "%%"
        else:
            template += "%s"
            parts.append(_expression(match[2], match[3], match[4]))
    template += _literal(text[position:])
    return _filled(template, parts)


def _filled(template: str, parts: Iterable[str]) -> str:
    return f"{template!r} % ({''.join(f'{part}, ' for part in parts)})"


def _compiled(source: str) -> Format:
    """One function for the whole line: one for each of its parts would cost three times as much."""
    function: Format = eval(f"lambda answered, seconds: {source}", globals())
    return function


def _literal(text: str) -> str:
    if "%" in text:
        stray = text[text.index("%") :].split()[0]
        raise ConfigError("access_log_format", f"{stray!r} is no atom; an atom looks like %(h)s, a percent sign is %%")
    return text


def _expression(name: str | None, kind: str | None, atom: str) -> str:
    """The Python expression for ``%({name}kind)s`` or ``%(atom)s``."""
    if name is None:
        if atom not in ATOMS:
            known = " ".join(ATOMS)
            raise ConfigError("access_log_format", f"%({atom})s is no atom{nearest(atom, ATOMS)}; atoms are {known}")
        return ATOMS[atom]
    field = name.lower().encode("latin-1", "replace")
    return {
        "i": f"shown(field_of(answered, {field!r}))",
        "o": f"shown(answered.response.field({field!r}))",
        "e": f"variable({name!r})",
    }[kind or ""]


ATOMS: Final = {
    "h": "answered.client[0] if answered.client is not None else '-'",
    "l": "'-'",
    "u": "user_of(answered)",
    "t": "local_time(int(time.time() - seconds))",
    "r": "request_line(answered)",
    "m": "answered.head.method",
    "U": "shown(answered.head.raw_path)",
    "q": "answered.head.query_string and shown(answered.head.query_string) or ''",
    "H": "'HTTP/' + answered.head.meaning.http_version",
    "s": "status_of(answered)",
    "st": "phrase_of(answered)",
    "B": "answered.response.body_bytes",
    "b": "answered.response.body_bytes or '-'",
    "f": "shown(field_of(answered, b'referer'))",
    "a": "shown(field_of(answered, b'user-agent'))",
    "T": "int(seconds)",
    "M": "int(seconds * 1000)",
    "D": "int(seconds * 1_000_000)",
    "L": "'%.6f' % seconds",
    "p": "process_id()",
    "client": "client_of(answered)",
    "ms": "'%.1f' % (seconds * 1000)",
    "id": "escaped(answered.request_id() or '-')",
    "trace": "(answered.trace() or '-')[0]",
    "reason": "answered.end_reason or '-'",
}


# JSON.


def access_fields(answered: Answered, seconds: float) -> dict[str, Any]:
    """What a record, or a line of JSON, says about a request. No key is an attribute of ``logging.LogRecord``."""
    head, client, agent = answered.head, answered.client, field_of(answered, b"user-agent")
    trace, span = answered.trace() or (None, None)
    return {
        "client": client[0] if client is not None else None,
        "client_port": client[1] if client is not None else None,
        "method": head.method,
        "path": head.raw_path.decode("latin-1"),
        "query": head.query_string.decode("latin-1"),
        "http_version": head.meaning.http_version,
        "status": status_of(answered),
        "bytes": answered.response.body_bytes,
        "duration_ms": round(seconds * 1000, 3),
        "user_agent": agent.decode("latin-1") if agent is not None else None,
        "request_id": answered.request_id(),
        "trace_id": trace,
        "span_id": span,
        "reason": answered.end_reason or None,
    }


def json_start(message: str) -> dict[str, Any]:
    """What every line of JSON in the access log begins with."""
    return {
        "time": utc_time(time.time()), "level": "info", "logger": "trioserve.access", "pid": os.getpid(),
        "message": message,
    }  # fmt: skip


def json_format(message: str) -> Format:
    """A function for lines of JSON with these fields, and a message in the given format.

    Raises:
        ConfigError: as for ``compile_format``.
    """
    make = compile_format(message) if message != DEFAULT_ACCESS_FORMAT else None  # whose parts are fields anyway
    always = f'"level": "info", "logger": "trioserve.access", "pid": {os.getpid()}'

    def line(answered: Answered, seconds: float) -> str:
        head, response, client = answered.head, answered.response, answered.client
        status = response.status if response.state > FIRST_BODY else status_of(answered)
        path = quoted(head.raw_path.decode("latin-1"))
        text = f'"{head.method} {path[1:-1]} {status}"' if make is None else quoted(make(answered, seconds))
        agent = field_of(answered, b"user-agent")
        name = answered.request_id()
        trace = answered.trace()
        ids = _NO_TRACE if trace is None else f'"trace_id": "{trace[0]}", "span_id": "{trace[1]}"'
        reason = answered.end_reason
        return (  # by hand, because json.dumps would cost more than the rest of the line
            f'{{"time": "{utc_time(time.time())}", {always}, "message": {text}, '
            f'"client": {quoted(client[0]) if client is not None else "null"}, '
            f'"client_port": {client[1] if client is not None and client[1] is not None else "null"}, '
            f'"method": "{head.method}", "path": {path}, "query": {quoted(head.query_string.decode("latin-1"))}, '
            f'"http_version": "{head.meaning.http_version}", "status": {status}, "bytes": {response.body_bytes}, '
            f'"duration_ms": {seconds * 1000:.3f}, '
            f'"user_agent": {quoted(agent.decode("latin-1")) if agent is not None else "null"}, '
            f'"request_id": {quoted(name) if name is not None else "null"}, {ids}, '
            f'"reason": {quoted(reason) if reason else "null"}}}'
        )

    return line


# The end of a WebSocket, which has no format of the operator's: most atoms are about a response.


def close_line(websocket: ClosedWebSocket, seconds: float) -> str:
    """``127.0.0.1:53412 - "WEBSOCKET /chat" 1000 received 5 (160 B) sent 5 (160 B) 12.3 s``."""
    end = close_fields(websocket, seconds)
    return (
        f'{client_of(websocket)} - "WEBSOCKET {shown(websocket.head.target)}" {end["close_code"]} '
        f"received {end['received_messages']} ({end['received_bytes']} B) "
        f"sent {end['sent_messages']} ({end['sent_bytes']} B) {seconds:.1f} s"
    )


def close_fields(websocket: ClosedWebSocket, seconds: float) -> dict[str, Any]:
    """What a record, or a line of JSON, says about it."""
    head, client, frames = websocket.head, websocket.client, websocket.session.codec
    assert frames is not None, "only what was accepted is closed"
    trace, span = websocket.trace() or (None, None)
    return {
        "client": client[0] if client is not None else None,
        "client_port": client[1] if client is not None else None,
        "method": "WEBSOCKET",
        "path": head.raw_path.decode("latin-1"),
        "query": head.query_string.decode("latin-1"),
        "close_code": websocket.session.close_code,
        "received_messages": frames.received_messages,
        "received_bytes": frames.received_bytes,
        "sent_messages": frames.sent_messages,
        "sent_bytes": frames.sent_bytes,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": websocket.request_id(),
        "trace_id": trace,
        "span_id": span,
        "reason": websocket.end_reason or None,
    }


def json_close_line(websocket: ClosedWebSocket, seconds: float) -> str:
    return json.dumps(json_start(close_line(websocket, seconds)) | close_fields(websocket, seconds))


# Times.


class _LastTime:
    """The last second that was formatted: busy servers write many lines in one."""

    local = utc = -1
    local_text = utc_text = ""


def local_time(second: int) -> str:
    """``[21/Nov/2026:11:03:26 +0000]``, in English whatever the locale."""
    if second != _LastTime.local:
        t = time.localtime(second)
        sign, minutes = "-" if t.tm_gmtoff < 0 else "+", abs(t.tm_gmtoff) // 60
        _LastTime.local, _LastTime.local_text = second, (
            f"[{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} "
            f"{sign}{minutes // 60:02}{minutes % 60:02}]")
    return _LastTime.local_text


def utc_time(seconds: float) -> str:
    """``2026-11-21T11:03:26.123Z`` (RFC 3339)."""
    second = int(seconds)
    if second != _LastTime.utc:
        _LastTime.utc, _LastTime.utc_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_LastTime.utc_text}.{int((seconds - second) * 1000):03}Z"
