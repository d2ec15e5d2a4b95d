"""The manual page, from the fields of ``Config``: ``python -m docs.man_page > trioserve.1``."""

from itertools import groupby
from typing import Any

from docs.options_page import default_text, flags, has_type, placeholder
from trioserve._commands import COMMANDS
from trioserve._config import Option, options
from trioserve._version import __version__

__all__ = ["man_page"]

HEAD = r""".TH TRIOSERVE 1 "" "trioserve {version}" "User Commands"
.SH NAME
trioserve \- serve an ASGI or WSGI application
.SH SYNOPSIS
.B trioserve
.RI [ OPTIONS ]
.I MODULE:ATTRIBUTE
.br
.B trioserve
.I COMMAND
.RI [ OPTIONS ]
.SH DESCRIPTION
Serves the application that is
.I ATTRIBUTE
of
.IR MODULE ,
on trio or asyncio, until SIGTERM or SIGINT stops it gracefully.
.PP
Each option can also stand in the environment, as
.B TRIOSERVE_
and its name in capitals, or in a file, as
.B trioserve.toml
of the current directory. The command line wins, then the environment, then the file.
"""


def man_page() -> str:
    """In the language of roff, see man(7)."""
    parts = [HEAD.format(version=__version__), ".SH COMMANDS\n"]
    parts += [f".TP\n\\fB{name}\\fR\n{_escaped(summary)}\n" for name, summary in COMMANDS.items()]
    for group, entries in groupby(options(), key=lambda entry: entry[3].group):
        parts.append(f'.SH "{group.upper()} OPTIONS"\n')
        parts += [_option(*entry) for entry in entries]
    return "".join(parts)


def _option(name: str, hint: Any, default: Any, known: Option) -> str:
    spellings = ", ".join(rf"\fB{_escaped(flag)}\fR" for flag in flags(name, hint))
    value = "" if has_type(hint, bool) else rf" \fI{_escaped(_value(hint, known))}\fR"
    text = f"{known.help} {default_text(hint, default).replace('`', '')}".rstrip()
    return f".TP\n{spellings}{value}\n{_escaped(text)}\n"


def _value(hint: Any, known: Option) -> str:
    return known.metavar or placeholder(hint)


def _escaped(text: str) -> str:
    """Dashes that can be searched for and copied, and nothing that roff would take for a request of its own."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print(man_page(), end="")
