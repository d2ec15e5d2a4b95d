"""An access log in a file of its own, and what happens when somebody rotates it."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until
from tests.helpers.system_programs import system_program

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


def paths_in(file: Path) -> list[str]:
    return [line.split('"')[1].split()[1] for line in file.read_text().splitlines()] if file.exists() else []


def visit(server: ServerProcess, path: str) -> None:
    assert fetch(server.address, path).status in (200, 404)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The example, with its file in a place of our own."""
    path = tmp_path / "logging_files.yaml"
    example = (EXAMPLES / "logging_files.yaml").read_text("utf-8")
    path.write_text(example.replace("filename: access.log", f"filename: {tmp_path / 'access.log'}"))
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_that_was_renamed_is_made_anew(loop: Flavour, config: Path, workers: str) -> None:
    """Each line is whole, whichever process writes it."""
    access, old = config.with_name("access.log"), config.with_name("access.log.1")
    with serve("probe:app", loop, "--log-config", str(config), "--workers", workers) as server:
        if workers != "1":  # one that is still starting when the server stops would be killed, with an error
            server.stderr.wait_for("workers are ready")
        for number in range(20):
            visit(server, f"/hello?before={number}")
        wait_until(lambda: len(paths_in(access)) == 20, "lines before")
        access.rename(old)
        for number in range(20):
            visit(server, f"/hello?after={number}")
        wait_until(lambda: len(paths_in(access)) == 20, "lines after")
    assert {path.partition("=")[0] for path in paths_in(old)} == {"/hello?before"}
    assert {path.partition("=")[0] for path in paths_in(access)} == {"/hello?after"}
    assert "access.log" not in server.stderr.text


def test_logrotate(config: Path, tmp_path: Path) -> None:
    """The recipe of the guide, run as its daily job runs it."""
    program = system_program("logrotate", package="logrotate")
    access = config.with_name("access.log")
    recipe = (EXAMPLES / "deploy/logrotate.conf").read_text("utf-8")
    own = tmp_path / "logrotate.conf"
    own.write_text(recipe.replace("/var/log/shop/access.log", str(access)))
    own.chmod(0o600)
    with serve("probe:app", Flavour("trio"), "--log-config", str(config)) as server:
        visit(server, "/hello?before")
        wait_until(lambda: paths_in(access) == ["/hello?before"], "a line before")
        subprocess.run([program, "--force", "--state", tmp_path / "state", own], check=True, timeout=30)
        visit(server, "/hello?after")
        wait_until(lambda: paths_in(access) == ["/hello?after"], "a line after")
    [rotated] = tmp_path.glob("access.log-*")
    assert paths_in(rotated) == ["/hello?before"]
