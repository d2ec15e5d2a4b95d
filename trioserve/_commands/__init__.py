"""What the command ``trioserve`` does besides serving an application. A subcommand is imported when it is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import click

__all__ = ["COMMANDS", "load_command"]

COMMANDS: Final = {
    "check": "Try an application on both backends, and say what is wrong with it.",
    "tree": "Show the task tree of a server that runs with --admin.",
}
"""Name and summary of each; the module of the same name has its ``command``."""


def load_command(name: str) -> "click.Command":
    """The subcommand ``name``, one of ``COMMANDS``."""
    command: click.Command = import_module(f"trioserve._commands.{name}").command
    return command
