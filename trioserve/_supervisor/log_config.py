"""Logging as a dict or a file says: the standard library's dictConfig in JSON, YAML or TOML, or its fileConfig."""

import logging.config
import os
from collections.abc import Callable, Mapping
from typing import Any

from trioserve._errors import ConfigError

__all__ = ["apply_log_config"]


def apply_log_config(source: str | Mapping[str, Any]) -> None:
    """Set logging up from a file or a dict. Loggers that it does not mention stay, unless it says otherwise.

    Raises:
        ConfigError: the file cannot be read, it is malformed, or asks for what does not exist.
    """
    if isinstance(source, str):
        _apply_file(source)
    else:
        _apply("the dict", lambda: _apply_dict(source))


def _apply_file(path: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError("log_config", f"{path!r} cannot be read: {getattr(exc, 'strerror', exc)}") from exc
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".json", ".yaml", ".yml", ".toml"):
        _apply(repr(path), lambda: logging.config.fileConfig(path, disable_existing_loggers=False, encoding="utf-8"))
        return
    settings = _parse(path, suffix, text)
    if not isinstance(settings, dict):
        raise ConfigError("log_config", f"{path!r} holds no mapping, as logging.config.dictConfig wants one")
    _apply(repr(path), lambda: _apply_dict(settings))


def _apply_dict(settings: Mapping[str, Any]) -> None:
    logging.config.dictConfig({"disable_existing_loggers": False, **settings})


def _parse(path: str, suffix: str, text: str) -> Any:
    """The content of the file. Only the parser that it needs is imported."""
    try:
        if suffix == ".json":
            import json

            return json.loads(text)
        if suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
    except ValueError as exc:  # of both
        raise ConfigError("log_config", f"{path!r} is not {suffix[1:].upper()}: {exc}") from exc
    try:
        import yaml
    except ImportError:
        raise ConfigError("log_config", "PyYAML is not installed; install trioserve[standard], or use TOML") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError("log_config", f"{path!r} is not YAML: {_one_line(exc)}") from exc


def _apply(source: str, configure: Callable[[], None]) -> None:
    try:
        configure()
    except Exception as exc:  # it names classes, anybody's, and they are called
        reasons = [_one_line(found) for found in _chain(exc)]
        raise ConfigError("log_config", f"{source}: {': '.join(dict.fromkeys(reasons))}") from exc


def _one_line(exc: BaseException) -> str:
    line = " ".join(str(exc).split())
    if isinstance(exc, KeyError) and line:  # a section, a key of one, or a name that another section has
        return f"{line} is missing"
    return line or type(exc).__name__


def _chain(exc: BaseException) -> list[BaseException]:
    """``exc`` and its causes: ``logging.config`` says in which section, and the cause what is wrong there."""
    found = [exc]
    while found[-1].__cause__ is not None:
        found.append(found[-1].__cause__)
    return found
