"""How far a response is, and so which message of the application's comes next."""

from enum import IntEnum

__all__ = ["BODY", "COMPLETE", "FILE", "FIRST_BODY", "START", "TRAILERS", "State"]


class State(IntEnum):
    """How far a response is, in order. Each state names what it waits for."""

    START = 0
    FIRST_BODY = 1
    BODY = 2
    FILE = 3  # the rest of a file, which takes another way; nothing else can be sent meanwhile
    TRAILERS = 4
    COMPLETE = 5


# Plain names and plain integers on the hot path: an enum member costs a look-up of 50 ns each time.
START, FIRST_BODY, BODY, FILE, TRAILERS, COMPLETE = map(int, State)
