"""``trioserve tree``: the tree of a running server in a terminal, once or live."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any, Final
from unicodedata import east_asian_width

import click

from trioserve._admin.text import tree_lines
from trioserve._commands.admin_client import AdminClient, AdminUnreachable
from trioserve._config.sources import find_file, read_environment, read_file
from trioserve._errors import ConfigError

__all__ = ["command"]

DEFAULT_ADDRESS: Final = "127.0.0.1:9000"
OPTION: Final = "admin"  # of the server: whoever has given it in the environment or a file need not give it again
CLEAR: Final = "\x1b[H\x1b[2J"  # cursor to the top, and everything away (ECMA-48 §8.3)


class AddressOfAdmin(click.ParamType[AdminClient]):
    """The admin listener of a server."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AdminClient:
        try:
            return AdminClient(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def usual_address() -> str:
    """Where a server listens that is started here, by the environment or the file of the current directory."""
    try:
        given = (read_file(path) if (path := find_file()) is not None else {}) | read_environment()
    except ConfigError:  # whoever starts the server will hear of it
        given = {}
    return str(given[OPTION].value) if OPTION in given else DEFAULT_ADDRESS


def show(
    address: AdminClient, watch: bool, interval: float, limit: int, offset: int, filter: str, stack: str, as_json: bool
) -> None:
    """Print the tree; with ``watch`` again and again, until Ctrl-C or until the server has gone."""
    try:
        while True:
            snapshot = address.tree(limit=limit, offset=offset, filter=filter, stack=stack)
            lines = [json.dumps(snapshot)] if as_json else tree_lines(snapshot)
            clear = ""
            if watch and not as_json and sys.stdout.isatty():
                clear, lines = CLEAR, fitting(lines, shutil.get_terminal_size())
            click.echo(clear + "\n".join(lines))
            if not watch:
                break
            time.sleep(interval)
    except AdminUnreachable as exc:
        raise click.ClickException(str(exc)) from None
    except KeyboardInterrupt:
        pass  # that is how one leaves --watch


def fitting(lines: Sequence[str], window: os.terminal_size) -> list[str]:
    """As many of ``lines`` as ``window`` has room for, and how many more there are."""
    room = window.lines - 1  # the cursor stands below them
    rows = [_rows(line, window.columns) for line in lines]
    if sum(rows) <= room:
        return list(lines)
    shown = 0
    while sum(rows[: shown + 1]) < room:
        shown += 1
    left = len(lines) - shown
    return [*lines[:shown], f"... {left:,} more {'line' if left == 1 else 'lines'}"]


def _rows(line: str, columns: int) -> int:
    width = len(line) + sum(east_asian_width(letter) in "FW" for letter in line)
    return max(1, -(-width // columns))


command = click.Command(
    "tree",
    callback=show,
    params=[
        click.Argument(["address"], type=AddressOfAdmin(), default=usual_address, metavar="[ADDRESS]"),
        click.Option(["--watch"], is_flag=True, help="Show it again and again, until Ctrl-C."),
        click.Option(["--interval"], type=click.FloatRange(min=0.1), default=1.0, metavar="SECONDS",
                     help="With --watch, from one time to the next [default: 1]."),
        click.Option(["--limit"], type=click.IntRange(1, 500), default=50, metavar="COUNT",
                     help="Most children of one node that are shown [default: 50]."),
        click.Option(["--offset"], type=click.IntRange(min=0), default=0, metavar="COUNT",
                     help="Connections to pass over, to see those beyond the limit [default: 0]."),
        click.Option(["--filter"], default="", metavar="TEXT",
                     help="Show only connections in which this text occurs: address, state, request line, request id."),
        click.Option(["--stack"], default="", metavar="ID",
                     help="Show where this task or request stands, with all its frames; --json has the ids."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the snapshot as JSON, on one line."),
    ],
    help=f"""Show the tasks of the server whose admin listener is at ADDRESS: HOST:PORT, unix:PATH, or the URL in its
    start line (default: what --admin is in the environment or in the file of the current directory; otherwise
    {DEFAULT_ADDRESS}).""",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
