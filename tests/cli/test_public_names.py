"""What ``import trioserve`` gives, and what it does not cost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import trioserve

ROOT = Path(trioserve.__file__).parents[1]


def modules_after(source: str, *arguments: str) -> set[str]:
    """The top-level packages that a fresh interpreter has imported after ``source``."""
    source += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", source, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_every_public_name_is_there() -> None:
    for name in trioserve.__all__:
        assert getattr(trioserve, name) is not None
    assert set(trioserve.__all__) <= set(dir(trioserve))


COMMAND = """
import contextlib
from trioserve.cli import main
with contextlib.suppress(SystemExit): main()
"""


def test_the_errors_are_one_family() -> None:
    for name in trioserve.__all__:
        value = getattr(trioserve, name)
        if isinstance(value, type) and issubclass(value, Exception) and value is not trioserve.ClientDisconnected:
            assert issubclass(value, trioserve.TrioserveError)
    assert issubclass(trioserve.ClientDisconnected, OSError)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'trioserve' has no attribute 'rnu'"):
        _ = trioserve.rnu  # type: ignore[attr-defined]  # that is the point


def test_the_import_is_cheap() -> None:
    bare = modules_after("")
    assert modules_after("import trioserve") - bare == {"trioserve"}


def test_asking_for_the_version_does_not_import_the_server() -> None:
    assert modules_after(COMMAND, "--version") & {"anyio", "trio", "asyncio", "uvloop", "h11", "httptools"} == set()


@pytest.mark.parametrize(("backend", "foreign"), [("trio", {"asyncio", "uvloop"}), ("asyncio", {"trio"})])
def test_only_the_chosen_backend_is_imported(tmp_path: Path, backend: str, foreign: set[str]) -> None:
    pytest.importorskip("httptools")
    (tmp_path / "site_app.py").write_text("""
import signal

async def app(scope, receive, send):
    await receive()
    signal.raise_signal(signal.SIGTERM)             # everything that serving needs has been imported by now
    await receive()
""")
    command = ("site_app:app", "--app-dir", str(tmp_path), "--port", "0", "--backend", backend)
    imported = modules_after(COMMAND, *command)
    assert backend in imported
    assert imported & (foreign | {"h11", "wsproto"}) == set()  # wsproto comes with the first WebSocket
