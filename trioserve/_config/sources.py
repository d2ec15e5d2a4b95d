"""Where the values of options come from besides the command line: files, the environment; and how to show them.

A value keeps its origin, so that a mistake can be named with the place to correct it.
"""

import os
import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

from trioserve._config.config import OPTIONS, Config, Option, options
from trioserve._config.values import can_be_none, kind_of, nearest
from trioserve._errors import ConfigError

__all__ = [
    "APP", "PREFIX", "Given", "as_toml", "find_file", "is_of_service", "misspelt_table", "read_environment",
    "read_file", "variable_of",
]  # fmt: skip

APP: Final = "app"  # what to serve: given in the same places as the options, but no option of a server
PREFIX: Final = "TRIOSERVE_"
OF_SERVICE: Final = r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
USUAL_FILES: Final = ("trioserve.toml", "pyproject.toml")


class Given(NamedTuple):
    """A value and who gave it: ``--port``, ``TRIOSERVE_PORT``, ``trioserve.toml: port``."""

    value: Any
    origin: str


# The environment.


def variable_of(name: str, value: str = "") -> str:
    """``TRIOSERVE_WS=none``, ``TRIOSERVE_PORT``."""
    return PREFIX + name.upper() + (f"={value}" if value else "")


def _variables_of(name: str, known: Option) -> list[str]:
    """The environment variables that can give an option; the first one that is set does."""
    return [variable_of(name), *([known.environment] if known.environment else [])]


def is_of_service(variable: str, value: str) -> bool:
    """Kubernetes has set it, to tell of a service; for one named ``trioserve`` that is ``TRIOSERVE_PORT``, too."""
    is_address = variable.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))
    return is_address or re.fullmatch(OF_SERVICE, variable) is not None


def read_environment() -> dict[str, Given]:
    """The options that environment variables give. Values are texts, not checked here; an empty variable is none."""
    given: dict[str, Given] = {}
    for name, _, _, known in options():
        for variable in _variables_of(name, known):
            text = os.environ.get(variable)
            if name not in given and text and not is_of_service(variable, text):
                given[name] = Given(text, variable)
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


def misspelt_table() -> str | None:
    """A table in the current directory's ``pyproject.toml`` that is probably meant for us: ``[tool.trioserv]``.

    There is none when one is spelled right, or when ``trioserve.toml`` is there, which comes first.
    """
    ours, pyproject = USUAL_FILES
    if os.path.isfile(ours) or not os.path.isfile(pyproject):
        return None
    return _near_table(_read(pyproject))


def _near_table(pyproject: dict[str, Any]) -> str | None:
    if _our_table(pyproject) is not None:
        return None
    if isinstance(pyproject.get("trioserve"), dict):
        return "[trioserve]"
    tool = pyproject.get("tool")
    names = [name for name in tool if "trio" in name or "serv" in name] if isinstance(tool, dict) else []
    if not names:
        return None
    from difflib import get_close_matches  # slow to import, and only needed here

    matches = get_close_matches("trioserve", names, n=1, cutoff=0.8)  # all but a letter or two
    return f"[tool.{matches[0]}]" if matches else None


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
        near = _near_table(content)
        content = _our_table(content)
        if not isinstance(content, dict):
            raise ConfigError(path, "there is no table [tool.trioserve]" + (f"; did you mean {near}?" if near else ""))
    given: dict[str, Given] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name != APP and name not in OPTIONS:
            raise ConfigError(f"{place}: {key}", _unknown(key, value))
        if name in given:
            raise ConfigError(f"{place}: {key}", "the option is there twice, with - and with _")
        given[name] = Given(value, f"{place}: {key}")
    return given


def _unknown(key: str, value: Any) -> str:
    from trioserve._config.peers import advice_on  # only needed for an error message

    if isinstance(value, dict):
        return "no such option; options stand at the top of the file, not in tables"
    if advice := advice_on(key.replace("-", "_"), _as_key):
        return f"no such option: {advice}"
    return "no such option" + nearest(key, [name if "_" in key else _as_key(name) for name in (*OPTIONS, APP)])


def _as_key(name: str, value: str = "") -> str:
    """``ws = "none"``, ``port``."""
    return name.replace("_", "-") + (f" = {_toml(value)}" if value else "")


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
            lines.append(_line(name, "***" if known.secret and value else value, origins,
                               has_off=can_be_none(hint) and kind_of(hint) in (int, float)))
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any, origins: Mapping[str, str], *, has_off: bool) -> str:
    text = f"{_as_key(name)} = "
    if value is None and not has_off:
        text = "# " + text.rstrip()  # TOML has no null: an option without a value is one that is not there
    else:
        text += _toml("off" if value is None else value)
    return f"{text:<44} # {origins.get(name, 'default')}"


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:.12g}" if isinstance(value, float) else str(value)
    import json  # slow to import, and only needed here

    readable = value.encode("utf-8", "backslashreplace").decode()  # a variable can have bytes that are no text
    return json.dumps(readable, ensure_ascii=False).replace("\x7f", "\\u007f")  # nearly the same in JSON and TOML
