"""What the documentation says about options, files and links is true."""

import re
from pathlib import Path

import click
import pytest

from docs.options_page import flags, options_markdown
from trioserve._config import options
from trioserve.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OF_THE_COMMAND = {"--version", "--config", "--print-config", "--check"}  # and no options of a server
COMMAND_OF_ANOTHER_PROGRAM = re.compile(r"^\$ nox (?:.*\\\n)*.*", re.MULTILINE)
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


def test_options_that_the_guide_calls_the_same_exist() -> None:
    guide = (ROOT / "docs/guides/from-uvicorn.md").read_text("utf-8")
    same = set(re.findall(r"--[\w-]+", between(guide, "<!-- same -->", "<!-- end same -->")))
    assert same - FLAGS == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "from-uvicorn.md"],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_pages_exist(page: Path) -> None:
    others = OF_THE_COMMAND | {"--help", "--cov", "--http2-prior-knowledge"}  # of pytest and curl
    ours = COMMAND_OF_ANOTHER_PROGRAM.sub("", page.read_text("utf-8"))
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", ours))
    assert mentioned - FLAGS - others == set()


def test_the_readme_has_the_command_that_the_build_runs() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    block = between(readme, "<!-- .ci/run runs this block -->\n```sh\n", "```")
    assert block.count("\n") == 1
    assert "python -m pytest --cov" in block
