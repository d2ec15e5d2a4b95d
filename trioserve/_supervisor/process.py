"""A worker's operating system process: started, told things, waited for, and killed so that it shows where it stood.

Every worker is a fresh interpreter. A forked one would be cheaper by its imports, but would inherit an event loop, its
epoll and signal handlers, locks that other threads hold, and the application's old code.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO, Final

import anyio
import anyio.to_thread

from trioserve._config import Config
from trioserve._supervisor.birth import call_of_worker
from trioserve._supervisor.control import Link, Start
from trioserve._supervisor.signals import held_back

__all__ = ["HELD_BACK", "STACKS_SIGNAL", "WorkerProcess"]

HELD_BACK: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal and systemd send these to all processes at once; a new one has them blocked until it can judge them."""

STACKS_SIGNAL: Final = signal.SIGUSR2
"""Makes a worker write the stack of each thread, then ends it, even if no Python code runs any more."""

SUPERVISORS_OWN: Final = (
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID",
)
"""Environment variables by which systemd speaks to one process only (sd_notify(3), sd_listen_fds(3))."""

DUMP_SECONDS: Final = 2.0  # to write the stacks; a process that is stopped, or waits for a disk, never does


class WorkerProcess:
    """One process, from its start until ``wait`` has seen its end.

    Attributes:
        pid: of the process.
        link: what it says, and can be told.
    """

    def __init__(
        self, target: str, config: Config, *, interactive: bool, announce: bool, admin_token: str = ""
    ) -> None:
        """Start it. ``interactive`` leaves it the terminal, for a debugger. Raises OSError if the system cannot."""
        self._stacks = _open_for_stacks()
        try:
            ours, its = socket.socketpair()
        except OSError:
            self._stacks.close()
            raise
        command, environment = call_of_worker(its.fileno(), interpreter_flags())
        inherited = {name: value for name, value in os.environ.items() if name not in SUPERVISORS_OWN}
        self.link = Link(ours)
        try:
            with its, held_back(HELD_BACK):
                self._process = subprocess.Popen(
                    command,
                    stdin=None if interactive else subprocess.DEVNULL,
                    env=inherited | environment,
                    pass_fds=[its.fileno(), self._stacks.fileno()],
                )
        except OSError:
            self.close()
            raise
        self.pid = self._process.pid
        options = {name: getattr(config, name) for name in Config.__dataclass_fields__}
        start = Start(target, options, self._stacks.fileno(), sys.argv, announce, admin_token)
        with suppress(OSError):  # it has ended already, which wait() will tell
            self.link.send_first(start)

    async def wait(self) -> int:
        """Wait for its end; return the exit code, negative for a signal. If cancelled, the process is killed."""
        try:
            await self._wait_for_exit()
        finally:
            self._process.kill()  # does nothing to one that has ended
            code = self._process.wait()
        return code

    async def _wait_for_exit(self) -> None:
        try:
            descriptor = _open_process(self.pid)
        except OSError:  # not Linux, or a sandbox that does not know it
            await anyio.to_thread.run_sync(
                self._process.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
            return
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    async def kill_showing_stacks(self) -> None:
        """End it, leaving its threads' stacks behind if that is possible at all."""
        self._process.send_signal(STACKS_SIGNAL)
        await anyio.sleep(DUMP_SECONDS)
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()

    def read_stacks(self) -> str:
        """After its end: the stacks that it wrote when it was killed, or died of its own code."""
        self._stacks.seek(0)
        return self._stacks.read().decode("utf-8", "replace")

    def close(self) -> None:
        """After its end: nothing more is asked."""
        self.link.close()
        self._stacks.close()


def _open_for_stacks() -> IO[bytes]:
    """A file without a name. Nothing can be read from it if the system has no room for one anywhere."""
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # a sandbox that does not know it
            return os.fdopen(os.memfd_create("stacks"), "rb")
    try:
        return tempfile.TemporaryFile()
    except OSError:  # every directory is read-only, as in a container
        return open(os.devnull, "r+b", buffering=0)


def interpreter_flags() -> list[str]:
    """The options of this interpreter (``-X dev``, ``-W error``, ``-O`` ...), which the workers get, too."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # what multiprocessing uses
    return flags


def _open_process(pid: int) -> int:
    """A descriptor that is readable when the process has ended."""
    if sys.platform != "linux":
        raise OSError("this system has no such descriptors")
    return os.pidfd_open(pid)
