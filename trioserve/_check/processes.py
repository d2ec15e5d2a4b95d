"""Starts a process for a trial, gives it its plan, and takes what came of it. It may take long, or never end."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from trioserve._check.outcome import Outcome
from trioserve._check.trial import CANNOT_RUN, Plan
from trioserve._trial import Finding

__all__ = ["CannotRun", "check_backend"]

PROGRAM: Final = Path(__file__).with_name("program.py")
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
        where = next((line for line in lines[loop_thread:] if line.startswith("File ")), "")
    else:
        text = f"the trial's process ended with exit code {exit_code}: {' '.join(lines[-1:])}"
        where = ""
    return Finding("silent", text, where, backend=plan.backend)
