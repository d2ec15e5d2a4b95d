"""A supervisor that is process 1, as in a container, waits for processes that have lost their parent."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import STRICT, Flavour, running, wait_until
from trioserve._supervisor.orphans import ROUND_SECONDS, reap_orphans

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the processes of containers are Linux's")

AS_PROCESS_1 = """
import ctypes
from trioserve._supervisor import orphans
from trioserve.cli import main
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans become its children, as those of process 1 do
orphans.is_process_1 = lambda: True
orphans.ROUND_SECONDS = 0.05
main()
"""


def ended_child() -> int:
    """The process id of one that nobody has waited for."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def reap(pid: int) -> None:
    os.waitpid(pid, 0)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_who_has_ended_is_left_alone_for_a_round() -> None:
    orphan, worker = ended_child(), ended_child()
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(reap_orphans, lambda pid: pid == worker)
        await anyio.sleep(ROUND_SECONDS * 1.5)
        assert is_there(orphan)
        await anyio.sleep(ROUND_SECONDS)
        assert not is_there(orphan)
        await anyio.sleep(ROUND_SECONDS * 3)
        assert is_there(worker)
        nursery.cancel_scope.cancel()
    reap(worker)


def test_what_an_application_leaves_behind(backend: Flavour) -> None:
    command = [*STRICT, "-c", AS_PROCESS_1, "children:app", "--port", "0", "--workers", "2", *backend.options]
    with running(command) as server:
        pid = int(fetch(server.address, "/orphan").body)
        wait_until(lambda: not is_there(pid), f"that somebody has waited for process {pid}")
