"""One value of one option: read from a text or taken from Python, checked, and made exact.

Nothing here knows which options there are, nor where a value was given.
"""

import math
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from trioserve._errors import ConfigError

__all__ = ["Option", "can_be_none", "kind_of", "nearest", "read_value", "switch_of"]

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_AMOUNT_OF_MEMORY: Final = r"([0-9]+)(KiB|MiB|GiB)"
_LENGTH_OF_TIME: Final = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)"
_LIKE_AN_AMOUNT: Final[dict[type, tuple[str, Iterable[str]]]] = {
    int: (r"[0-9.]+ ?[KMG]i?B?", _BYTES),
    float: (r"[0-9.]+ ?[a-z]+", _SECONDS),
}
"""Texts that somebody means to be a number with a unit, and the units that there are."""
_SWITCH: Final = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
_ARTICLED: Final = {bool: "true or false", int: "a whole number", float: "a number of seconds", str: "a text"}


class Option(NamedTuple):
    """What is known of an option besides its name, type and default."""

    help: str
    group: str
    minimum: float = -math.inf
    maximum: float = math.inf
    metavar: str | None = None
    environment: str | None = None
    """A variable that platforms set for any program, such as ``PORT``; ``TRIOSERVE_...`` wins."""
    secret: bool = False
    """``--print-config`` does not show the value, nor does ``repr``."""
    aliases: tuple[tuple[str | float, str], ...] = ()
    """Other names of its choices, in lower case, each with the choice."""
    comma_separated: bool = False
    """The text is a list, which may also be given as one."""
    form: Callable[[str], Any] | None = None
    """Reads a text of it, or an item; its ValueError says what is wrong. A text that it returns is what counts."""


def kind_of(hint: Any) -> Any:
    """The type of an option's values, ``None`` aside; ``Literal[...]`` and ``tuple[...]`` are kinds of their own."""
    return typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint


def can_be_none(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and types.NoneType in typing.get_args(hint)


def read_value(name: str, value: Any, hint: Any, known: Option) -> Any:
    """The value as the option has it.

    A text is read as the option's type: ``"8000"``, ``"64KiB"``, ``"500ms"``, ``"off"``, ``"true"``; of a list it has
    one item per line. A path is its text.

    Raises:
        ConfigError: the option cannot have this value.
    """
    read = _read(name, value, hint, known)
    if known.form is None or read is None:
        return read if known.secret else _without_null(name, read)
    if isinstance(read, tuple):
        return tuple(_in_form(name, item, known.form) for item in read)
    return _in_form(name, read, known.form)


def _read(name: str, value: Any, hint: Any, known: Option) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    kind = kind_of(hint)
    if typing.get_origin(kind) is Literal:
        return _choice(name, value, typing.get_args(kind), known)
    if typing.get_origin(kind) is tuple:
        return _items(name, value)
    if known.comma_separated and _is_list_of_texts(value):
        return ",".join(value)
    if isinstance(value, str):
        value = _value_of_text(value, kind, hint)
    if value is None and can_be_none(hint):
        return None
    if isinstance(value, Mapping) and any(typing.get_origin(part) is Mapping for part in typing.get_args(hint)):
        return value
    return _in_bounds(name, _of_kind(name, value, kind, hint), kind, hint, known)


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known word most like this one, or an empty string."""
    import difflib  # only needed for an error message, and slow to import

    matches = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


# Texts.


def switch_of(text: str) -> bool | str:
    """True or false in one of the usual words, otherwise ``text`` itself."""
    return _SWITCH.get(text.strip().lower(), text)


def _lines_of(text: str) -> list[str]:
    """The items of a list: one per line, because they may contain spaces and commas."""
    return [line for line in text.splitlines() if line.strip()]


def _value_of_text(text: str, kind: Any, hint: Any) -> Any:
    """What the text says, if it says something of that type; otherwise ``text`` itself, which is then refused."""
    if kind is bool:
        return switch_of(text)
    if kind not in (int, float):
        return text
    if text == "off" and can_be_none(hint):
        return None
    if kind is float and (length := re.fullmatch(_LENGTH_OF_TIME, text)):
        return float(length[1]) * _SECONDS[length[2]]
    if kind is int and (amount := re.fullmatch(_AMOUNT_OF_MEMORY, text)):
        return int(amount[1]) * _BYTES[amount[2]]
    try:
        return kind(text)
    except ValueError:
        return text


# Checks.


def _choice(name: str, value: Any, choices: tuple[str, ...], known: Option) -> str:
    """The choice that ``value`` names: upper and lower case are the same, and other names may be known for it."""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        names = {_without_case(choice): choice for choice in choices} | dict(known.aliases)
        if (choice := names.get(_without_case(value))) is not None:
            return choice
    raise ConfigError(name, f"{value!r} is not one of {', '.join(choices)}{nearest(str(value), choices)}")


def _without_case(name: str | float) -> str | float:
    return name.lower() if isinstance(name, str) else name


def _items(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _lines_of(value)
    items = tuple(map(_without_path, value)) if isinstance(value, Iterable) else None
    if items is None or not all(isinstance(item, str) for item in items):
        raise ConfigError(name, f"{value!r} is not a list of strings")
    return items


def _without_path(item: Any) -> Any:
    return os.fspath(item) if isinstance(item, os.PathLike) else item


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _of_kind(name: str, value: Any, kind: type, hint: Any) -> Any:
    """``value``, if it is of the kind; a whole number is also one with a fraction."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(name, "the number is too large") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(name, f"{value!r} is not {_ARTICLED[kind]}{_or_off(kind, hint)}{_units(value, kind)}")
    return value


def _without_null(name: str, value: Any) -> Any:
    """``value``, if its texts have no null character, which the system and OpenSSL take for their end."""
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and "\0" in text:
            raise ConfigError(name, f"{text!r} has a null character")
    return value


def _units(value: Any, kind: type) -> str:
    """Advice for who has written another unit."""
    if not isinstance(value, str) or kind not in _LIKE_AN_AMOUNT:
        return ""
    form, units = _LIKE_AN_AMOUNT[kind]
    return f"; units are {', '.join(units)}" if re.fullmatch(form, value, re.IGNORECASE) else ""


def _in_bounds(name: str, value: Any, kind: type, hint: Any, known: Option) -> Any:
    if kind in (int, float) and not (known.minimum <= value <= known.maximum):
        shown = f"{value:.12g}" if kind is float else value
        raise ConfigError(name, f"{shown} is out of range, it must be {_range(known)}{_or_off(kind, hint)}")
    return value


def _in_form(name: str, text: str, form: Callable[[str], Any]) -> str:
    try:
        read = form(text)
    except ValueError as exc:
        raise ConfigError(name, str(exc)) from None
    return read if isinstance(read, str) else text


def _or_off(kind: type, hint: Any) -> str:
    return " or off" if kind in (int, float) and can_be_none(hint) else ""


def _range(known: Option) -> str:
    if known.maximum == math.inf:
        return f"at least {known.minimum:.12g}"
    return f"between {known.minimum:.12g} and {known.maximum:.12g}"
