"""How processes are called in the lists of ``ps`` and ``top``."""

import os
import sys
from pathlib import Path

import pytest

from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.worker_processes import serve_with_workers, worker_pids
from trioserve import Config, ConfigError
from trioserve._supervisor.process_name import show_name

NAMED = ("--process-name", "shop")


def name_of(pid: int) -> str:
    """As ``ps -o args`` shows it (Linux)."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def name_shown(server: ServerProcess) -> str:
    return name_of(server.pid)


def test_a_single_process(backend: Flavour) -> None:
    with serve("probe:app", backend, *NAMED) as server:
        assert name_shown(server) == "shop"


def test_several_processes_say_what_they_are(backend: Flavour) -> None:
    with serve_with_workers("probe:app", backend, *NAMED) as server:
        assert name_shown(server) == "shop: supervisor"
        assert {name_of(pid) for pid in worker_pids(server)} == {"shop: worker"}


def test_without_a_name_the_command_line_stays(backend: Flavour) -> None:
    with serve("probe:app", backend) as server:
        assert "trioserve probe:app" in name_shown(server)


def test_bytes_of_another_encoding(backend: Flavour) -> None:
    with serve("probe:app", backend, "--process-name", os.fsdecode(b"caf\xe9")) as server:
        assert name_shown(server) == "caf\ufffd"


def test_a_name_needs_setproctitle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", None)
    show_name(Config())
    with pytest.raises(ConfigError, match=r"process_name: .*install trioserve\[process-name\]"):
        show_name(Config(process_name="shop"))
