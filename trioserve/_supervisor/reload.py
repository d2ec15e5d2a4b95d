"""Notices changes of files, for ``--reload``: with watchfiles, or by looking again and again when it is missing."""

import importlib.util
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from trioserve._errors import ConfigError
from trioserve._supervisor.paths import full_path

if TYPE_CHECKING:
    from watchfiles import Change

__all__ = ["FileFilter", "watch_files"]

INCLUDED: Final = ("*.py",)
EXCLUDED: Final = (".*", "__pycache__", "node_modules")
"""Hidden files and directories, such as .git and .venv, and what tools leave behind; unless they are asked for."""

LEFT_BY_EDITORS: Final = ("~*", "*~", ".#*", ".~*", ".*.sw?")
"""Backups, locks and swap files. They count if they are asked for by their full name only."""

POLL_SECONDS: Final = 0.5  # between two looks, at least: each reads every directory
MIN_STEP_MS: Final = 10  # for --reload-delay 0
NAMED: Final = 3  # changed files in the log

log = logging.getLogger("trioserve")


class FileFilter:
    """Which files count.

    A pattern matches the name of a file, or of a directory that it is in; one with a slash matches the path from the
    watched directory on, or the whole path if it begins with ``/``, ``./`` or ``../``. An existing directory can take
    the place of a pattern. A file that ``include`` names counts wherever it is, and so does what it is a link to. What
    ``exclude`` names never counts. What is left out by default counts when ``include`` asks for it: a directory by its
    name, a file by any pattern.

    Attributes:
        directories: what to watch, absolute; none is inside of another.
        outside: files that are in none of them, absolute.
        out_of_reach: patterns that nothing can match, because of where they begin.
    """

    def __init__(self, directories: Iterable[str], include: Iterable[str], exclude: Iterable[str]) -> None:
        """No ``directories``: the current one. Raises ConfigError when one does not exist."""
        found = [full_path(directory, "reload_dir") for directory in list(directories) or [""]]
        for directory in found:
            if not os.path.isdir(directory):
                raise ConfigError("reload_dir", f"{directory!r} is not a directory")
        include = list(include)
        self._whole, self._include = _directories_apart(include, "reload_include")  # in these, everything counts
        self._excluded_directories, self._exclude = _directories_apart(exclude, "reload_exclude")
        self._asked_for = {part for pattern in self._include for part in Path(pattern).parts}
        self._roots = list(dict.fromkeys([*found, *self._whole]))
        self.directories = _outermost(self._roots)
        named = [full_path(pattern, "reload_include") for pattern in include if os.path.isfile(pattern)]
        self._named = dict.fromkeys([*named, *map(os.path.realpath, named)])
        self.outside = [path for path in self._named if not self._is_watched(path)]
        self.out_of_reach = [
            pattern for pattern in self._include
            if os.path.isabs(pattern) and pattern not in self._named and not self._reaches(_fixed_part(pattern))
        ]

    def __call__(self, path: str) -> bool:
        """A change of the file ``path`` (absolute) means a reload."""
        views = self._views(path)
        if self._is_excluded(path, views):
            return False
        if path in self._named:
            return True
        if not views:
            return False
        *directories, name = Path(min(views, key=len)).parts or ("",)
        if any(self._is_passed_over(directory) for directory in directories):
            return False
        if self._is_passed_over(name):
            return not _matches(name, LEFT_BY_EDITORS) and self._names_file(path, name, views)
        included = _matches(name, INCLUDED) or _match(path, views, self._include)
        return included or any(_is_in(path, directory) for directory in self._whole)

    def enters(self, path: str) -> bool:
        """The directory ``path`` (absolute) may hold files that count."""
        views = self._views(path)
        if self._is_excluded(path, views):
            return False
        leads_to_root = any(_is_in(root, path) for root in self._roots)
        return leads_to_root or (bool(views) and not any(
            self._is_passed_over(part) for part in Path(min(views, key=len)).parts))

    def inside(self, path: str) -> str:
        """``path`` from the watched directory on that it is in; as it is if it is in none."""
        watched = [directory for directory in self.directories if _is_in(path, directory)]
        return os.path.relpath(path, watched[0]) if watched else path

    def _is_watched(self, path: str) -> bool:
        return any(_is_in(path, directory) for directory in self.directories)

    def _reaches(self, path: str) -> bool:
        return self._is_watched(path) or any(_is_in(directory, path) for directory in self.directories)

    def _views(self, path: str) -> list[str]:
        """``path`` as it is seen from each directory that was named and holds it."""
        return [os.path.relpath(path, root) for root in self._roots if _is_in(path, root)]

    def _is_excluded(self, path: str, views: Iterable[str]) -> bool:
        return any(_is_in(path, directory) for directory in self._excluded_directories) or _match(
            path, views, self._exclude)

    def _names_file(self, path: str, name: str, views: Iterable[str]) -> bool:
        """A pattern asks for this very file, not only for a directory that it is in."""
        patterns = [pattern for pattern in self._include if "/" in pattern]
        return _match(path, views, patterns) or any(fnmatchcase(name, pattern) for pattern in self._include)

    def _is_passed_over(self, name: str) -> bool:
        """A file or directory of this name does not count by default, and nobody has asked for it by name."""
        return _matches(name, (*EXCLUDED, *LEFT_BY_EDITORS)) and name not in self._asked_for


