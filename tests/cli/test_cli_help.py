"""What the command says of itself: its help, its version, completion by a shell."""

import click
import pytest

from tests.helpers.command_line import flag, invoke
from trioserve._compiled import IS_COMPILED
from trioserve._config import OPTIONS
from trioserve._version import __version__
from trioserve.cli import main


@pytest.mark.parametrize("spelling", ["-h", "--help"])
def test_help_shows_every_option_in_its_group(spelling: str) -> None:
    text = invoke(spelling).output
    assert text.startswith("Usage: trioserve [OPTIONS] APP\n")
    positions = [text.index(f"\n{group}:\n") for group in dict.fromkeys(known.group for known in OPTIONS.values())]
    assert positions == sorted(positions)
    assert positions[-1] < text.index("\nOther:\n") < text.index("--version")
    joined = " ".join(text.split())
    for name, known in OPTIONS.items():
        assert f"{flag(name)} " in text
        assert known.help.replace("-", "") in joined.replace("- ", "").replace("-", "")


@pytest.mark.parametrize("text", [
    "[also PORT in the environment; default: 8000]", "default: 75]", "default: off]", "default: on]",
    "default: 127.0.0.1]", "[default: trio]", "--port as TRIOSERVE_PORT"])
def test_help_shows_defaults_and_variables(text: str) -> None:
    assert text in " ".join(invoke("--help").output.split())


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.output.startswith(f"trioserve {__version__} with ")
    assert result.output.endswith(" (compiled)\n" if IS_COMPILED else " (pure Python)\n")
    assert result.output.count("\n") == 1


def test_the_command_can_be_completed_by_a_shell() -> None:
    context = main.make_context("trioserve", ["--version"], resilient_parsing=True)
    assert isinstance(context, click.Context)
