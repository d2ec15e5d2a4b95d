"""What an application has made of being cancelled, read from the exceptions that it met and the one that it ended with.

Python keeps what is needed. An exception that is raised while another one is handled knows that one as its context,
and its traceback knows the lines on its way. So a second cancellation inside a ``finally`` can be told from one that
came after the first had been swallowed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from trioserve._hints import related
from trioserve._trial.findings import Finding
from trioserve._trial.places import Step, is_own, place_of_error, steps_of_error, written

__all__ = ["MARK", "Met", "is_ours", "verdict"]

MARK: Final = "a trial's strike"
"""The reason that our cancellations carry; both backends write it into the exception."""

_CLOSING: Final = ("__aexit__", "aclose")
_TASK_GROUPS: Final = "asyncio.taskgroups"  # by its name: nothing here knows an event loop


@dataclass(frozen=True)
class Met:
    """A cancellation of ours, and the awaits of the application in which it was raised, from the outermost on."""

    exc: BaseException
    steps: Sequence[Step]


def is_ours(exc: BaseException | None) -> bool:
    """A cancellation, and of our making: applications have scopes and timeouts of their own."""
    return exc is not None and not isinstance(exc, Exception) and MARK in str(exc)


def verdict(met: Sequence[Met], ended_with: BaseException | None) -> Iterator[Finding]:
    """What is wrong about an application that was cancelled.

    Args:
        met: our cancellations in the order in which they were raised in the application's task.
        ended_with: what it raised; ``None`` when it returned.
    """
    if not met:
        return  # it was shielded, or its children were cancelled in its place
    known = {id(exc): exc for exc in related(ended_with)}
    first = met[0].exc
    if ended_with is None:
        yield Finding("swallowed", "it was cancelled, and went on to its end as if it had not been", _caught_at(first))
    elif id(first) not in known and not _was_renewed(first, ended_with):
        yield Finding("swallowed", "it was cancelled, and went on", _caught_at(first))
    elif all(isinstance(exc, Exception) for exc in _members(ended_with)):
        yield Finding("swallowed", f"it was cancelled, and ended with {type(ended_with).__name__} instead",
                      place_of_error(ended_with))
    ways = {id(one.exc): one.steps for one in met}
    for exc in known.values():
        if isinstance(exc, (Exception, BaseExceptionGroup)):
            continue
        if where := _cut_at(exc, ways.get(id(exc)) or steps_of_error(exc)):
            yield Finding("cut", "it was cancelled, and what it still had to do then was cancelled as well", where)


def _was_renewed(first: BaseException, ended_with: BaseException) -> bool:
    """``asyncio.TaskGroup`` catches a cancellation while it waits for its children's end, and another one follows."""
    caught_by = first.__traceback__
    return (
        type(ended_with) is type(first)
        and caught_by is not None
        and caught_by.tb_frame.f_globals.get("__name__") == _TASK_GROUPS
    )


def _caught_at(exc: BaseException) -> str:
    """The application's line that ``exc`` has not left: a traceback begins where an exception was caught."""
    own = [step for step in steps_of_error(exc) if is_own(step[0])]
    return written(own[0]) if own else place_of_error(exc)


def _cut_at(exc: BaseException, steps: Sequence[Step]) -> str:
    """The application's await that ``exc`` has cut, if another cancellation was being handled there."""
    earlier = exc.__context__
    while earlier is not None and not is_ours(earlier):
        earlier = earlier.__context__
    if earlier is None:
        return ""
    own = [number for number, (code, _) in enumerate(steps) if is_own(code)]
    if not own:
        return ""  # a library's affair
    called = steps[own[-1] + 1 : own[-1] + 2]
    if called and called[0][0].co_name in _CLOSING:
        return ""  # closing something closes it, cancelled or not
    return written(steps[own[-1]])


def _members(exc: BaseException | None) -> Iterator[BaseException]:
    """``exc``, or the exceptions of a group."""
    if isinstance(exc, BaseExceptionGroup):
        for member in exc.exceptions:
            yield from _members(member)
    elif exc is not None:
        yield exc
