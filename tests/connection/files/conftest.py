"""Files as responses, where no kernel takes them: every byte is read here, as over TLS.

What differs over sockets is in ``test_files_over_sockets``.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.helpers.file_apps import LARGE, SMALL


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(SMALL)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


@pytest.fixture(autouse=True)
def in_threads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Each call that would be made in a thread; virtual time does not wait for threads."""
    calls = []

    async def run(function: Any, *args: Any, **options: Any) -> Any:
        calls.append((function, *args))
        await anyio.sleep(1)
        return function(*args)

    monkeypatch.setattr(anyio.to_thread, "run_sync", run)
    return calls


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before
