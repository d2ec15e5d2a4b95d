"""Notices changes of files, for ``--reload``: with watchfiles, or by looking again and again when it is missing."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from trioserve._errors import ConfigError

__all__ = ["FileFilter", "watch_files"]

INCLUDED: Final = ("*.py",)
EXCLUDED: Final = (".*", "~*", "*~", "__pycache__", "node_modules")
"""Hidden files and directories, such as .git and .venv, and what editors and tools leave behind."""

POLL_SECONDS: Final = 0.5  # between two looks, at least: each reads every directory
MIN_STEP_MS: Final = 10  # for --reload-delay 0
NAMED: Final = 3  # changed files in the log

log = logging.getLogger("trioserve")


class FileFilter:
    """Which files count.

    A pattern matches the name of a file, or of a directory that it is in; one with a slash matches the path from the
    watched directory on. An existing directory can take the place of a pattern.

    Attributes:
        directories: what to watch, absolute.
    """

    def __init__(self, directories: Iterable[str], include: Iterable[str], exclude: Iterable[str]) -> None:
        """No ``directories``: the current one. Raises ConfigError when one does not exist."""
        found = [os.path.abspath(directory) for directory in directories] or [os.getcwd()]
        for directory in found:
            if not os.path.isdir(directory):
                raise ConfigError("reload_dir", f"{directory!r} is not a directory")
        added, patterns = _directories_apart(include)
        self._excluded_directories, excluded = _directories_apart(exclude)
        self._include = (*INCLUDED, *patterns)
        self._exclude = (*EXCLUDED, *excluded)
        self._whole = added  # directories that were asked for by name: everything in them counts
        self.directories = _outermost([*found, *added])

    def __call__(self, path: str) -> bool:
        """A change of the file ``path`` (absolute) means a reload."""
        if any(_is_in(path, directory) for directory in self._excluded_directories):
            return False
        if not any(_is_in(path, directory) for directory in self.directories):
            return False
        inside = self.inside(path)
        if self._matches(inside, self._exclude):
            return False
        return any(_is_in(path, directory) for directory in self._whole) or self._matches(inside, self._include)

    def enters(self, path: str) -> bool:
        """The directory ``path`` (absolute) may hold files that count."""
        return path not in self._excluded_directories and not self._matches(self.inside(path), self._exclude)

    def inside(self, path: str) -> str:
        """``path``, which is in a watched directory, from there on."""
        return os.path.relpath(path, next(directory for directory in self.directories if _is_in(path, directory)))

    @staticmethod
    def _matches(inside: str, patterns: Iterable[str]) -> bool:
        parts = Path(inside).parts
        return any(
            fnmatchcase(inside, pattern) if "/" in pattern else any(fnmatchcase(part, pattern) for part in parts)
            for pattern in patterns
        )


def _directories_apart(patterns: Iterable[str]) -> tuple[list[str], list[str]]:
    directories, others = [], []
    for pattern in patterns:
        if os.path.isdir(pattern):
            directories.append(os.path.abspath(pattern))
        else:
            others.append(pattern)
    return directories, others


def _outermost(directories: list[str]) -> list[str]:
    """Without those that are inside of others, and each once."""
    return [
        directory for directory in dict.fromkeys(directories)
        if not any(_is_in(directory, other) for other in directories if other != directory)
    ]


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


# Watching.


async def watch_files(files: FileFilter, delay: float, on_change: Callable[[str], None]) -> None:
    """Call ``on_change`` with a line that names what has changed, until cancelled.

    A change counts when nothing else has changed for ``delay`` seconds.
    """
    watch, how = _watch_by_looking, "by looking again and again, as watchfiles is not installed"
    if importlib.util.find_spec("watchfiles") is not None:
        watch, how = _watch_by_watchfiles, "with watchfiles"
    log.info("Watching %s for changes, %s", ", ".join(files.directories), how)
    await watch(files, delay, lambda changed: on_change(_named(changed, files)))


async def _watch_by_watchfiles(files: FileFilter, delay: float, report: Callable[[set[str]], None]) -> None:
    from watchfiles import awatch

    stop = anyio.Event()  # the thread that waits for the system looks at it; cancellation does not reach that thread
    async with anyio.create_task_group() as watching:
        watching.start_soon(_set_when_cancelled, stop)
        async for changes in awatch(
            *files.directories, watch_filter=lambda _, path: files(path), stop_event=stop,
            step=max(MIN_STEP_MS, round(delay * 1000)), ignore_permission_denied=True,
        ):
            report({path for _, path in changes})


async def _set_when_cancelled(event: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


async def _watch_by_looking(files: FileFilter, delay: float, report: Callable[[set[str]], None]) -> None:
    before = await anyio.to_thread.run_sync(_look, files)
    while True:
        await anyio.sleep(max(delay, POLL_SECONDS))
        now = await anyio.to_thread.run_sync(_look, files)
        if changed := {path for path, _ in before.items() ^ now.items()}:
            report(changed)
        before = now


def _look(files: FileFilter) -> dict[str, tuple[int, int]]:
    """Each file that counts, with its time and size."""
    return {entry.path: (stat.st_mtime_ns, stat.st_size) for entry, stat in _files_below(files.directories, files)}


def _files_below(directories: Iterable[str], files: FileFilter) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    for directory in directories:
        with suppress(OSError), os.scandir(directory) as entries:  # removed meanwhile, or not ours to read
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if files.enters(entry.path):
                        yield from _files_below([entry.path], files)
                elif files(entry.path):
                    with suppress(FileNotFoundError):
                        yield entry, entry.stat()


def _named(changed: set[str], files: FileFilter) -> str:
    """``main.py, models.py and 3 more changed``."""
    paths = sorted(files.inside(path) for path in changed)
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return f"{', '.join(paths[:NAMED])}{more} changed"
