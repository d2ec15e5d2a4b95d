"""A real worker process, without a supervisor around it: where the stacks go that it writes when it is killed."""

import errno
import os
import tempfile
from collections.abc import Callable
from typing import NoReturn

import anyio
import pytest

from tests.helpers.server_process import APPS, WAIT_SECONDS, Flavour
from trioserve._config import Config
from trioserve._supervisor.control import WantsSockets
from trioserve._supervisor.process import STACKS_SIGNAL, WorkerProcess


def have_no_memory_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)


def know_no_memory_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def memfd_create(name: str) -> NoReturn:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "memfd_create", memfd_create, raising=False)


def have_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def temporary_file() -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary_file)


def stacks_of_killed_worker(backend: Flavour) -> str:
    config = Config.from_options({"workers": 2, "app_dir": APPS, "backend": backend.backend})
    process = WorkerProcess("origin:app", config, interactive=False, announce=False)

    async def kill() -> None:
        with anyio.fail_after(WAIT_SECONDS):
            while WantsSockets() not in (messages := await process.link.receive()):
                assert messages, "it has ended by itself"
            os.kill(process.pid, STACKS_SIGNAL)
            assert await process.wait() == -STACKS_SIGNAL

    try:
        anyio.run(kill)
        return process.read_stacks()
    finally:
        process.close()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")
def test_stacks_need_no_directory(backend: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    have_no_directory(monkeypatch)
    assert "most recent call first" in stacks_of_killed_worker(backend)


@pytest.mark.parametrize("lack", [have_no_memory_file, know_no_memory_file])
def test_they_go_to_a_temporary_file_otherwise(
    backend: Flavour, monkeypatch: pytest.MonkeyPatch, lack: Callable[[pytest.MonkeyPatch], None]
) -> None:
    lack(monkeypatch)
    assert "most recent call first" in stacks_of_killed_worker(backend)


def test_without_either_a_worker_runs_and_leaves_none(backend: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    have_no_memory_file(monkeypatch)
    have_no_directory(monkeypatch)
    assert stacks_of_killed_worker(backend) == ""
