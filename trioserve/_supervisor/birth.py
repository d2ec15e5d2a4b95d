"""How a process comes to be a worker: what the supervisor says by the command line and the environment, and hears.

A frozen program has no interpreter that could run a file: there the whole program is started again, and becomes a
worker when it comes to serve. In a zip file, such as one of ``zipapp``, there is no file that it could run.
"""

import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["be_born", "call_of_worker", "is_worker", "shall_be_worker"]

_PROGRAM: Final = Path(__file__).with_name("worker_program.py")
_VARIABLE: Final = "_TRIOSERVE_WORKER"  # the descriptor of the link, then the supervisor's path of modules, a line each
_FROM_ZIP: Final = (
    "import os, sys; sys.path[:] = os.environ[sys.argv[1]].split('\\n')[1:]; "
    "from trioserve._supervisor.worker_program import begin; begin()")
_is_worker = False


def call_of_worker(link: int, interpreter_flags: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command line of a new worker process, and what its environment needs besides."""
    environment = {_VARIABLE: "\n".join([str(link), *sys.path])}
    if getattr(sys, "frozen", False):
        return [sys.executable, *sys.argv[1:]], environment
    program = [str(_PROGRAM)] if _PROGRAM.is_file() else ["-c", _FROM_ZIP]
    return [sys.executable, *interpreter_flags, *program, _VARIABLE], environment


def shall_be_worker() -> bool:
    """A supervisor has started this process, which is not a worker yet."""
    return _VARIABLE in os.environ


def be_born() -> int:
    """This process is a worker from now on. Returns its end of the link."""
    global _is_worker
    _is_worker = True
    return int(os.environ.pop(_VARIABLE).split("\n")[0])


def is_worker() -> bool:
    return _is_worker
