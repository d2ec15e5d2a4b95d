"""Which values are async context managers that yield an application, and how such a value is opened.

Neither an application nor a factory is taken for one. The call of an async generator function, and of what
``asynccontextmanager`` makes of one, can never be awaited, so it is no application; and it returns none, so it is no
factory. An object is taken for a context manager only if it shows no interface of an application.
"""

import functools
import inspect
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import AsyncGeneratorType, FunctionType, MethodType
from typing import Any, Final

from trioserve._server.application.interface import can_take, interface_of, signature_of

__all__ = ["is_opener", "open_with", "opens_with_arguments"]


@asynccontextmanager
async def _sample() -> AsyncGenerator[None, None]:
    yield  # pragma: no cover  # nobody opens it


_MADE_BY_CONTEXTLIB: Final = getattr(_sample, "__code__")  # noqa: B009  # all that ``asynccontextmanager`` returns share it


def is_opener(value: Any) -> bool:
    """``value`` opens an application: a function that can be called without arguments, or what such a call returns."""
    if _is_function(value):
        return can_take(signature_of(value), 0)
    return _is_a(value, AsyncGeneratorType) or (_is_manager(value) and not _is_application(value))


def opens_with_arguments(value: Any) -> bool:
    """``value`` would be one, if it did not need arguments."""
    return _is_function(value) and not can_take(signature_of(value), 0)


def open_with(opener: Any) -> AbstractAsyncContextManager[Any]:
    """The context manager behind an opener. What is no function can be opened once."""
    opened = opener() if _is_function(opener) else opener
    manager: AbstractAsyncContextManager[Any] = (
        asynccontextmanager(lambda: opened)() if _is_a(opened, AsyncGeneratorType) else opened)
    return manager


def _is_a(value: Any, *kinds: type) -> bool:
    return issubclass(type(value), kinds)  # not isinstance: some proxies raise when they are asked


def _is_function(value: Any) -> bool:
    while _is_a(value, functools.partial):
        value = value.func
    return _is_a(value, FunctionType, MethodType) and (
        inspect.isasyncgenfunction(value) or getattr(value, "__code__", None) is _MADE_BY_CONTEXTLIB)


def _is_manager(value: Any) -> bool:
    return hasattr(type(value), "__aenter__") and hasattr(type(value), "__aexit__")


def _is_application(value: Any) -> bool:
    return callable(value) and interface_of(value) is not None
