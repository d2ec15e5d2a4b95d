"""Runs an application's coroutine inside the connection's own task, in a context of its own.

A task per request costs 30 us; this costs 0.3 us, and there is nobody to hand messages to and fro. The driver sees
each suspension of the application, which is the moment to send what it has produced.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Protocol

import anyio

__all__ = ["continue_as_it_is", "continue_inline", "orders_and_errors"]


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

    Raises:
        BaseException: what ``coro`` raises; GeneratorExit also when this generator is closed.
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

    Orders are Ctrl-C, the GeneratorExit of a coroutine that is closed and, if something was ``cancelled``,
    cancellation. A nursery may have put one into a group with the errors of others. Everything else is an error,
    ``SystemExit`` too: one request does not end the server. To be called where ``exc`` has been caught.
    """
    if isinstance(exc, GeneratorExit) and _begins_where_caught(exc):
        return exc, None
    orders: tuple[type[BaseException], ...] = (KeyboardInterrupt,)
    if cancelled:
        orders = (KeyboardInterrupt, anyio.get_cancelled_exc_class())
    if not isinstance(exc, BaseExceptionGroup):
        return (exc, None) if isinstance(exc, orders) else (None, exc)
    order: BaseException | None
    order, errors = exc.split(orders)
    while isinstance(order, BaseExceptionGroup):
        order = order.exceptions[0]
    return order, errors


def _begins_where_caught(exc: BaseException) -> bool:
    """Closing a coroutine closes what it awaits first, and then raises in its own frame, which was waiting."""
    return exc.__traceback__ is None or exc.__traceback__.tb_next is None
