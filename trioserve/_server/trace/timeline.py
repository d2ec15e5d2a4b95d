"""The timeline of one request: its messages, and the tasks, nurseries and cancel scopes of the application.

It shows what can be seen alike on trio and on asyncio: a look is taken whenever one of the request's tasks waits, sends
or receives. So a scope in which nothing has waited is not seen. A scope is told of when it begins to matter: with its
deadline or its shield, with the first task that is started in it, which makes it a nursery, or when it is cancelled.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from trioserve._colors import BLUE, CYAN, GREEN, RED, YELLOW, colored
from trioserve._server.lengths import shown_length
from trioserve._server.trace.shown import shown_error, shown_message, shown_text
from trioserve._streams import SeenScope, SeenTask, TaskWatch
from trioserve._types import Message

__all__ = ["Timeline", "fitting"]

WIDTH: Final = 88  # columns of a line; a terminal of 100 has room for the level before it
SHOWN: Final = 30  # characters of a value in a message
GUIDE: Final = "| "
APPLICATION: Final = "the application"  # the task that the server has called it in


@dataclass(eq=False)
class Entered:
    """A scope that is entered, and what has been said of it."""

    scope: SeenScope
    kind: str = "scope"
    is_told: bool = False
    is_cancelled: bool = False
    failed: str = ""  # the task in it that has raised

    @property
    def matters(self) -> bool:
        return self.scope.shield or self.scope.deadline != math.inf


@dataclass(eq=False)
class Member:
    """A task of the request. ``depth`` is that of its lines, outside of what it enters."""

    name: str
    began_in: SeenScope | None
    depth: int
    entered: list[Entered] = field(default_factory=list)

    def depth_of(self, entered: Entered) -> int:
        """Of lines about it, which come before and after what is inside."""
        return self.depth + sum(outer.is_told for outer in self.entered[: self.entered.index(entered)])

    @property
    def depth_inside(self) -> int:
        return self.depth + sum(entered.is_told for entered in self.entered)


class Timeline:
    """Of one call of the application. ``write`` takes a line, coloured if ``colors`` says so."""

    def __init__(self, watch: TaskWatch, write: Callable[[str], None], *, colors: bool) -> None:
        self._watch = watch
        self._write = write
        self._colors = colors
        self._began = watch.now()
        self._members: dict[SeenTask, Member] = {}
        self._newborn: list[SeenTask] = []
        self._is_cancelled_outside = False

    # The messages.

    def begins(self) -> None:
        task = self._watch.current()
        self._members[task] = Member(APPLICATION, self._watch.innermost(task), 0)
        self._say(0, f"{APPLICATION} is called", GREEN)

    def received(self, message: Message) -> None:
        self._say_here(f"-> {shown_message(message, SHOWN)}", BLUE)

    def sends(self, message: Message) -> None:
        self._say_here(f"<- {shown_message(message, SHOWN)}", CYAN)

    def send_failed(self, exc: Exception) -> None:
        self._say_here(f"   send() raised {shown_error(exc)}", RED)

    def ends(self, error: BaseException | None, *, cancelled: bool) -> None:
        task = self._watch.current()
        self.on_step(task)
        self._say_end(self._members.pop(task), "returned", error, cancelled=cancelled)

    def cancelled_by_server(self, reason: str) -> None:
        self._look_at_cancellations("")
        self._is_cancelled_outside = True
        self._say(0, f"cancelled by the server: {reason}", RED)

    # The tasks.

    def on_spawn(self, task: SeenTask) -> None:
        self._newborn.append(task)

    def on_step(self, task: SeenTask) -> None:
        """Look at what ``task`` has entered, left, cancelled and started since the last look."""
        if (member := self._members.get(task)) is None:
            return
        self._look_at_cancellations(member.name)
        scopes = self._watch.entered(task, member.began_in)
        while member.entered and member.entered[-1].scope not in scopes:
            self._leave(member)
        self._enter(member, scopes[len(member.entered):])
        self._look_at_newborn()

    def on_exit(self, task: SeenTask, error: BaseException | None, *, cancelled: bool) -> None:
        self._look_at_newborn()
        if (member := self._members.get(task)) is None:
            return
        if error is None:
            self._look_at_cancellations(member.name)
        elif (owner := self._owner_of(member.began_in)) is not None:
            owner[1].failed = member.name
        while member.entered:
            self._leave(member)
        del self._members[task]
        self._say_end(member, "ended", error, cancelled=cancelled)
        if error is not None:
            self._look_at_cancellations(member.name)

    # What a look finds.

    def _look_at_cancellations(self, by: str) -> None:
        """``by`` is the task that has run since the last look."""
        for member in self._members.values():
            is_known_outside = self._is_outside_cancelled(member)
            for entered in member.entered:
                if entered.scope.shield:
                    is_known_outside = False
                if entered.scope.cancel_called and not entered.is_cancelled:
                    entered.is_cancelled = True
                    if not is_known_outside:  # or it follows from that
                        self._say_cancelled(member, entered, by)
                is_known_outside = is_known_outside or entered.is_cancelled

    def _is_outside_cancelled(self, member: Member) -> bool:
        owner = self._owner_of(member.began_in)
        if owner is None:
            return self._is_cancelled_outside
        holder, nursery = owner
        around = holder.entered[: holder.entered.index(nursery) + 1]
        for entered in reversed(around):
            if entered.is_cancelled:
                return True
            if entered.scope.shield:
                return False
        return self._is_outside_cancelled(holder)

    def _say_cancelled(self, member: Member, entered: Entered, by: str) -> None:
        if entered.scope.deadline <= self._watch.now():
            why = ", its deadline has passed"
        elif entered.failed:
            why = f", because {entered.failed} has raised"
        else:
            why = f" by {by}" if by else ""
        depth = member.depth_of(entered) + entered.is_told
        self._say_of(member, f"{entered.kind} cancelled{why}", RED, depth=depth)

    def _enter(self, member: Member, scopes: list[SeenScope]) -> None:
        """From the outside in, and each with the tasks that were started in it before what is further inside."""
        known = len(member.entered)
        member.entered += [Entered(scope) for scope in scopes]
        for position, entered in enumerate(member.entered):
            children = [task for task in self._newborn if self._watch.began_in(task) is entered.scope]
            if position >= known and entered.matters and not children:
                self._tell(member, entered)
            for task in children:
                self._newborn.remove(task)
                self._start(task)

    def _leave(self, member: Member) -> None:
        left = member.entered.pop()
        if left.is_told:
            self._say_of(member, f"{left.kind} left", None)

    def _look_at_newborn(self) -> None:
        newborn, self._newborn = self._newborn, []
        for task in newborn:
            self._start(task)

    def _start(self, task: SeenTask) -> None:
        name = shown_text(self._watch.name(task))
        began_in = self._watch.began_in(task)
        owner = self._owner_of(began_in)
        if owner is None:
            self._members[task] = Member(name, began_in, 0)
            self._say(0, f"{name} started, in no nursery of this request", YELLOW)
            return
        holder, nursery = owner
        nursery.kind = "nursery"
        if not nursery.is_told:
            self._tell(holder, nursery)
        depth = holder.depth_of(nursery) + 1
        self._members[task] = Member(name, began_in, depth)
        self._say(depth, f"{name} started", GREEN)

    def _owner_of(self, scope: SeenScope | None) -> tuple[Member, Entered] | None:
        """Who has entered ``scope``."""
        for member in self._members.values():
            for entered in member.entered:
                if entered.scope is scope:
                    return member, entered
        return None

    def _tell(self, member: Member, entered: Entered) -> None:
        """Say that it was entered, with what matters of it."""
        left = entered.scope.deadline - self._watch.now()
        facts = ["opened" if entered.kind == "nursery" else "entered"]
        if entered.scope.shield:
            facts.append("shielded")
        if left != math.inf:
            facts.append(f"{shown_length(left)} left")
        color = YELLOW if len(facts) > 1 else GREEN
        self._say_of(member, f"{entered.kind} {', '.join(facts)}", color, depth=member.depth_of(entered))
        entered.is_told = True

    # The lines.

    def _say_here(self, text: str, color: str) -> None:
        """Of the task that runs."""
        task = self._watch.current()
        self.on_step(task)
        member = self._members.get(task)
        if member is None:
            self._say(0, text, color)
        else:
            self._say_of(member, text, color)

    def _say_of(self, member: Member, text: str, color: str | None, *, depth: int | None = None) -> None:
        named = text if member.name == APPLICATION else f"{member.name}: {text}"
        self._say(member.depth_inside if depth is None else depth, named, color)

    def _say_end(self, member: Member, well: str, error: BaseException | None, *, cancelled: bool) -> None:
        if not cancelled and error is None:
            self._say(member.depth, f"{member.name} {well}", None)
        else:
            how = "was cancelled" if error is None else f"raised {_shown(error)}"
            self._say(member.depth, f"{member.name} {how}", RED)

    def _say(self, depth: int, text: str, color: str | None) -> None:
        start = f"{_time(self._watch.now() - self._began)}  {GUIDE * depth}"
        shown = fitting(text, WIDTH - len(start))
        self._write(start + (colored(shown, color, self._colors) if color is not None else shown))


def fitting(text: str, columns: int = WIDTH) -> str:
    """Its beginning, if there is no room for all of it."""
    return text if len(text) <= columns else f"{text[: columns - 3]}..."


def _time(seconds: float) -> str:
    """In nine columns."""
    return f"{seconds * 1000:6.1f} ms" if seconds < 1 else f"{seconds:7.2f} s"


def _shown(error: BaseException) -> str:
    """The members of a group, whose own text is another one on each backend."""
    if not isinstance(error, BaseExceptionGroup):
        return shown_error(error)
    return f"a group of {', '.join(_shown(member) for member in error.exceptions)}"
