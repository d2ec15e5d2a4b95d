"""The reference of options as Markdown, from the fields of ``Config``: the only place where an option is described."""

import math
import re
import typing
from itertools import groupby
from types import NoneType
from typing import Any, Literal

from trioserve._config import Option, options

__all__ = ["flags", "options_markdown"]


def options_markdown() -> str:
    """A section for each group of options, and a definition for each option."""
    parts: list[str] = []
    for group, entries in groupby(options(), key=lambda entry: entry[3].group):
        parts.append(f"## {group}\n")
        parts += [definition(*entry) for entry in entries]
    return "\n".join(parts)


def definition(name: str, hint: Any, default: Any, known: Option) -> str:
    """One option as a Markdown definition: how it is spelled, what it does, what it can be."""
    flag = " / ".join(f"`{spelling}`" for spelling in flags(name, hint))
    value = "" if has_type(hint, bool) else f" `{known.metavar or placeholder(hint)}`"
    also = f" Also `{known.environment}` in the environment." if known.environment else ""
    return f"{flag}{value}\n: {as_code(known.help)} {default_text(hint, default)}{range_text(hint, known)}{also}\n"


def as_code(text: str) -> str:
    """The names of options in it are code; otherwise their dashes would become one long dash."""
    return re.sub(r"--[a-z][\w-]*", r"`\g<0>`", text)


def flags(name: str, hint: Any) -> list[str]:
    """The option's names on the command line; something that can be true or false has two."""
    flag = name.replace("_", "-")
    return [f"--{flag}", f"--no-{flag}"] if has_type(hint, bool) else [f"--{flag}"]


def placeholder(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "|".join(typing.get_args(hint))
    return "COUNT" if has_type(hint, int) else "SECONDS" if has_type(hint, float) else "TEXT"


def default_text(hint: Any, default: Any) -> str:
    if default is None:
        return "Off by default." if has_type(hint, int) or has_type(hint, float) else ""
    if default in ("", ()):
        return ""
    if isinstance(default, bool):
        return "On by default." if default else "Off by default."
    return f"Default: `{default:.12g}`." if isinstance(default, float) else f"Default: `{default}`."


def range_text(hint: Any, known: Option) -> str:
    if math.isfinite(known.maximum):
        return f" From {known.minimum:.12g} to {known.maximum:.12g}."
    return f" At least {known.minimum:.12g}." if math.isfinite(known.minimum) and known.minimum > 0 else ""


def has_type(hint: Any, wanted: type) -> bool:
    """``hint`` is ``wanted``, or ``wanted`` or None."""
    return wanted in [part for part in typing.get_args(hint) if part is not NoneType] or hint is wanted
