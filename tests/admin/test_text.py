"""The tree as text."""

import json
from pathlib import Path
from typing import Any

from trioserve._admin.text import tree_lines

HERE = Path(__file__).parent


def example(backend: str = "trio") -> dict[str, Any]:
    snapshot: dict[str, Any] = json.loads((HERE / f"tree_{backend}.json").read_text("utf-8"))
    return snapshot


def test_the_example_of_trio() -> None:
    lines = tree_lines(example())
    assert lines[:8] == [
        "trioserve  READY  trio, PID 4711  93 s",
        "  listeners",
        "    http://127.0.0.1:8000",
        "    unix:/run/site.sock",
        "  lifespan  RUNNING  at /srv/site/main.py:14 (lifespan)",
        "    nursery",
        "      main.refresh_prices  at /srv/site/main.py:22 (refresh_prices)",
        "        cancel scope  deadline in 24 s",
    ]
    assert "  connections  3 APP, 1 AFTER, 1 OPENING, 1 HEAD, 1 FAREWELL, 9,993 IDLE" in lines
    assert "    127.0.0.1:53022  APP  HTTP/1.1  12 s  214 B in, 0 B out" in lines
    assert ("      GET /slow?***  APP  12 s  0 B in, 0 B out  request-timeout in 18 s  at /srv/site/main.py:41 (slow)"
            "  [7f1c0e5a]") in lines
    assert "            | /srv/site/main.py:52 (ask_bank)" in lines
    assert "            cancel scope  deadline 0.4 s ago  shielded  cancelled" in lines
    assert "    ... 9,992 more" in lines
    assert lines[lines.index("ended:") + 2] == (
        "  GET /report  504  after 30 s  3.1 s ago  127.0.0.1:53092  request-timeout")


def test_the_example_of_asyncio() -> None:
    lines = tree_lines(example("asyncio"))
    assert lines[0] == "trioserve  READY  2 workers, PID 4700  95 s"
    assert any(line.strip() == "worker 4712  SILENT  it did not answer within 2 s" for line in lines)
    assert any("cancelled (admin)" in line for line in lines)
    assert lines[-1].startswith("note: Of cancel scopes")


def test_sizes_and_ages_have_units() -> None:
    snapshot = example()
    snapshot["root"] = {"id": "1-1", "kind": "connection", "name": "a", "age": 7200.0,
                        "bytes": {"received": 2048, "sent": 5 * 1024**3}}
    assert tree_lines(snapshot)[0] == "a  120 min  2 KiB in, 5 GiB out"


def test_a_terminal_obeys_no_client() -> None:
    snapshot = example()
    snapshot["root"] = {"id": "1-1", "kind": "request", "name": "GET /\x1b[2J\nfake"}
    snapshot["ended"][0]["name"] = "GET /\x07"
    lines = tree_lines(snapshot)
    assert lines[0] == r"GET /\x1b[2J\nfake"
    assert all(line.isprintable() for line in lines)


def test_neighbours_that_look_the_same_share_a_line() -> None:
    waits = {"id": "1-2", "kind": "task", "name": "shop.wait"}
    parent = {"id": "1-3", "kind": "task", "name": "shop.ask", "children": [waits]}
    snapshot = example()
    snapshot["root"] = {
        "id": "1-1", "kind": "nursery", "name": "nursery",
        "children": [waits, {**waits, "id": "1-4"}, parent, {**parent, "id": "1-5"}, waits]}
    lines = tree_lines(snapshot)
    assert lines[:lines.index("ended:")] == [
        "nursery",
        "  shop.wait  (2 of them)",
        "  shop.ask",
        "    shop.wait",
        "  shop.ask",
        "    shop.wait",
        "  shop.wait",
    ]
