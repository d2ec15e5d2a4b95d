"""Runs an application's coroutine inside the connection's own task, in a context of its own.

A task per request costs 30 us; this costs 0.3 us, and there is nobody to hand messages to and fro. The driver sees
each suspension of the application, which is the moment to send what it has produced.
"""

import gc
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Protocol

import anyio

__all__ = ["await_point", "continue_as_it_is", "continue_inline", "orders_and_errors"]


class Observer(Protocol):
    """Is told when the application suspends and when it goes on; neither may raise."""

    def on_suspend(self) -> None: ...
    def on_resume(self) -> None: ...


@types.coroutine
def continue_inline(
    coro: Coroutine[Any, Any, None], trap: Any, context: Context, observer: Observer
) -> Generator[Any, Any, None]:
    """Await the rest of ``coro``, whose first step ``context.run(coro.send, None)`` came to wait at ``trap``.

    What it waits for passes through to the event loop, and what the loop answers (a cancellation too) passes back.
    ``observer`` is told whenever it waits and goes on. The first step is the caller's, because most applications
    end in it and need no generator.
    """
    resume: Callable[[Any], Any]
    answer: Any
    while True:
        observer.on_suspend()
        try:
            answer = yield trap
        except GeneratorExit:
            context.run(coro.close)
            raise
        except BaseException as exc:  # handed on, not handled: the application decides what it means
            resume, answer = coro.throw, exc
        else:
            resume = coro.send
        observer.on_resume()
        try:
            trap = context.run(resume, answer)
        except StopIteration:
            return
        finally:
            del answer  # its traceback knows this frame: a cycle


@types.coroutine
def continue_as_it_is(coro: Coroutine[Any, Any, None], trap: Any) -> Generator[Any, Any, None]:
    """The same in the context of the caller, whose own the first step was, and without an observer."""
    resume: Callable[[Any], Any]
    answer: Any
    while True:
        try:
            answer = yield trap
        except GeneratorExit:
            coro.close()
            raise
        except BaseException as exc:  # handed on, not handled
            resume, answer = coro.throw, exc
        else:
            resume = coro.send
        try:
            trap = resume(answer)
        except StopIteration:
            return
        finally:
            del answer  # its traceback knows this frame: a cycle


def orders_and_errors(exc: BaseException, *, cancelled: bool) -> tuple[BaseException | None, BaseException | None]:
    """What an application raised, in two: the order to stop, which has to go on, and the application's own errors.

    Orders are Ctrl-C and, if something was ``cancelled``, cancellation. A nursery may have put one into a group with
    the errors of others. Everything else is an error, ``SystemExit`` too: one request does not end the server.
    """
    if not cancelled:
        orders: tuple[type[BaseException], ...] = (KeyboardInterrupt, GeneratorExit)
    else:
        orders = (KeyboardInterrupt, GeneratorExit, anyio.get_cancelled_exc_class())
    if not isinstance(exc, BaseExceptionGroup):
        return (exc, None) if isinstance(exc, orders) else (None, exc)
    order: BaseException | None
    order, errors = exc.split(orders)
    while isinstance(order, BaseExceptionGroup):
        order = order.exceptions[0]
    return order, errors


_STEPS = frozenset(("async_generator_asend", "async_generator_athrow"))
_MACHINERY = frozenset(("trioserve", "anyio", "trio", "asyncio", "uvloop", "outcome"))


def await_point(coro: Coroutine[Any, Any, object]) -> str:
    """Where a coroutine stands: its innermost await outside the machinery, as ``file:line (function)``.

    It is suspended, or runs and has called, by way of the machinery, who asks.
    """
    point = "not started or finished"
    waiting: Any = coro
    if isinstance(coro, CoroutineType) and coro.cr_running:
        return _innermost_call(coro.cr_frame) or point
    while True:
        if isinstance(waiting, CoroutineType):
            frame, inner = waiting.cr_frame, waiting.cr_await
        elif isinstance(waiting, GeneratorType):
            frame, inner = waiting.gi_frame, waiting.gi_yieldfrom
        elif (generator := _stepped(waiting)) is not None:
            frame, inner = generator.ag_frame, generator.ag_await
        else:  # it may have any attribute, and mean something else by it
            return point
        point = _point(frame) or point
        waiting = inner


def _stepped(waiting: Any) -> AsyncGeneratorType[Any, Any] | None:
    """The async generator that is awaited by a step of it, such as ``anext()``: only the collector knows which."""
    if type(waiting).__name__ not in _STEPS:
        return None
    referents = gc.get_referents(waiting)
    return next((referent for referent in referents if isinstance(referent, AsyncGeneratorType)), None)


def _innermost_call(outermost: FrameType | None) -> str | None:
    """The point of the last call outside the machinery that ``outermost``, or what it called, has made."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not outermost and _point(frame) is None:
        frame = frame.f_back
    return _point(frame)


def _point(frame: FrameType | None) -> str | None:
    """``None`` inside the machinery."""
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] in _MACHINERY:
        return None
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_qualname})"
