"""A real Prometheus with the configuration of the documentation, in a directory of its own."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.helpers.proxies import DEPLOY
from tests.helpers.server_process import Output
from tests.helpers.system_programs import system_program

__all__ = ["Prometheus", "run_prometheus"]

_DOCUMENTED_TARGET: Final = "127.0.0.1:9000"
_DOCUMENTED_INTERVAL: Final = "15s"
_ADDRESS: Final = re.compile(r"address=(127\.0\.0\.1:\d+)")
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Prometheus:
    """Answers questions; see https://prometheus.io/docs/prometheus/latest/querying/api/."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with _DIRECT.open(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[Any]:
        """The series that an expression has now."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Of an expression with one series; ``None`` when it has none yet."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None


@contextmanager
def run_prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """Scrape ``target`` each second for the length of the block, otherwise as the documentation says."""
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    assert _DOCUMENTED_TARGET in text and _DOCUMENTED_INTERVAL in text
    config = directory / "prometheus.yml"
    config.write_text(text.replace(_DOCUMENTED_TARGET, target).replace(_DOCUMENTED_INTERVAL, "1s"))
    shutil.copy(DEPLOY / "prometheus-alerts.yml", directory)
    process = subprocess.Popen(
        [system_program("prometheus", package="prometheus"), f"--config.file={config}",
         f"--storage.tsdb.path={directory / 'data'}", "--web.listen-address=127.0.0.1:0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    log = Output(process.stderr)
    try:
        log.wait_for("Server is ready to receive web requests")
        match = _ADDRESS.search(log.wait_for("Listening on"))
        assert match is not None
        yield Prometheus(f"http://{match[1]}")
    except BaseException as exc:
        exc.add_note(log.end)
        raise
    finally:
        process.terminate()
        process.wait(20)
        log.wait_for_end()
