"""The first three file descriptors, which a process may be started without (``trioserve main:app <&- >&-``)."""

import os

__all__ = ["open_standard_streams"]


def open_standard_streams() -> None:
    """Open those of stdin, stdout and stderr that are closed, on nothing.

    Otherwise a socket would get such a number. What a library prints would then go to a client, and libuv aborts the
    process when it closes one of its own.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            os.set_inheritable(opened, True)
