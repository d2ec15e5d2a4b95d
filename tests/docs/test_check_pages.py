"""What the pages about check and chaos show is what the programs say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trioserve._points import POINT_KINDS
from trioserve._trial import KINDS

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
SHOWN = re.findall(
    r"^```console\n\$ trioserve (check .*--app-dir docs/zoo .*)\n((?:.*\n)+?)```$",
    (GUIDES / "zoo.md").read_text("utf-8"),
    re.MULTILINE)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command.split()[3] for command, _ in SHOWN])
def test_the_zoo_is_found_as_shown(command: str, output: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trioserve", *shlex.split(command)], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=50, cwd=ROOT)
    assert done.stderr == ""
    assert _without_times(done.stdout) == _without_times(output)


def _without_times(text: str) -> str:
    return re.sub(r"[\d.]+ m?s\b", "N s", text)


def test_every_file_of_the_zoo_is_shown() -> None:
    page = (GUIDES / "zoo.md").read_text("utf-8")
    for path in (ROOT / "docs" / "zoo").glob("*.py"):
        assert f"```{{literalinclude}} ../zoo/{path.name}\n" in page
        assert any(f" {path.stem}:" in command for command, _ in SHOWN), path.name


@pytest.mark.parametrize("name", ["check.md", "chaos.md"])
def test_the_kinds_of_the_tables_exist(name: str) -> None:
    kinds = set(re.findall(r"^\| `([a-z-]+)` \|", (GUIDES / name).read_text("utf-8"), re.MULTILINE))
    assert kinds - {"version", "app", "backends", "findings"} <= KINDS.keys()


def test_every_kind_is_in_a_table() -> None:
    pages = "".join((GUIDES / name).read_text("utf-8") for name in ("check.md", "chaos.md"))
    for kind in KINDS:
        assert f"\n| `{kind}` |" in pages


def test_every_kind_of_point_is_in_the_table() -> None:
    page = (GUIDES / "chaos.md").read_text("utf-8")
    for kind in POINT_KINDS:
        assert re.search(rf"^\| `{kind}@\d` \|", page, re.MULTILINE)
