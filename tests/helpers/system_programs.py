"""Programs that come from the operating system, not from a Python package, and what is said when some are missing.

On a developer's machine a test without its program is skipped, and a summary says what is missing. In CI, where the
variable ``CI`` is set, it fails: a client that nobody tried is no client that works.
"""

import os
import re
import shutil
from collections.abc import Iterable
from typing import Final, NoReturn

import pytest

__all__ = ["summary_of_missing", "system_program", "without"]

_REASON: Final = re.compile(r"needs (.+) \(install: (.+)\)$")


def system_program(name: str, *, package: str) -> str:
    """Its path. ``package`` is Debian's."""
    path = shutil.which(name)
    if path is None:
        without(name, f"apt-get install {package}")
    return path


def without(what: str, command: str) -> NoReturn:
    """The test that is running cannot run: ``what`` is missing, which ``command`` would install."""
    reason = f"needs {what} (install: {command})"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def summary_of_missing(reasons: Iterable[str]) -> list[str]:
    """Lines for the end of a test run, from the reasons why tests were skipped; none when nothing was missing."""
    commands: dict[str, str] = {}
    count = 0
    for reason in reasons:
        if (match := _REASON.search(reason)) is not None:
            count += 1
            commands[match[1]] = match[2]
    if not count:
        return []
    tests = "1 test needs a program" if count == 1 else f"{count} tests need programs"
    return [f"{tests} that this machine does not have:", *(f"  {name}: {commands[name]}" for name in sorted(commands))]
