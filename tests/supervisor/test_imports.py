"""What a start imports is no garbage, and the collector does not look for it there."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import STRICT, Flavour, serve
from tests.helpers.worker_processes import serve_with_workers

pytestmark = pytest.mark.skipif(not hasattr(gc, "freeze"), reason="a collector that cannot be told what stays")

APP = """
import gc, json
from trioserve._server import Server

def is_looked_at(thing):
    return any(known is thing for known in gc.get_objects())

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body = json.dumps([is_looked_at(Server), is_looked_at(app), gc.isenabled()]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""

NOTICES = """
import gc
was_on = gc.isenabled()
loop = []
loop.append(loop)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "frozen_app.py").write_text(APP)
    (tmp_path / "noticing.py").write_text(NOTICES)
    return tmp_path


def test_the_collector_leaves_the_server_alone_and_not_the_application(backend: Flavour, directory: Path) -> None:
    with serve("frozen_app:app", backend, "--app-dir", str(directory)) as server:
        assert fetch(server.address, "/").json() == [False, True, True]


def test_so_it_does_in_a_worker(backend: Flavour, directory: Path) -> None:
    with serve_with_workers("frozen_app:app", backend, "--app-dir", str(directory)) as server:
        assert fetch(server.address, "/").json() == [False, True, True]


def answer_of(code: str, directory: Path) -> str:
    """What a new interpreter prints."""
    code = f"import gc, sys; sys.path.insert(0, {str(directory)!r}); " + code
    return subprocess.run(
        [sys.executable, *STRICT, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


IMPORT = "from trioserve._imports import import_for_good; import_for_good('noticing'); import noticing; "


def test_nothing_is_collected_meanwhile_and_what_is_there_then_stays(directory: Path) -> None:
    show = "print(noticing.was_on, gc.isenabled(), any(known is noticing.loop for known in gc.get_objects()))"
    assert answer_of(IMPORT + show, directory) == "False True False"


def test_who_has_switched_the_collector_off_keeps_it_off(directory: Path) -> None:
    assert answer_of("gc.disable(); " + IMPORT + "print(gc.isenabled())", directory) == "False"


def test_what_is_imported_already_freezes_nothing(directory: Path) -> None:
    show = "import_for_good('noticing'); print(any(known is later for known in gc.get_objects()))"
    assert answer_of(IMPORT + "later = []; later.append(later); " + show, directory) == "True"
