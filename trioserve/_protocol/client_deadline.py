"""How long a client waits for its answer, as a field of its request says. There are several habits, and no standard."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

__all__ = ["CLIENT_DEADLINES", "seconds_left"]

MILLISECONDS_FROM: Final = 1e11  # as seconds that were the year 5138, as milliseconds 1973: no moment is both

_DECIMAL: Final = re.compile(rb"[0-9]{1,15}(\.[0-9]{1,9})?")
_GRPC: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_GRPC_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_RFC_3339: Final = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def _in_seconds(value: bytes, now: float) -> float | None:
    """``30`` or ``0.5``. A draft for HTTP had whole seconds (draft-thomson-hybi-http-timeout-00 §2)."""
    return float(value) if _DECIMAL.fullmatch(value) else None


def _in_milliseconds(value: bytes, now: float) -> float | None:
    """``1500``, as Envoy's router writes it."""
    return float(value) / 1000 if value.isdigit() and _DECIMAL.fullmatch(value) else None


def _with_unit(value: bytes, now: float) -> float | None:
    """``1500m``: at most eight digits and a unit (gRPC over HTTP2, "Requests")."""
    match = _GRPC.fullmatch(value)
    return int(match[1]) * _GRPC_SECONDS[match[2]] if match else None


def _until_moment(value: bytes, now: float) -> float | None:
    """A moment: Unix time in seconds or in milliseconds, or as RFC 3339 §5.6 writes it, with its offset."""
    if _DECIMAL.fullmatch(value):
        moment = float(value)
        return (moment / 1000 if moment >= MILLISECONDS_FROM else moment) - now
    if not _RFC_3339.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value.decode("ascii").upper()).timestamp() - now
    except ValueError:  # the 30th of February
        return None


_READERS: Final[dict[bytes, Callable[[bytes, float], float | None]]] = {
    b"request-timeout": _in_seconds,
    b"grpc-timeout": _with_unit,
    b"x-request-deadline": _until_moment,
    b"x-envoy-expected-rq-timeout-ms": _in_milliseconds,
}

CLIENT_DEADLINES: Final = tuple(_READERS)
"""Names of fields that can be read."""


def seconds_left(name: bytes, value: bytes, now: float) -> float | None:
    """Seconds from ``now``, in Unix time, until nobody waits any more, negative if that was before.

    ``None`` when ``value`` does not have the form of the field ``name``, which is one of ``CLIENT_DEADLINES``.
    """
    return _READERS[name](value, now)
