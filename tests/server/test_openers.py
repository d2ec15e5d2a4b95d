"""Which values open an application, and which are none of that."""

import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from tests.helpers.apps import hello
from trioserve._server.application.openers import is_opener, open_with, opens_with_arguments
from trioserve._types import Receive, Scope, Send


@asynccontextmanager
async def manager() -> AsyncIterator[Any]:
    yield hello


@asynccontextmanager
async def with_default(size: int = 1) -> AsyncIterator[Any]:
    yield hello


@asynccontextmanager
async def with_argument(app: Any) -> AsyncIterator[Any]:
    yield hello


async def generator() -> AsyncIterator[Any]:
    yield hello


async def generator_with_argument(app: Any) -> AsyncIterator[Any]:
    yield hello


async def generator_of_anything(*args: Any) -> AsyncIterator[Any]:
    yield hello


class Methods:
    @asynccontextmanager
    async def manager(self) -> AsyncIterator[Any]:
        yield hello

    async def generator(self) -> AsyncIterator[Any]:
        yield hello


class Manager:
    async def __aenter__(self) -> Any:
        return hello

    async def __aexit__(self, *exc_info: object) -> None: ...


class ManagedApp(Manager):
    """An application that can be used as a context manager, as some frameworks' can."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class ManagedDouble(Manager):
    """The same of ASGI 2."""

    def __call__(self, scope: Scope) -> Any: ...


class SomethingCallable(Manager):
    def __call__(self, function: Any) -> Any: ...


@functools.wraps(manager)
def wrapped() -> Any:
    return manager()


@contextmanager
def synchronous() -> Any:
    yield hello


async def coroutine_function() -> None: ...


def factory() -> Any: ...


OPENERS = [
    manager, with_default, generator, generator_of_anything, functools.partial(manager),
    functools.partial(with_argument, hello), functools.partial(functools.partial(generator_with_argument), hello),
    Methods().manager, Methods().generator, Manager(), SomethingCallable(), AsyncExitStack(),
]  # fmt: skip

OTHERS = [
    hello, functools.partial(hello), ManagedApp(), ManagedDouble(), Manager, Methods, factory, wrapped, synchronous,
    coroutine_function, "main:app", None, with_argument, generator_with_argument, asynccontextmanager,
]  # fmt: skip


@pytest.mark.parametrize("value", OPENERS)
def test_openers(value: Any) -> None:
    assert is_opener(value)
    assert not opens_with_arguments(value)


@pytest.mark.parametrize("value", OTHERS)
def test_no_openers(value: Any) -> None:
    assert not is_opener(value)


def test_openers_that_need_arguments() -> None:
    assert [value for value in OTHERS if opens_with_arguments(value)] == [with_argument, generator_with_argument]


async def test_what_a_call_returned_is_opened_too() -> None:
    for opened in (manager(), generator()):
        assert is_opener(opened)
        async with open_with(opened) as app:
            assert app is hello


@pytest.mark.parametrize("value", [value for value in OPENERS if not isinstance(value, AsyncExitStack)])
async def test_all_of_them_yield_the_application(value: Any) -> None:
    async with open_with(value) as app:
        assert app is hello


def test_a_proxy_that_cannot_be_asked() -> None:
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("working outside of a request")

        __class__ = property(__getattr__)  # type: ignore[arg-type]  # as those of werkzeug

    assert not is_opener(Proxy())
