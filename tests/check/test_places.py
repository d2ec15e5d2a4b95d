"""Places in findings, as whoever has started the check sees them."""

from pathlib import Path

import pytest

from trioserve._trial import seen_from_here


def test_a_file_below_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert seen_from_here(f"{here}/main.py:1 (app)") == "main.py:1 (app)"
    assert seen_from_here("/srv/main.py:1 (app)") == "/srv/main.py:1 (app)"
    here.rmdir()
    assert seen_from_here(f"{here}/main.py:1 (app)") == f"{here}/main.py:1 (app)"
