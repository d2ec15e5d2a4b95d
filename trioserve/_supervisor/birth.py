"""How a process comes to be a worker, from both sides; and the program that it runs, as a file.

With ``python -m`` the current directory would come first in the path of modules, and an application's ``logging.py`` or
``types.py`` would be taken for Python's. A frozen program has no interpreter that could run a file: there the whole
program is started again, and becomes a worker when it comes to serve.
"""

import os
import sys
from typing import NoReturn

__all__ = ["become_worker", "call_of_worker", "is_worker", "shall_be_worker"]

_VARIABLE = "_TRIOSERVE_WORKER"  # the descriptor of the link, then the supervisor's path of modules, a line each
_is_worker = False


def call_of_worker(link: int, interpreter_flags: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command line of a new worker process, and what its environment needs besides."""
    environment = {_VARIABLE: "\n".join([str(link), *sys.path])}
    if getattr(sys, "frozen", False):
        return [sys.executable, *sys.argv[1:]], environment
    return [sys.executable, *interpreter_flags, __file__], environment


def shall_be_worker() -> bool:
    """A supervisor has started this process, which is not a worker yet."""
    return _VARIABLE in os.environ


def is_worker() -> bool:
    return _is_worker


def become_worker() -> NoReturn:
    """Serve as a worker; the process ends with it."""
    global _is_worker
    _is_worker = True
    link = os.environ.pop(_VARIABLE).split("\n")[0]
    from trioserve._supervisor.worker import main

    sys.exit(main(int(link)))


def _run_as_program() -> NoReturn:
    """Find modules where the supervisor does, and nowhere else."""
    sys.path[:] = os.environ[_VARIABLE].split("\n")[1:]
    from trioserve._supervisor import birth

    birth.become_worker()


if __name__ == "__main__":
    _run_as_program()
