"""The tables of other servers' options, against these servers as they are installed, and against our own options."""

import functools
import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from docs.peers_page import peer_markdown
from tests.docs.test_pages import FLAGS, OF_THE_COMMAND, ROOT, between
from trioserve._config import OPTIONS, Config
from trioserve._config.peers import PEERS, Peer

OF_ANY_PROGRAM = {"-h", "--help", "--version"}
OWN_FLAGS = FLAGS | OF_THE_COMMAND

KEYWORDS = {
    "uvicorn": "import inspect, uvicorn; names = {*inspect.signature(uvicorn.Config).parameters} - {'app'}",
    "hypercorn": """
from hypercorn.config import Config
names = {name for name in vars(Config) | Config.__annotations__ if not name.startswith('_')}
names -= {name for name in names if callable(getattr(Config, name, None)) and name != 'logger_class'}
names -= {'log', 'ssl_enabled'}                             # what it computes
""",
    "granian": "import granian, inspect; names = {*inspect.signature(granian.Granian).parameters} - {'target'}",
    "gunicorn": "import gunicorn.config; names = {setting.name for setting in gunicorn.config.KNOWN_SETTINGS}"
                " - {'config', 'print_config', 'check_config'}",
    "daphne": "names = set()",
}
"""Python that finds the names which a program or a file can give."""

each_peer = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)


def run_python(*arguments: str) -> str:
    environment = os.environ | {"COLUMNS": "400"}           # one line for each option
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def help_of(peer: Peer) -> list[str]:
    """The lines of the peer's own --help that describe an option."""
    return re.findall(r"^ +(-.*)$", run_python("-m", peer.name, "--help"), re.MULTILINE)


def spelled(peer: Peer) -> set[str]:
    flags = set()
    for line in help_of(peer):
        spellings = line.split("  ", 1)[0]
        flags |= set(re.findall(r"(?:^|(?<=[ ,]))--?[A-Za-z][\w-]*", spellings))
    return flags - OF_ANY_PROGRAM


@each_peer
def test_every_flag_of_a_peer_is_in_its_table(peer: Peer) -> None:
    known = [flag for row in peer.rows for flag in row.flags]
    assert set(known) == spelled(peer)
    assert max(Counter(known).values()) == 1


@each_peer
def test_every_keyword_of_a_peer_is_in_its_table(peer: Peer) -> None:
    names = json.loads(run_python("-c", f"{KEYWORDS[peer.name]}\nimport json; print(json.dumps([*names]))"))
    known = [keyword for row in peer.rows for keyword in row.keywords]
    assert set(names) - set(known) == set()
    assert max(Counter(known).values()) == 1


@pytest.mark.parametrize(("name", "command"), [("uvicorn", "uvicorn.main"), ("granian", "granian.cli")])
def test_every_variable_of_a_peer_is_in_its_table(name: str, command: str) -> None:
    [peer] = [peer for peer in PEERS if peer.name == name]
    names = json.loads(run_python("-c", f"""
import click, importlib, json
module = importlib.import_module({command!r})
command = next(value for value in vars(module).values() if isinstance(value, click.Command))
options = [param for param in command.params if isinstance(param, click.Option)]
print(json.dumps([param.name.upper() for param in options if param.name != "version"]))
"""))
    assert {f"{name.upper()}_{option}" for option in names} == {
        variable for row in peer.rows for variable in row.variables}


@each_peer
def test_what_takes_the_place_of_an_option_exists(peer: Peer) -> None:
    for row in peer.rows:
        if row.ours.startswith("--"):
            assert row.ours in OF_THE_COMMAND
        elif row.value:
            Config.from_options({row.ours: row.value})
        elif row.ours:
            assert row.ours in OPTIONS or row.ours == "app"
        else:
            assert row.note, row
        assert set(re.findall(r"--[a-z][\w-]+", row.note)) <= OWN_FLAGS


@each_peer
def test_a_flag_that_both_have_is_the_same_option_or_the_table_says_what_is_different(peer: Peer) -> None:
    for row in peer.rows:
        for flag in {*row.flags} & OWN_FLAGS:
            name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
            assert row.ours in (name, flag) or row.note, row


@each_peer
def test_the_page_has_every_option(peer: Peer) -> None:
    page = peer_markdown(peer)
    for row in peer.rows:
        for spelling in row.flags:
            assert f"`{spelling}`" in page
    guide = (ROOT / f"docs/guides/from-{peer.name}.md").read_text("utf-8")
    assert f"<!-- options of {peer.name} -->" in guide


def test_options_of_the_same_meaning_are_named_once() -> None:
    page = peer_markdown(PEERS[0])
    same = between(page, "The same in both:", "|")
    assert "`--reload-dir`" in same
    assert "`--reset-contextvars`" not in same
