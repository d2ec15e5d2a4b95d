"""Programs that come from the operating system, not from a Python package."""

import shutil

import pytest

__all__ = ["system_program"]


def system_program(name: str, *, package: str) -> str:
    """Its path. A test that needs it fails without it: a client nobody tried is no client that works."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"this test runs the program {name!r}: install it (on Debian: apt-get install {package})")
    return path
