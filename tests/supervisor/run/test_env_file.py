"""The application is imported with the variables of ``--env-file``."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import trioserve
from tests.helpers.stand_in_server import StandInServer, app
from trioserve._errors import ConfigError


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variables whose changes are undone."""
    monkeypatch.setenv("SITE_KNOWN", "from outside")
    monkeypatch.setenv("SITE_NEW", "")
    monkeypatch.delenv("SITE_NEW")


@pytest.mark.usefixtures("variables")
def test_the_application_is_imported_with_the_files_variables(module: Any, tmp_path: Path) -> None:
    pytest.importorskip("dotenv")
    (tmp_path / "site.env").write_text("SITE_NEW='caf\u00e9'\nSITE_KNOWN=from the file\n", "utf-8")
    found = module("import os\nseen = os.environ['SITE_NEW']\ndef app(scope, receive, send): ...")
    trioserve.run("site_run:app", env_file=str(tmp_path / "site.env"), **found)
    assert sys.modules["site_run"].seen == "caf\u00e9"
    assert os.environ["SITE_KNOWN"] == "from outside"


@pytest.mark.parametrize(("name", "problem"), [
    ("missing.env", "No such file or directory"), ("", "Is a directory"), ("binary.env", "'utf-8' codec can't decode"),
    ("null.env", "embedded null byte"),
])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, problem: str) -> None:
    pytest.importorskip("dotenv")
    (tmp_path / "binary.env").write_bytes(b"\xff")
    (tmp_path / "null.env").write_bytes(b"SITE_NEW=a\0b")
    with pytest.raises(ConfigError, match=f"cannot be read: {problem}") as failure:
        trioserve.run(app, env_file=str(tmp_path / name))
    assert failure.value.option == "env_file"
    assert StandInServer.served == []


def test_python_dotenv_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(ConfigError, match=r"python-dotenv is not installed; install trioserve\[standard\]"):
        trioserve.run(app, env_file=".env")
