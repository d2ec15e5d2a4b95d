"""How options are declared: each as a field of ``Config``, with what command line and reference say about it."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from trioserve._config.values import Option, nearest
from trioserve._errors import ConfigError

__all__ = ["KIBIBYTE", "LEVELS", "MEBIBYTE", "Count", "Seconds", "option", "refuses_unknown_names", "seconds"]

Seconds: TypeAlias = float | None
"""A length of time; ``None`` (everywhere else: ``off``) switches the timeout off. Every fraction is one."""

Count: TypeAlias = int | None
"""A limit; ``None`` (everywhere else: ``off``) means no limit."""

T = TypeVar("T")

KIBIBYTE: Final = 1024
MEBIBYTE: Final = 1024 * KIBIBYTE
LEVELS: Final[tuple[tuple[str | float, str], ...]] = (
    (50, "critical"), (40, "error"), (30, "warning"), (20, "info"), (10, "debug"), (5, "trace"), ("warn", "warning"),
)  # the numbers of the module logging, and a name of its own


def option(
    default: Any, group: str, help: str, *, minimum: float = -math.inf, maximum: float = math.inf,
    metavar: str | None = None, environment: str | None = None, secret: bool = False,
    aliases: tuple[tuple[str | float, str], ...] = (), comma_separated: bool = False,
    form: Callable[[str], Any] | None = None,
) -> Any:
    """A field of ``Config``; the arguments are those of ``Option``."""
    known = Option(help, group, minimum, maximum, metavar, environment, secret, aliases, comma_separated, form)
    return dataclasses.field(default=default, repr=not secret, metadata={"option": known})


def seconds(default: Seconds, help: str, *, minimum: float = 0.001, group: str = "Timeouts") -> Any:
    """A timeout. Most cannot be 0, which could mean "at once" as well as "never"; the latter is spelled ``off``."""
    metavar = "SECONDS|off" if default is not None else "SECONDS"
    return option(default, group, help, minimum=minimum, metavar=metavar)


def refuses_unknown_names(cls: type[T]) -> type[T]:
    """The class of options, whose unknown keywords are a ConfigError that says what is meant."""
    init = cls.__init__
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]  # it is a data class

    @functools.wraps(init)
    def __init__(self: T, **given: Any) -> None:
        for name in given:
            if name not in known:
                raise ConfigError(name, _unknown(name, known))
        init(self, **given)

    cls.__init__ = __init__  # type: ignore[assignment]  # a wrapped function has the signature of what it wraps
    return cls


def _unknown(name: str, known: list[str]) -> str:
    """What is wrong with the name of an option; other servers' names are known together with what they are here."""
    from trioserve._config.peers import advice_on  # only needed for an error message

    if advice := advice_on(name, _as_keyword):
        return f"no such option: {advice}"
    return "no such option" + nearest(name, known)


def _as_keyword(name: str, value: str) -> str:
    """``ws='none'``, ``server_header=False``, ``port``."""
    return name + {"": "", "true": "=True", "false": "=False", "0": "=0"}.get(value, f"={value!r}")
