"""What the documentation says about options, files and links is true."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from docs.options_page import flags, options_markdown
from trioserve._commands import COMMANDS, load_command
from trioserve._config import Config, options
from trioserve._config.peers import PEERS, Peer
from trioserve._config.sources import read_file
from trioserve.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
OF_THE_COMMAND = {"--version", "--config", "--no-config", "--print-config", "--check"}  # and no options of a server
OF_SUBCOMMANDS = {flag for name in COMMANDS for param in load_command(name).params for flag in param.opts}
OF_ANOTHER_PROGRAM = re.compile(r"^\$ (?:nox|systemctl|python -m pip) (?:.*\\\n)*.*|there is no --\S+", re.MULTILINE)
FLAGS = {flag for name, hint, _, _ in options() for flag in flags(name, hint)}


def between(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0]


def test_the_reference_has_every_option_once() -> None:
    reference = options_markdown()
    for name, hint, _, known in options():
        assert len(re.findall(rf"^`{flags(name, hint)[0]}`", reference, re.MULTILINE)) == 1
        assert known.help in reference.replace("`", "")
    assert "<!-- options -->" in (ROOT / "docs/reference/options.md").read_text("utf-8")


def test_the_reference_names_the_flags_of_the_command_line() -> None:
    params = [param for param in main.params if isinstance(param, click.Option)]
    assert {flag for param in params for flag in (*param.opts, *param.secondary_opts)} == FLAGS | OF_THE_COMMAND


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_pages_exist(page: Path) -> None:
    others = OF_THE_COMMAND | OF_SUBCOMMANDS | {"--help", "--cov", "--pdb", "--http2-prior-knowledge"}  # pytest, curl
    for peer in PEERS:
        if page.name == f"from-{peer.name}.md":
            others |= {flag for row in peer.rows for flag in row.flags}
    ours = OF_ANOTHER_PROGRAM.sub("", page.read_text("utf-8"))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", ours))
    assert mentioned - FLAGS - others == set()


TYPED = [
    (page.name, command) for page in PAGES
    for command in re.findall(r"^\$ trioserve ((?:.*\\\n)*.*)$", page.read_text("utf-8"), re.MULTILINE)]


@pytest.mark.parametrize(("page", "command"), TYPED)
def test_commands_in_pages_are_understood(page: str, command: str) -> None:
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    if words[0] in COMMANDS:
        load_command(words[0]).make_context(words[0], words[1:])
        return
    result = CliRunner().invoke(main, [*words, "--no-config", "--print-config"])
    assert result.exit_code == 0, result.output
    assert "Warning" not in result.output


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_files_in_guides_from_other_servers_are_read(peer: Peer, tmp_path: Path) -> None:
    guide = (ROOT / f"docs/guides/from-{peer.name}.md").read_text("utf-8")
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)):
        path = tmp_path / f"{number}.toml"
        path.write_text(block)
        given = read_file(str(path))
        assert given
        Config.from_options({name: known.value for name, known in given.items() if name != "app"})


def test_the_readme_has_the_command_that_the_build_runs() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    block = between(readme, "<!-- .ci/run runs this block -->\n```sh\n", "```")
    assert block.count("\n") == 1
    assert "python -m pytest --cov" in block
