"""``tests/e2e/apps/fake_admin.py`` from outside, and the trees that it is made to show."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
from playwright.sync_api import Locator, Page

from tests.helpers.server_process import ServerProcess, wait_until

__all__ = ["ASYNCIO", "GHOST_MS", "TRIO", "FakeAdmin", "Snapshot", "changed", "crowd", "row", "stop_clock", "without"]

Snapshot: TypeAlias = dict[str, Any]

_ADMIN: Final = Path(__file__).parents[1] / "admin"
TRIO: Final[Snapshot] = json.loads((_ADMIN / "tree_trio.json").read_text("utf-8"))
GHOST_MS: Final = 5_000
"""More than the time for which the page shows what a cancellation has ended."""
ASYNCIO: Final[Snapshot] = json.loads((_ADMIN / "tree_asyncio.json").read_text("utf-8"))


class FakeAdmin:
    """A running one, with the page of the task tree."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._client = httpx.Client(base_url=server.url, trust_env=False)

    def show(self, snapshot: Snapshot) -> None:
        self._client.put("/snapshot", content=json.dumps(snapshot)).raise_for_status()

    def end_streams(self) -> None:
        self._client.post("/end").raise_for_status()

    def asked(self) -> Any:
        return self._client.get("/asked").json()

    def wait_for_look(self, part: str) -> None:
        wait_until(lambda: part in self.asked()["looks"][-1], f"the page asks for {part}")

    def wait_for_streams(self, count: int) -> None:
        wait_until(lambda: self.asked()["open"] == count, f"{count} open event streams")

    def close(self) -> None:
        self._client.close()


def row(tree: Locator, name: str) -> Locator:
    """The row that a screen reader calls so: by the kind of its node, its name, and more."""
    return tree.get_by_role("treeitem", name=name)


def stop_clock(page: Page) -> None:
    """On the page, which is opened after this, time passes only when ``page.clock.run_for`` says so."""
    page.clock.install(time=0)
    page.clock.pause_at(1)


def nodes_of(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    waiting = [snapshot["root"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("children", [])


def changed(snapshot: Snapshot, change: Callable[[dict[str, Any]], None]) -> Snapshot:
    """A copy in which ``change`` has seen every node."""
    copied = copy.deepcopy(snapshot)
    for node in nodes_of(copied):
        change(node)
    return copied


def without(snapshot: Snapshot, gone: str) -> Snapshot:
    """A copy without the node of that id, and without what was below it."""
    def drop(node: dict[str, Any]) -> None:
        node["children"] = [child for child in node.get("children", []) if child["id"] != gone]

    return changed(snapshot, drop)


def crowd(connections: int, *, shown: int, first: int = 0) -> Snapshot:
    """So many idle connections, of which a page of ``shown`` is shown."""
    snapshot = copy.deepcopy(TRIO)
    snapshot["view"]["offset"] = first
    snapshot["root"]["children"] = [{
        "id": "4711-9", "kind": "connections", "name": "connections", "counts": {"IDLE": connections},
        "hidden": connections - shown,
        "children": [
            {"id": f"4711-{1000 + number}", "kind": "connection", "name": f"10.0.0.{number}:5{number:04}", "age": 1.5,
             "state": "IDLE", "detail": "HTTP/1.1", "bytes": {"received": 150, "sent": 240}}
            for number in range(first, first + shown)
        ],
    }]
    return snapshot
