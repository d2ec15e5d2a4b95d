"""The command in this process: what it asks to be served, and what it says of mistakes."""

from collections.abc import Callable

from click.testing import CliRunner, Result

from trioserve._config import OPTIONS, Config
from trioserve.cli import main

__all__ = ["OPTION_NAMES", "Calls", "flag", "invoke", "mistake", "variable"]

OPTION_NAMES = list(OPTIONS)


class Calls(list[tuple[str, Config]]):
    """What the command asked to be served."""

    exit_code = 0

    def __call__(self, target: str, config: Config, spell: Callable[[str], str], file: str | None) -> int:
        self.append((target, config))
        self.file = file
        self.spell = spell
        self.spelled = {name: spell(name) for name in OPTIONS}
        return self.exit_code


def invoke(*arguments: str, **environment: str) -> Result:
    """Call the command with these arguments and no other of our variables."""
    unset: dict[str, str | None] = {f"TRIOSERVE_{name.upper()}": None for name in [*OPTION_NAMES, "app"]}
    unset |= {"PORT": None, "FORWARDED_ALLOW_IPS": None, "WEB_CONCURRENCY": None, "TRIOSERVE_CONFIG": None}
    return CliRunner().invoke(main, arguments, env=unset | environment, prog_name="trioserve")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return f"TRIOSERVE_{name.upper()}"


def mistake(*arguments: str, **environment: str) -> str:
    result = invoke(*arguments, **environment)
    assert result.exit_code == 2, result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    return result.output.removeprefix("Error: ").rstrip()
