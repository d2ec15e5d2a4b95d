"""The field lines that every response gets."""

import time
from typing import Final

from trioserve._asgi import Dated
from trioserve._types import Fields

__all__ = ["StandingFields"]

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """IMF-fixdate, independent of the locale (RFC 9110 §5.6.7)."""
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


class StandingFields:
    """The field lines that every response gets: Date, Server and the operator's own. Made once a second.

    A Server among ``extra`` takes the place of ``server``.
    """

    __slots__ = ("_date", "_date_line", "_extra", "_lines", "_pairs", "_pairs_of", "_server", "_until")

    def __init__(self, *, date: bool, server: str | None, extra: tuple[str, ...] = ()) -> None:
        self._date = date
        lines = [_field_line(line) for line in extra]
        of_server = [line for line in lines if line.startswith(b"server:")]
        if server is not None and not of_server:
            of_server = [_field_line(f"server:{server}")]
        self._server = b"".join(of_server)
        self._extra = b"".join(line for line in lines if line not in of_server) + b"\r\n"
        self._until = 0.0  # in ``time.time`` seconds: a new Date is due
        self._date_line = b""
        self._lines = b""
        self._pairs: Fields = []
        self._pairs_of = b""  # the lines that ``_pairs`` were made of

    def lines_for(self, response: Dated) -> bytes:
        """The lines for one response, with the empty line; a Date or Server of its own is not doubled."""
        now = time.time()
        if not self._until - 1 <= now < self._until:  # the clock may be set back, too
            self._until = int(now) + 1.0
            self._date_line = f"date: {http_date(int(now))}\r\n".encode() if self._date else b""
            self._lines = self._date_line + self._server + self._extra
        if response.has_date or response.has_server:
            date = b"" if response.has_date else self._date_line
            server = b"" if response.has_server else self._server
            return date + server + self._extra
        return self._lines

    def pairs_for(self, response: Dated) -> Fields:
        """The same as names and values, for versions of HTTP that have no lines. Not to be changed."""
        lines = self.lines_for(response)
        if lines is not self._pairs_of:
            self._pairs_of = lines
            self._pairs = [_as_pair(line) for line in lines.split(b"\r\n")[:-2]]
        return self._pairs


def _field_line(line: str) -> bytes:
    name, _, value = line.partition(":")
    return f"{name.strip().lower()}: {value.strip()}\r\n".encode("latin-1")


def _as_pair(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value
