"""The file with the process id, for scripts and service managers that look for one."""

import logging
import os

from trioserve._errors import ConfigError
from trioserve._supervisor.paths import full_path

__all__ = ["PidFile"]

log = logging.getLogger("trioserve")


class PidFile:
    """A file that holds the id of this process while it serves. One that another process left is overwritten.

    Whether that process still runs cannot be told from its number, which in a container is always the same.
    """

    def __init__(self, path: str) -> None:
        """Only see whether the file can be written: until this server serves, it may be another one's.

        Raises:
            ConfigError: it cannot.
        """
        self._path = full_path(path, "pid_file")  # the application may change the directory
        self._text = f"{os.getpid()}\n"
        try:
            open(self._path, "a").close()
        except OSError as exc:
            raise ConfigError("pid_file", f"{self._path!r} cannot be written: {exc.strerror}") from exc

    def write(self) -> None:
        try:
            with open(self._path, "w", encoding="ascii") as file:
                file.write(self._text)
        except OSError as exc:  # it could be written a moment ago; no reason to stop a server that serves
            log.error("The pid file %r cannot be written: %s", self._path, exc.strerror)

    def remove(self) -> None:
        """Remove it, unless it belongs to a server that has started since."""
        try:
            with open(self._path, encoding="ascii") as file:
                text = file.read()
            if text in ("", self._text):
                os.unlink(self._path)
        except (OSError, UnicodeDecodeError) as exc:
            log.warning("The pid file %r cannot be removed: %s", self._path, exc)
