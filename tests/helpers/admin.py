"""Looks at the tree of a server in this process; every snapshot is held against the schema."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sniffio
from jsonschema import Draft202012Validator

from tests.helpers.serving import Site
from trioserve._admin.view import View

__all__ = ["SHOWN", "VALIDATOR", "Node", "children", "connections", "find", "is_trio", "look", "walk"]

Node = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
VALIDATOR: Final = Draft202012Validator(json.loads((ROOT / "docs/reference/tree.schema.json").read_text("utf-8")))

SHOWN: Final[dict[str, Any]] = {"admin_path": "/-/admin"}
"""Options of a server that can be looked at without a further socket."""


async def look(site: Site, **view: Any) -> Node:
    """A snapshot of a server that has ``SHOWN`` among its options."""
    snapshot = await site.server.look().tree(View(**view))
    VALIDATOR.validate(snapshot)
    return snapshot


def walk(node: Node) -> Iterator[Node]:
    """A node and everything under it."""
    yield node
    for child in node.get("children", ()):
        yield from walk(child)


def find(snapshot: Node, **fields: Any) -> list[Node]:
    """Every node that has these fields."""
    return [node for node in walk(snapshot["root"])
            if all(node.get(name) == value for name, value in fields.items())]


def children(node: Node) -> list[tuple[str, str]]:
    """Kind and name of each child."""
    return [(child["kind"], child["name"]) for child in node.get("children", ())]


def connections(snapshot: Node) -> Node:
    [node] = find(snapshot, kind="connections")
    return node


def is_trio() -> bool:
    """The test runs on trio, not on asyncio."""
    return sniffio.current_async_library() == "trio"
