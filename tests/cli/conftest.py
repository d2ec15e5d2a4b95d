"""What the command asks to be served is noted; nothing is served here."""

import pytest

from tests.helpers.command_line import Calls
from trioserve._supervisor import run as run_module


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(run_module, "run_command", calls)
    return calls
