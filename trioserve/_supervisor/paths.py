"""Paths as the user gives them, from the root on."""

import os

from trioserve._errors import ConfigError

__all__ = ["full_path"]


def full_path(path: str, option: str) -> str:
    """The absolute path; of an empty one, the current directory. ``option`` is who has given it.

    Raises:
        ConfigError: there is no current directory, because somebody has deleted it.
    """
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ConfigError(option, "the current directory does not exist any more") from None
