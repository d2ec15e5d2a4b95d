"""What somebody means who gives an option of another server, and what to give here."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from trioserve._config.peers.daphne import DAPHNE
from trioserve._config.peers.granian import GRANIAN
from trioserve._config.peers.gunicorn import GUNICORN
from trioserve._config.peers.hypercorn import HYPERCORN
from trioserve._config.peers.table import Row
from trioserve._config.peers.uvicorn import UVICORN

__all__ = ["PEERS", "Spell", "advice_on", "variables_without_effect"]

PEERS: Final = (UVICORN, HYPERCORN, GRANIAN, GUNICORN, DAPHNE)

GUNICORNS_ARGUMENTS: Final = "GUNICORN_CMD_ARGS"

Spell: TypeAlias = Callable[[str, str], str]
"""How an option of ours is spelled where the advice is read, from its name and its value; empty: no certain value."""


def advice_on(spelling: str, spell: Spell) -> str | None:
    """What takes the place of a flag or a keyword of other servers; ``None`` if it is none of theirs.

    The same spelling may mean something else to each of them; then the advice says which is for whom.
    """
    found: dict[tuple[str, str], list[tuple[str, Row]]] = {}
    for peer in PEERS:
        for row in peer.rows:
            if spelling in row.flags or spelling in row.keywords:
                what = (row.ours, row.value) if row.ours else ("", row.note)
                found.setdefault(what, []).append((peer.name, row))
    if len(found) == 1:
        return _common_advice(next(iter(found.values())), spell)
    parts = [f"{_owners(entries)}: {_common_advice(entries, spell)}" for entries in found.values()]
    return "; ".join(parts) or None


def _owners(entries: list[tuple[str, Row]]) -> str:
    return " and ".join(f"{name}'s" for name, _ in entries)


def _common_advice(entries: list[tuple[str, Row]], spell: Spell) -> str:
    """What is the same for all of these peers."""
    first = entries[0][1]
    notes = {row.note for _, row in entries}
    return _advice(first if len(notes) == 1 else replace(first, note=""), spell)


def variables_without_effect(environment: Mapping[str, str], spell: Spell) -> Iterator[str]:
    """A line for each variable that another server would read, unless ours is there, too."""
    for peer in PEERS:
        for row in peer.rows:
            for variable in row.variables:
                if environment.get(variable) and not environment.get(spell(row.ours, "")):
                    yield f"{variable} is {peer.name}'s and has no effect here: {_advice(row, spell)}"
    if arguments := environment.get(GUNICORNS_ARGUMENTS):
        yield f"{GUNICORNS_ARGUMENTS} is gunicorn's and has no effect here{''.join(_each_argument(arguments, spell))}"


def _each_argument(arguments: str, spell: Spell) -> Iterator[str]:
    """``"; --workers: use TRIOSERVE_WORKERS"`` for each flag of gunicorn in the text."""
    try:
        words = shlex.split(arguments)
    except ValueError:  # an open quotation mark
        return
    for word in words:
        flag = word.partition("=")[0] if word.startswith("--") else word[:2]
        for row in GUNICORN.rows:
            if flag in row.flags:
                yield f"; {flag}: {_advice(row, spell)}"


def _advice(row: Row, spell: Spell) -> str:
    if not row.ours:
        return row.note
    name = row.ours if row.ours.startswith("--") else spell(row.ours, row.value)
    return f"use {name}" + (f" ({row.note})" if row.note else "")

