"""A file that is in memory is read at once, one that is on a disk in a thread."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.file_apps import LARGE, answer, path_app
from tests.helpers.transcripts import ok
from trioserve._connection import open_file


async def test_what_is_in_memory_is_read_at_once(large: Path, in_threads: list[Any]) -> None:
    assert await answer(path_app(large)) == ok(LARGE)
    assert in_threads == []


async def test_what_is_on_a_disk_is_read_in_a_thread(
    large: Path, in_threads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_file, "_is_in_memory", lambda descriptor, count, offset: offset >= 100_000)
    assert await answer(path_app(large)) == ok(LARGE)
    assert [(function, offset) for function, _, _, offset in in_threads] == [(os.pread, 0), (os.pread, 65536)]


async def test_whether_it_is_in_memory_is_the_kernels_word(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def preadv(descriptor: int, buffers: list[bytearray], offset: int, flags: int) -> int:
        asked.append((offset, len(buffers[0]), flags))
        if offset > 1000:
            raise BlockingIOError
        return 1

    monkeypatch.setattr(os, "preadv", preadv)
    assert open_file._is_in_memory(5, 1000, 1) is True
    assert open_file._is_in_memory(5, 1000, 2) is False
    assert asked == [(1, 1, os.RWF_NOWAIT), (1000, 1, os.RWF_NOWAIT), (2, 1, os.RWF_NOWAIT), (1001, 1, os.RWF_NOWAIT)]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no tmpfs here")
async def test_a_file_system_that_does_not_say(in_threads: list[Any]) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(LARGE)
        file.flush()
        assert await answer(path_app(file.name)) == ok(LARGE)


async def test_an_operating_system_with_less(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_file, "_IF_IN_MEMORY", 0)
    monkeypatch.setattr(open_file, "_read_at", open_file._seek_and_read)
    assert await answer(path_app(large)) == ok(LARGE)
