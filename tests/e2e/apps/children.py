"""An application that forks. Most paths start a child and end it by a signal, and answer how the child ended.

The children of ``/left`` go on until ``/end``, which answers how many there were. ``/orphan`` answers the process id of
one that has ended after its parent.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any

import anyio.to_thread

warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)

fork = multiprocessing.get_context("fork")

INTERRUPTED = 42  # the exit code of a child that Ctrl-C has reached


def wait_for_signal(ready: Connection) -> None:
    try:
        ready.send("ready")
        while True:
            time.sleep(0.02)  # not pause(), which misses a signal that comes just before it
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def signalled(number: signal.Signals) -> int | None:
    """The exit code of a child that waits until it gets the signal."""
    here, there = fork.Pipe()
    child = fork.Process(target=wait_for_signal, args=[there])
    child.start()
    here.recv()
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join()
    here.close()
    there.close()
    return child.exitcode


def terminated_at_once() -> list[int | None]:
    """The exit codes of children that are terminated before they have done anything."""
    codes = []
    for _ in range(20):
        child = fork.Process(target=time.sleep, args=[60])
        child.start()
        child.terminate()
        child.join()
        codes.append(child.exitcode)
    return codes


def pooled() -> list[int]:
    """What a pool makes; its workers are terminated at the end of the block."""
    with fork.Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


def everything(*, with_ctrl_c: bool = True) -> dict[str, Any]:
    numbers = [signal.SIGTERM, *[signal.SIGINT] * with_ctrl_c, signal.SIGHUP, signal.SIGUSR1]
    return {
        **{number.name: signalled(number) for number in numbers},
        "at once": terminated_at_once(),
        "pool": pooled(),
    }


def everything_in_a_thread() -> dict[str, Any]:
    """Python 3.13.0 loses Ctrl-C in a child that was forked in a thread, with a server and without."""
    return everything(with_ctrl_c=sys.version_info[:3] != (3, 13, 0))


left: list[Any] = []


def leave_child() -> None:
    child = fork.Process(target=time.sleep, args=[60])
    child.start()
    left.append(child)


def end_children() -> int:
    """How many were still there."""
    count: int = sum(child.is_alive() for child in left)
    for child in left:
        child.kill()
        child.join()
    left.clear()
    return count


def orphan() -> bytes:
    """Its process id. It has the pipe of the output, so it has ended when that is read."""
    return subprocess.run(["sh", "-c", "sleep 0.1 & echo $!"], stdout=subprocess.PIPE, check=True).stdout


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] in ("http", "websocket")
    if scope["type"] == "websocket":
        leave_child()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
    elif scope["path"] == "/left":
        leave_child()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all ", "more_body": True})
        await send({"type": "http.response.body", "body": b"of it"})
    elif scope["path"] == "/orphan":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": orphan()})
    elif scope["path"] == "/end":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % end_children()})
    else:
        found = await anyio.to_thread.run_sync(everything_in_a_thread) if scope["path"] == "/thread" else everything()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": repr(found).encode()})

