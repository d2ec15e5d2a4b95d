"""``trioserve check`` in a process of its own, and its report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.check.zoo import REQUESTS, ZOO

ROOT = ZOO.parents[1]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/reference/check.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)

# A busy machine may take the processor away for longer than the default, in any application.
PATIENT = ("--warn-blocked", "2s")


def run_check(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trioserve", "check", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=50, cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)})


def report_of(name: str, *arguments: str) -> dict[str, Any]:
    """What it finds in the zoo, as JSON. The exit code says whether it has found something."""
    module = name.partition(":")[0]
    requests = [word for text in REQUESTS.get(module, []) for word in ("--request", text)]
    done = run_check(name, "--app-dir", str(ZOO), "--json", *requests, *arguments)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    VALIDATOR.validate(report)
    assert done.returncode == (1 if report["findings"] else 0)
    assert done.stderr == ""
    return report
