"""The options of another server as Markdown, from the table that the command line has for them."""

from docs.options_page import as_code
from trioserve._config.peers import Peer, Row
from trioserve.cli import as_flag

__all__ = ["peer_markdown"]


def peer_markdown(peer: Peer) -> str:
    """First those that are the same in both, then a table of all others."""
    same = [row for row in peer.rows if is_same(row)]
    lines = [f"The same in both: {', '.join(spellings(row) for row in same)}.", ""] if same else []
    lines += [f"| {peer.name} | trioserve | |", "|---|---|---|"]
    lines += [f"| {spellings(row)} | {ours(row)} | {as_code(row.note)} |" for row in peer.rows if row not in same]
    return "\n".join(lines) + "\n"


def is_same(row: Row) -> bool:
    """The same flags, and nothing to say about them."""
    switch = {as_flag(row.ours), as_flag(row.ours, "false")}
    return as_flag(row.ours) in row.flags and {*row.flags} <= switch and not row.note and not row.value


def spellings(row: Row) -> str:
    """The flags, and keywords that do not follow from these."""
    derived = {flag.removeprefix("--").replace("-", "_") for flag in row.flags}
    words = [*row.flags, *(keyword for keyword in row.keywords if keyword not in derived)]
    return " ".join(f"`{word}`" for word in words)


def ours(row: Row) -> str:
    """What takes its place, as it is typed."""
    if not row.ours:
        return ""
    if row.ours == "app":  # no option
        return "`APP`"
    return f"`{row.ours if row.ours.startswith('--') else as_flag(row.ours, row.value)}`"
