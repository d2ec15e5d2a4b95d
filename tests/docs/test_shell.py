"""What the guide for the shell says works: completion, and the manual page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.man_page import man_page
from docs.options_page import flags
from tests.helpers.system_programs import system_program
from trioserve._config import options

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("trioserve")
SOURCES = re.findall(r"_TRIOSERVE_COMPLETE=(\w+)_source trioserve", (ROOT / "docs/guides/shell.md").read_text("utf-8"))


def run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("shell", SOURCES)
def test_each_shell_of_the_guide_gets_its_script(shell: str) -> None:
    assert SOURCES == ["bash", "zsh", "fish"]
    assert f"_TRIOSERVE_COMPLETE={shell}_complete" in run(COMMAND, _TRIOSERVE_COMPLETE=f"{shell}_source")


@pytest.mark.parametrize(("typed", "found"), [
    ("--log-l", {"plain,--log-level"}), ("--backend ", {"plain,trio", "plain,asyncio"})])
def test_completion(typed: str, found: set[str]) -> None:
    words = f"trioserve {typed}"
    number = str(len(words.split(" ")) - 1)
    answer = run(COMMAND, _TRIOSERVE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=number)
    assert set(answer.splitlines()) == found


def test_bash_takes_the_script() -> None:
    bash = system_program("bash", package="bash")
    line = f'PATH={COMMAND.parent}:$PATH; eval "$(_TRIOSERVE_COMPLETE=bash_source trioserve)"; complete -p trioserve'
    assert "_trioserve_completion trioserve" in run(bash, "--norc", "-c", line)


def test_the_manual_page_has_every_option() -> None:
    page = man_page()
    for name, hint, _, _ in options():
        for flag in flags(name, hint):
            assert rf"\fB{flag.replace('-', chr(92) + '-')}\fR" in page


def test_the_manual_page_can_be_set() -> None:
    groff = system_program("groff", package="groff-base")
    page = run(sys.executable, "-m", "docs.man_page")
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trioserve [OPTIONS] MODULE:ATTRIBUTE" in re.sub(r"\x1b\[\d*m|.\x08", "", done.stdout)
