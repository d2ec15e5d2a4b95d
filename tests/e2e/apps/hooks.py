"""For ``--when-ready``, ``--worker-started`` and ``--worker-exited``; what they are told they say on stderr."""

import os
import sys
import time

import anyio.lowlevel

__all__ = ["exited", "fails", "hangs", "ready", "started", "started_async"]


def say(text: str) -> None:
    sys.stderr.write(f"hook in {os.getpid()}: {text}\n")
    sys.stderr.flush()


def ready() -> None:
    say("ready")


def started(pid: int) -> None:
    say(f"worker {pid} started")


async def started_async(pid: int) -> None:
    await anyio.lowlevel.checkpoint()
    say(f"worker {pid} started")


def exited(pid: int, exit_code: int) -> None:
    say(f"worker {pid} exited with {exit_code}")


def fails(pid: int) -> None:
    raise RuntimeError("a hook that fails")


def hangs(pid: int, exit_code: int) -> None:
    say("hangs")
    while True:
        time.sleep(1000)
