"""``trioserve.tasks`` in real processes: a shutdown waits for tasks, and a crash ends the process."""

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, serve
from tests.helpers.worker_processes import serve_with_workers


def test_a_shutdown_waits_for_the_work(loop: Flavour) -> None:
    with serve("background:app", loop) as server:
        assert fetch(server.address, "/work").body == b"ok"
        server.stop()
        assert server.stderr.lines_with("the work is done")


def test_a_crash_is_the_end_of_the_process(loop: Flavour) -> None:
    with serve("background:app", loop, errors_expected=True) as server:
        assert fetch(server.address, "/crash").body == b"ok"
        assert server.wait_exit() == 3
        assert server.stderr.lines_with("The background task crash crashed; the server stops")
        assert server.stderr.lines_with("Deliberate: a task")
        assert server.stderr.lines_with("Error: the background task crash crashed")


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_worker_with_a_crash_is_replaced(backend: str) -> None:
    with serve_with_workers("background:app", Flavour(backend), errors_expected=True) as server:
        assert fetch(server.address, "/crash").body == b"ok"
        server.stderr.wait_for("The background task crash crashed; the server stops")
        server.stderr.wait_for(" is ready")
        assert fetch(server.address, "/").body == b"ok"
