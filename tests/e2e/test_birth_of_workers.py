"""How worker processes are started: as a single process is, also by a frozen program, and never by one another."""

import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import trioserve
from tests.helpers.raw_http import fetch
from tests.helpers.server_process import APPS, STRICT, Flavour, ServerProcess, running
from tests.helpers.worker_processes import worker_pids

PROGRAMS = Path(__file__).parent / "programs"
OPTIONS = pytest.mark.parametrize("options", [["--workers", "2"], ["--reload"]], ids=["workers", "reload"])


@OPTIONS
def test_modules_beside_the_application_take_the_place_of_nothing(
    loop: Flavour, tmp_path: Path, options: list[str]
) -> None:
    """They have the names of modules of Python's that a worker needs."""
    for name in ("logging", "types", "select", "token", "json", "socket", "signal", "asyncio", "random"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(__file__ + ' is imported')\n")
    (tmp_path / "site_beside.py").write_text((APPS / "origin.py").read_text())
    command: list[str | Path] = [*STRICT, PROGRAMS / "command_in.py", tmp_path, "site_beside:app", "--port", "0"]
    with running([*command, *loop.options, *options]) as server:
        if "--workers" in options:  # one that is still starting when the server stops would be killed, with an error
            server.stderr.wait_for("workers are ready")
        assert fetch(server.address, "/").status == 200


@OPTIONS
def test_a_program_in_a_zip_file(loop: Flavour, tmp_path: Path, options: list[str]) -> None:
    program = tmp_path / "program.pyz"
    package = Path(trioserve.__file__).parent
    with ZipFile(program, "w") as file:
        for source in package.rglob("*.py"):
            file.write(source, source.relative_to(package.parent))
        file.write(APPS / "origin.py", "zipped_site.py")
        file.writestr("__main__.py", "from trioserve.cli import main\nmain()\n")
    with running([*STRICT, program, "zipped_site:app", "--port", "0", *loop.options, *options]) as server:
        if "--workers" in options:
            server.stderr.wait_for("2 workers are ready")
        assert fetch(server.address, "/").status == 200


@pytest.mark.parametrize(("what", "processes"), [("workers", 2), ("reload", 1)])
def test_a_frozen_program(loop: Flavour, tmp_path: Path, what: str, processes: int) -> None:
    executable = tmp_path / "program"
    executable.write_text(f"#!/bin/sh\nexec {sys.executable} {PROGRAMS / 'frozen.py'} {executable} {APPS} \"$@\"\n")
    executable.chmod(0o755)
    arguments = [*STRICT, PROGRAMS / "frozen.py", executable, APPS, loop.backend, what]
    with running([str(argument) for argument in arguments]) as server:
        if processes > 1:
            server.stderr.wait_for(f"{processes} workers are ready")
        pids = worker_pids(server)
        assert len(pids) == processes
        assert fetch(server.address, "/census").json()["pid"] in pids
        server.stop()
        assert len(server.stderr.lines_with("run() returned")) == 1  # in the supervisor; a worker ends as one


SERVES_AT_IMPORT = """
import threading
import trioserve

async def app(scope, receive, send): ...

failures = []

def serve():
    try:
        trioserve.run("site_serves:app", workers=2, port=0)
    except trioserve.ConfigError as exc:
        failures.append(exc)

thread = threading.Thread(target=serve)
thread.start()
thread.join()
if failures:
    raise failures[0]
"""


def test_a_worker_is_no_supervisor(loop: Flavour, tmp_path: Path) -> None:
    """Otherwise each worker of this application would start others."""
    (tmp_path / "site_serves.py").write_text(SERVES_AT_IMPORT)
    command = [*STRICT, "-m", "trioserve", "site_serves:app", "--app-dir", str(tmp_path), "--port", "0"]
    server = ServerProcess([sys.executable, *command, *loop.options, "--workers", "2"])
    try:
        assert server.wait_exit() == 3
        assert server.stderr.text.splitlines()[-1].startswith(
            "Error: 'site_serves:app' could not be imported: trioserve._errors.ConfigError: workers: running several "
            "workers needs a supervisor, which a worker process cannot be: the application calls trioserve.run() ")
    finally:
        server.kill()
