"""Starts a process for a trial, gives it its plan, and takes what came of it. It may take long, or never end."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from trioserve._check.outcome import Outcome
from trioserve._check.trial import CANNOT_RUN, Plan
from trioserve._trial import Finding, is_own_file, seen_from_here

__all__ = ["CannotRun", "check_backend"]

PROGRAM: Final = Path(__file__).with_name("program.py")
FRAME: Final = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.*)')  # of faulthandler
GRACE_SECONDS: Final = 10.0  # for Python to start, and to write where a trial stands that does not end


class CannotRun(Exception):
    """There is nothing to check: no such application, or its module raises. The text says what and where."""


def check_backend(plan: Plan, seconds: float) -> Outcome:
    """Try the application as ``plan`` says, for ``seconds`` at most.

    Raises:
        CannotRun: the application could not be loaded.
    """
    with tempfile.TemporaryDirectory() as directory:
        result_file = Path(directory, "result.json")
        words = asdict(plan) | {"path": sys.path, "result_file": str(result_file), "seconds": seconds}
        process = subprocess.Popen(
            [sys.executable, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace", env=os.environ | {"PYTHONUNBUFFERED": "1"})
        try:
            _, said = process.communicate(json.dumps(words), timeout=seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        if not result_file.exists():
            return Outcome(backend=plan.backend, findings=[_unfinished(said, process.returncode, plan, seconds)])
        result = json.loads(result_file.read_text("utf-8"))
    if CANNOT_RUN in result:
        raise CannotRun(result[CANNOT_RUN])
    return Outcome.from_json(result)


def _unfinished(said: str, exit_code: int, plan: Plan, seconds: float) -> Finding:
    """The trial has no result: its time was over, or the process has died."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "Timeout (" in said:  # faulthandler's word, in front of where each thread stands, the event loop's last
        text = f"the trial did not end within {seconds:g} s"
        loop_thread = max((number for number, line in enumerate(lines) if line.startswith("Thread ")), default=0)
        where = _own_place(lines[loop_thread:])
    else:
        text = f"the trial's process ended with exit code {exit_code}: {' '.join(lines[-1:])}"
        where = ""
    return Finding("silent", text, where, backend=plan.backend)


def _own_place(frames: Sequence[str]) -> str:
    """The application's innermost line in a thread, as ``file:line (function)``; empty when there is none.

    Args:
        frames: what faulthandler says of the thread, from the inside to the outside.
    """
    for frame in map(FRAME.match, frames):
        if frame is not None and is_own_file(frame["file"]):
            return seen_from_here(f"{frame['file']}:{frame['line']} ({frame['function']})")
    return ""