def _match(path: str, views: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns if os.path.isabs(pattern)) or any(
        _matches(view, patterns) for view in views)


def _matches(inside: str, patterns: Iterable[str]) -> bool:
    parts = Path(inside).parts
    return any(
        fnmatchcase(inside, pattern) if "/" in pattern else any(fnmatchcase(part, pattern) for part in parts)
        for pattern in patterns
    )


def _directories_apart(patterns: Iterable[str], option: str) -> tuple[list[str], list[str]]:
    """Existing directories, absolute, and patterns; those that begin somewhere are absolute, too."""
    directories, others = [], []
    for pattern in patterns:
        if os.path.isdir(pattern):
            directories.append(full_path(pattern, option))
        elif pattern.startswith(("/", "./", "../")):
            others.append(full_path(pattern, option))
        else:
            others.append(pattern)
    return directories, others


def _fixed_part(pattern: str) -> str:
    """Of an absolute pattern, the directory that everything is in that it matches; itself without wildcards."""
    parts = Path(pattern).parts
    return str(Path(*itertools.takewhile(lambda part: not set(part) & set("*?["), parts)))


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
        if all(map(_is_utf8, [*files.directories, *files.outside])):
            watch, how = _watch_by_watchfiles, "with watchfiles"
        else:
            how = "by looking again and again, as watchfiles needs paths in UTF-8"
    log.info("Watching %s for changes, %s", ", ".join([*files.directories, *files.outside]), how)
    for pattern in files.out_of_reach:
        log.warning("--reload-include %s has no effect: there is no such file, and its directory is not watched; "
                    "--reload-dir watches one", pattern)
    await watch(files, delay, lambda changed: on_change(_named(changed, files)))


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # a surrogate stands for a byte that is none
        return False
    return True


async def _watch_by_watchfiles(files: FileFilter, delay: float, report: Callable[[set[str]], None]) -> None:
    from watchfiles._rust_notify import WatchfilesRustInternalError

    concerns = _Reports(files)
    await concerns.look()
    try:
        await _hear_from_watchfiles(files, concerns, delay, report)
    except* WatchfilesRustInternalError as failure:  # such as a file whose name is not UTF-8, and is none of ours
        log.warning("Watching by looking again and again from now on, as watchfiles has failed: %s", _first(failure))
    await _look_again(files, delay, report, concerns.known)


def _first(exc: BaseException) -> BaseException:
    """What a group of exceptions has begun with."""
    return _first(exc.exceptions[0]) if isinstance(exc, BaseExceptionGroup) else exc


async def _hear_from_watchfiles(
    files: FileFilter, concerns: "_Reports", delay: float, report: Callable[[set[str]], None]
) -> None:
    from watchfiles import awatch

    stop = anyio.Event()  # the thread that waits for the system looks at it; cancellation does not reach that thread

    async def watch(directories: Iterable[str], *, recursive: bool) -> None:
        async for changes in awatch(
            *directories, watch_filter=concerns, stop_event=stop, recursive=recursive,
            step=max(MIN_STEP_MS, round(delay * 1000)), ignore_permission_denied=True,
        ):
            report({path for _, path in changes})
            await concerns.look()

    async with anyio.create_task_group() as watching:
        watching.start_soon(_set_when_cancelled, stop)
        if files.outside:  # an editor replaces a file, which its directory notices
            watching.start_soon(partial(watch, {os.path.dirname(path) for path in files.outside}, recursive=False))
        await watch(files.directories, recursive=True)


class _Reports:
    """Which of the system's reports count: those of files that do, and of directories with such files in them.

    A directory that is moved is one report, and none of what is in it.

    Attributes:
        known: files as they were at the last look, to tell what was in a directory that is gone.
    """

    def __init__(self, files: FileFilter) -> None:
        self._files = files
        self.known: dict[str, tuple[int, int]] = {}

    async def look(self) -> None:
        """Learn what is there now."""
        self.known = await anyio.to_thread.run_sync(_look, self._files)

    def __call__(self, change: "Change", path: str) -> bool:
        if self._files(path):
            return True
        match change.name:
            case "added":
                return os.path.isdir(path) and self._files.enters(path) and any(_files_below([path], self._files))
            case "deleted":
                return any(_is_in(known, path) for known in self.known)
        return False


async def _set_when_cancelled(event: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


async def _watch_by_looking(files: FileFilter, delay: float, report: Callable[[set[str]], None]) -> None:
    await _look_again(files, delay, report, await anyio.to_thread.run_sync(_look, files))


async def _look_again(
    files: FileFilter, delay: float, report: Callable[[set[str]], None], before: dict[str, tuple[int, int]]
) -> None:
    """``before`` is what was seen at the last look."""
    while True:
        await anyio.sleep(max(delay, POLL_SECONDS))
        now = await anyio.to_thread.run_sync(_look, files)
        if changed := {path for path, _ in before.items() ^ now.items()}:
            report(changed)
        before = now


def _look(files: FileFilter) -> dict[str, tuple[int, int]]:
    """Each file that counts, with its time and size."""
    found = {entry.path: (stat.st_mtime_ns, stat.st_size) for entry, stat in _files_below(files.directories, files)}
    for path in files.outside:
        with suppress(OSError):
            stat = os.stat(path)
            found[path] = (stat.st_mtime_ns, stat.st_size)
    return found


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
