"""curl, run and heard."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.helpers.system_programs import system_program

__all__ = ["FAILED_BY_STATUS", "Curl"]

FAILED_BY_STATUS = 22  # curl's exit code for an answer of 400 or more, with ``--fail``


class Curl:
    """What curl wrote: the body on stdout; what it sent and received, and its complaints, on stderr."""

    def __init__(self, *arguments: str | Path, stdin: bytes = b"") -> None:
        program = system_program("curl", package="curl")
        usual = ("--disable", "--verbose", "--no-progress-meter", "--noproxy", "*", "--max-time", "30")
        done = subprocess.run([program, *usual, *arguments], input=stdin, capture_output=True, timeout=40, check=False)
        self.code = done.returncode
        self.body = done.stdout
        self.talk = done.stderr.decode(errors="replace").replace("\r", "")

    def json(self) -> Any:
        assert self.code == 0, self.talk
        return json.loads(self.body)
