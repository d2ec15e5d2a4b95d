"""``--warn-blocked`` in a process of its own: what looks like a stall from inside, and is none."""

import signal
import time
from pathlib import Path

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, serve, wait_until


def test_a_process_that_was_stopped_blames_nobody(loop: Flavour) -> None:
    with serve("probe:app", loop, "--warn-blocked", "300ms") as server:
        assert fetch(server.address, "/hello").status == 200
        server.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{server.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "stopped")
        time.sleep(0.6)  # what the process has missed
        server.send_signal(signal.SIGCONT)
        server.stderr.wait_for("INFO:     This process did not run for ")
        assert fetch(server.address, "/hello").status == 200
    assert not server.stderr.lines_with("The event loop")


def test_a_worker_that_reloads_watches_its_loop(loop: Flavour, tmp_path: Path) -> None:
    (tmp_path / "site_blocking.py").write_text(
        "import time\n"
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    time.sleep(1)\n"
        "    await send({'type': 'http.response.start', 'status': 204})\n"
        "    await send({'type': 'http.response.body'})\n")
    with serve(
        "site_blocking:app", loop, "--app-dir", str(tmp_path), "--reload", "--reload-dir", str(tmp_path)
    ) as server:
        assert fetch(server.address, "/").status == 204
        assert "site_blocking.py:4 (app)" in server.stderr.wait_for("The event loop stands still for ")
        server.stderr.wait_for("The event loop goes on after ")
