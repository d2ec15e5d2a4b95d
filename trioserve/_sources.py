"""Where the values of options come from besides the command line: texts, files, the environment; and how to show them.

A value keeps its origin, so that a mistake can be named with the place to correct it.
"""

import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from trioserve._config import OPTIONS, Config, Option, nearest, options
from trioserve._errors import ConfigError

__all__ = [
    "APP", "PREFIX", "Given", "as_toml", "find_file", "lines_of", "number_of", "read_environment", "read_file",
    "switch_of", "variables_of",
]  # fmt: skip

APP: Final = "app"  # what to serve: given in the same places as the options, but no option of a server
PREFIX: Final = "TRIOSERVE_"
USUAL_FILES: Final = ("trioserve.toml", "pyproject.toml")
_BYTES: Final = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SWITCH: Final = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
_AMOUNT_OF_MEMORY: Final = re.compile(r"([0-9]+)(KiB|MiB|GiB)")
_LENGTH_OF_TIME: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


@dataclass(frozen=True, slots=True)
class Given:
    """A value and who gave it: ``--port``, ``TRIOSERVE_PORT``, ``trioserve.toml: port``."""

    value: Any
    origin: str


# Texts.


def number_of(text: str, kind: type[int] | type[float], *, can_be_off: bool) -> Any:
    """The number that ``text`` is, ``None`` for ``off``, otherwise ``text`` itself, which ``Config`` refuses.

    Options with fractions are lengths of time, and can have a unit: ``500ms``, ``30s``, ``5m``, ``1h``. Whole numbers
    that are bytes can have one, too: ``64KiB``, ``512MiB``, ``1GiB``.
    """
    if can_be_off and text == "off":
        return None
    if kind is float and (length := _LENGTH_OF_TIME.fullmatch(text)):
        return float(length[1]) * _SECONDS[length[2]]
    if kind is int and (amount := _AMOUNT_OF_MEMORY.fullmatch(text)):
        return int(amount[1]) * _BYTES[amount[2]]
    try:
        return kind(text)
    except ValueError:
        return text


def switch_of(text: str) -> bool | str:
    """True or false in one of the usual words, otherwise ``text`` itself, which ``Config`` refuses."""
    return _SWITCH.get(text.strip().lower(), text)


def lines_of(text: str) -> list[str]:
    """The values of a repeatable option: one per line, because field values contain spaces."""
    return [line for line in text.splitlines() if line.strip()]


def _value_of(hint: Any, known: Option | None, value: Any) -> Any:
    """A file's value; files have types of their own, so only what TOML has no type for is a text to be read."""
    if known is not None and known.comma_separated and _is_list_of_texts(value):
        return ",".join(value)
    return _value_of_text(hint, value) if isinstance(value, str) else value


def _value_of_text(hint: Any, value: str) -> Any:
    kind, *none = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if kind in (int, float):
        return number_of(value, kind, can_be_off=bool(none))
    return lines_of(value) if typing.get_origin(kind) is tuple else value


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


# The environment.


def variables_of(name: str, known: Option) -> list[str]:
    """The environment variables that can give an option; the first one that is set does."""
    return [PREFIX + name.upper(), *([known.environment] if known.environment else [])]


def read_environment() -> dict[str, Given]:
    """The options that environment variables give. Values are not checked here; an empty variable is none."""
    given: dict[str, Given] = {}
    for name, hint, _, known in options():
        for variable in variables_of(name, known):
            if name not in given and (text := os.environ.get(variable)):
                kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
                given[name] = Given(switch_of(text) if bool in kinds else _value_of_text(hint, text), variable)
    return given


# Files.


def find_file() -> str | None:
    """The file of the current directory: ``trioserve.toml``, or ``pyproject.toml`` if it speaks of trioserve.

    Directories above are not searched: what a server does should not depend on who put what there.
    """
    for path in USUAL_FILES:
        if os.path.isfile(path) and (not _is_pyproject(path) or _our_table(_read(path)) is not None):
            return path
    return None


def _is_pyproject(path: str) -> bool:
    return os.path.basename(path) == "pyproject.toml"


def _our_table(pyproject: dict[str, Any]) -> Any:
    tool = pyproject.get("tool")
    return tool.get("trioserve") if isinstance(tool, dict) else None


def read_file(path: str) -> dict[str, Given]:
    """The options of a TOML file, and ``app``. Of a ``pyproject.toml``, those under ``[tool.trioserve]``.

    Keys are names of options, with ``-`` or ``_``. Values are not checked here, only whether the keys are known.

    Raises:
        ConfigError: the file cannot be read, or has a key that is no option; ``option`` is then the place.
    """
    content = _read(path)
    place = path
    if _is_pyproject(path):
        place = f"{path} [tool.trioserve]"
        content = _our_table(content)
        if not isinstance(content, dict):
            raise ConfigError(path, "there is no table [tool.trioserve]")
    given: dict[str, Given] = {}
    hints = {name: hint for name, hint, _, _ in options()} | {APP: str}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in hints:
            raise ConfigError(f"{place}: {key}", _unknown(key, value, hints))
        if name in given:
            raise ConfigError(f"{place}: {key}", "the option is there twice, with - and with _")
        given[name] = Given(_value_of(hints[name], OPTIONS.get(name), value), f"{place}: {key}")
    return given


def _unknown(key: str, value: Any, known: Mapping[str, Any]) -> str:
    if isinstance(value, dict):
        return "no such option; options stand at the top of the file, not in tables"
    spelled = [name.replace("_", "-") if "_" not in key else name for name in known]
    return "no such option" + nearest(key, spelled)


def _read(path: str) -> dict[str, Any]:
    import tomllib  # only needed where there is a file

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise ConfigError(path, f"the file cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(path, f"the file is not TOML: {exc}") from exc


# The outcome.


def as_toml(app: str | None, config: Config, origins: Mapping[str, str]) -> str:
    """Every option with its value, as a file that ``--config`` would take, and a comment that says who gave it."""
    lines = ["# Application", _line(APP, app, origins, has_off=False)]
    for group, entries in groupby(options(), key=lambda entry: entry[3].group):
        if group != "Application":
            lines += ["", f"# {group}"]
        for name, hint, _, known in entries:
            value = getattr(config, name)
            kinds = typing.get_args(hint)
            lines.append(_line(name, "***" if known.secret and value else value, origins,
                               has_off=int in kinds or float in kinds))
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any, origins: Mapping[str, str], *, has_off: bool) -> str:
    text = f"{name.replace('_', '-')} = "
    if value is None and not has_off:
        text = "# " + text.rstrip()  # TOML has no null: an option without a value is one that is not there
    else:
        text += _toml("off" if value is None else value)
    return f"{text:<44} # {origins.get(name, 'default')}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    import json  # slow to import, and only needed here

    readable = value.encode("utf-8", "backslashreplace").decode()  # a variable can have bytes that are no text
    return json.dumps(readable, ensure_ascii=False).replace("\x7f", "\\u007f")  # nearly the same in JSON and TOML
