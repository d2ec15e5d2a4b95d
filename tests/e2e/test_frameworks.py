"""The page about frameworks is true: each of them is started on each backend, and what it says works, no more."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from websockets.exceptions import WebSocketException

from docs.frameworks_page import FRAMEWORKS, Framework
from tests.helpers.server_process import WAIT_SECONDS, ServerProcess
from tests.helpers.ws_programs import open_websocket

START_FAILED = 3  # the command's exit code


@contextmanager
def started(known: Framework, backend: str) -> Iterator[ServerProcess | None]:
    """The framework's application, served; ``None`` if its lifespan does not begin."""
    app = known.app if ":" in known.app else f"{known.app}:app"
    server = ServerProcess(
        [sys.executable, "-m", "trioserve", f"frameworks.{app}", "--port", "0", "--backend", backend])
    try:
        line = server.stderr.wait_for_any(["Listening on ", "Error: "])
        if "Listening on " in line:
            server.wait_started()
            yield server
        else:
            assert server.wait_exit() == START_FAILED
            yield None
    except BaseException as exc:
        exc.add_note(server.report)
        raise
    finally:
        server.kill()


def works(server: ServerProcess, feature: str, path: str) -> bool:
    try:
        if feature == "websocket":
            with open_websocket(f"{server.ws_url}{path}") as socket:
                return socket.recv(timeout=WAIT_SECONDS) == "hello"
        return httpx.get(f"{server.url}{path}", trust_env=False, timeout=WAIT_SECONDS).status_code == 200
    except (httpx.HTTPError, WebSocketException):
        return False


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("known", FRAMEWORKS, ids=lambda known: known.app)
def test_what_the_page_says_works(known: Framework, backend: str) -> None:
    if importlib.util.find_spec(known.package) is None:
        pytest.skip(f"{known.package} is not installed: it is too heavy, or disagrees with the other packages")
    features = dict.fromkeys((*known.trio, *known.asyncio))
    with started(known, backend) as server:
        found = [feature for feature in features if server is not None and works(server, feature, known.path(feature))]
    assert found == [feature for feature in features if feature in (known.trio if backend == "trio" else known.asyncio)]
