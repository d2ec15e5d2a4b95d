"""An application that forks child processes: signals to them are theirs, and do what they do in any process."""

import ast
import signal
from collections.abc import Iterator

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, ServerProcess, serve
from tests.helpers.worker_processes import serve_with_workers

DEV = ("-X", "dev")

EXPECTED = {
    "SIGTERM": -signal.SIGTERM,
    "SIGINT": 42,  # the child's own, for KeyboardInterrupt
    "SIGHUP": -signal.SIGHUP,
    "SIGUSR1": -signal.SIGUSR1,
    "at once": [-signal.SIGTERM] * 20,
    "pool": [1, 2, 3],
}


@pytest.fixture(params=[1, 2], ids=["single process", "workers"])
def server(request: pytest.FixtureRequest, loop: Flavour) -> Iterator[ServerProcess]:
    if request.param == 1:
        with serve("children:app", loop, python_options=DEV) as server:
            yield server
    else:
        with serve_with_workers("children:app", loop, python_options=DEV) as server:
            yield server


@pytest.mark.parametrize("path", ["/", "/thread"], ids=["in the event loop", "in a thread"])
def test_children_end_and_the_server_does_not(server: ServerProcess, path: str) -> None:
    for _ in range(2):
        found = ast.literal_eval(fetch(server.address, path).body.decode())
        assert found == {name: EXPECTED[name] for name in found}
        assert found.keys() >= EXPECTED.keys() - ({"SIGINT"} if path == "/thread" else set())
    assert not server.stderr.lines_with("Shutting down", "again", "means nothing", "ended unexpectedly")
