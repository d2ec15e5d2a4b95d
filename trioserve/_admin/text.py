"""The tree as lines of text, for a terminal and for the log. What comes from clients cannot command a terminal."""

import math
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

__all__ = ["node_lines", "tree_lines"]

INDENT: Final = "  "
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")

Json = Mapping[str, Any]


def tree_lines(snapshot: Json) -> list[str]:
    """A snapshot (see docs/reference/tree.md): a line for each node, for each frame of a stack, and for what ended."""
    lines = list(node_lines(snapshot["root"]))
    if snapshot["ended"]:
        lines += ["ended:", *(INDENT + _ended_line(entry) for entry in snapshot["ended"])]
    return lines + [f"note: {sentence}" for sentence in snapshot["cannot_show"]]


def node_lines(node: Json, depth: int = 0) -> Iterator[str]:
    """A node and all under it. Neighbours that look the same and have nothing under them share a line."""
    yield INDENT * depth + "  ".join(_columns(node))
    for frame in node.get("stack", ()):
        yield f"{INDENT * (depth + 1)}| {_printable(frame['file'])}:{frame['line']} ({frame['function']})"
    children = (list(node_lines(child, depth + 1)) for child in node.get("children", ()))
    for lines, alike in groupby(children):
        count = sum(1 for _ in alike)
        if count > 1 and len(lines) == 1:
            yield f"{lines[0]}  ({count:,} of them)"
        else:
            yield from lines * count
    if hidden := node.get("hidden"):
        yield f"{INDENT * (depth + 1)}... {hidden:,} more"


def _columns(node: Json) -> Iterator[str]:
    """What is known of one node, in the order in which people ask."""
    yield _printable(node["name"])
    if "state" in node:
        yield node["state"]
    if "detail" in node:
        yield _printable(node["detail"])
    if "age" in node:
        yield _duration(node["age"])
    if "bytes" in node:
        yield f"{_size(node['bytes']['received'])} in, {_size(node['bytes']['sent'])} out"
    if "counts" in node:
        yield ", ".join(f"{count:,} {state}" for state, count in node["counts"].items()) or "none"
    if "deadline" in node:
        yield _deadline(node["deadline"], node["name"])
    if "shield" in node:
        yield "shielded"
    if "cancelled" in node:
        yield f"cancelled ({node['reason']})" if "reason" in node else "cancelled"
    if "where" in node:
        yield f"at {_printable(node['where'])}"
    if "request_id" in node:
        yield f"[{_printable(node['request_id'])}]"


def _deadline(deadline: Json, name: str) -> str:
    seconds, of = deadline["seconds"], deadline["of"]
    of = "deadline" if of == name else of  # the name is in the line already
    return f"{of} in {_duration(seconds)}" if seconds >= 0 else f"{of} {_duration(-seconds)} ago"


def _ended_line(entry: Json) -> str:
    outcome = f"closed {entry['close_code']}" if "close_code" in entry else str(entry.get("status", "-"))
    columns = [
        _printable(entry["name"]), outcome, f"after {_duration(entry['seconds'])}", f"{_duration(entry['ago'])} ago",
        _printable(entry["client"]),
    ]  # fmt: skip
    return "  ".join(columns + ([entry["reason"]] if "reason" in entry else []))


def _duration(seconds: float) -> str:
    """``0.3 s``, ``12 s``, ``4 min``, ``3 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


def _size(count: int) -> str:
    power = min(int(math.log(count, 1024)), len(_UNITS) - 1) if count else 0
    return f"{count / 1024 ** power:.0f} {_UNITS[power]}"


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
