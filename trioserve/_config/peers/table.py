"""The shape of the tables: an option of another server, and what takes its place here."""

from dataclasses import dataclass

__all__ = ["Peer", "Row", "peer"]


@dataclass(frozen=True, slots=True)
class Row:
    """One option of another server, however it is spelled.

    Attributes:
        flags: on its command line.
        keywords: in its Python, and in its file.
        variables: in its environment.
        ours: the option that takes its place, a field of ``Config``, or a flag that only the command has; empty: none
            does.
        value: the value of ours that is meant, as a text; empty: the same value as there.
        note: what is different; where nothing takes its place, what to do.
    """

    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    variables: tuple[str, ...]
    ours: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server, with all of its options."""

    name: str
    rows: tuple[Row, ...]


def peer(name: str, prefix: str, *lines: tuple[str, str, str]) -> Peer:
    """A peer from lines (theirs, ours, note).

    Theirs are spellings with spaces between: flags begin with a dash, variables with ``prefix``, others are keywords. A
    long flag is a keyword, too, unless it is the command's alone, and a variable unless the line has one; no prefix, no
    variables. Ours is ``name`` or ``name=value``.
    """
    return Peer(name, tuple(_row(prefix, *line) for line in lines))


def _row(prefix: str, theirs: str, ours: str, note: str) -> Row:
    spellings = theirs.split()
    flags = tuple(word for word in spellings if word.startswith("-"))
    variables = tuple(word for word in spellings if prefix and word.startswith(prefix))
    derived = [word[2:].replace("-", "_") for word in flags if word.startswith("--")]
    keywords = [word for word in spellings if word not in flags + variables]
    if prefix and not variables:
        variables = tuple(prefix + word.upper() for word in derived if not word.startswith("no_"))
    if ours.startswith("--"):
        derived = []
    name, _, value = ours.partition("=")
    return Row(flags, tuple(dict.fromkeys([*keywords, *derived])), variables, name, value, note)
