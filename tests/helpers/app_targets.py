"""The smallest application, and loading what ``module:attribute`` names."""

from pathlib import Path

import pytest

from trioserve._errors import AppNotFound
from trioserve._supervisor.app_loader import load_app

__all__ = ["APP", "load", "refusal"]

APP = """
async def app(scope, receive, send):
    pass
"""


def load(target: str, directory: Path, *, factory: bool = False) -> object:
    return load_app(target, factory=factory, app_dir=str(directory))


def refusal(target: str, directory: Path, *, factory: bool = False) -> str:
    with pytest.raises(AppNotFound) as failure:
        load(target, directory, factory=factory)
    assert "\n" not in str(failure.value)
    return str(failure.value)
