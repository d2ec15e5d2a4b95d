"""One line of advice for errors whose cause is the choice of backend. Pure; knows nothing of servers."""

from collections.abc import Iterator
from typing import Final

__all__ = ["FILE_HINT", "backend_hint", "backend_hint_in_words", "import_hint", "related"]

# What asyncio and trio say, word for word, when code that is written for them runs on the other one. Each entry is a
# type and a part of the text: the type alone is too common, and the text alone might be an application's own.
_ASYNCIO_ON_TRIO: Final = (
    (RuntimeError, "no running event loop"),
    (RuntimeError, "There is no current event loop"),
    (TypeError, "trio.run received unrecognized yield message"),
    (AttributeError, "'NoneType' object has no attribute 'create_future'"),  # asyncio.Queue and locks, without a loop
    (RuntimeError, "Cannot finalize signals outside of event loop"),  # Sanic
)
_TRIO_ON_ASYNCIO: Final = (
    (RuntimeError, "must be called from async context"),
    (RuntimeError, "Task got bad yield: <class 'trio."),
    (AttributeError, "'RunContext' object has no attribute"),  # trio.open_nursery, without trio.run
)

_WITHOUT_LOOP: Final = (
    (RuntimeError, "no running event loop"),
    (RuntimeError, "must be called from async context"),
)
_UNPATCHED_LOOP: Final = ((ValueError, "Can't patch loop of type"),)  # nest_asyncio

FILE_HINT: Final = (
    "If it should have sent a file: not every middleware knows the message http.response.pathsend; --no-sendfile does "
    "without it")

_OF_BACKEND: Final = {
    "trio": (
        _ASYNCIO_ON_TRIO, "The application uses asyncio, and this server runs on trio: try --backend asyncio"),
    "asyncio": (_TRIO_ON_ASYNCIO, "The application uses trio, and this server runs on asyncio: try --backend trio"),
}


def backend_hint(exc: BaseException, backend: str) -> str | None:
    """Advice to take the other backend, if ``exc`` shows that the application was written for it.

    The reason is often wrapped, so causes, contexts and members of exception groups count too.
    """
    signs, advice = _OF_BACKEND[backend]
    return advice if _mentions(exc, signs) else None


def import_hint(exc: BaseException) -> str | None:
    """Advice for what fails while the application is imported, because of an event loop that does not run yet."""
    if _mentions(exc, _WITHOUT_LOOP):
        return (
            "The application is imported before the event loop runs: what needs a running one belongs in its lifespan")
    if _mentions(exc, _UNPATCHED_LOOP):
        return "nest_asyncio cannot change this event loop: try --loop asyncio"
    return None


def backend_hint_in_words(text: str, backend: str) -> str | None:
    """The same for what a framework says in place of the exception that it has caught."""
    signs, advice = _OF_BACKEND[backend]
    return advice if any(words in text for _, words in signs) else None


def _mentions(exc: BaseException, signs: tuple[tuple[type[Exception], str], ...]) -> bool:
    return any(isinstance(found, kind) and _says(found, text) for found in related(exc) for kind, text in signs)


def _says(exc: BaseException, text: str) -> bool:
    """``text`` is in the message. Reads ``args``: ``str(exc)`` may be the application's code, and may raise."""
    return any(isinstance(arg, str) and text in arg for arg in exc.args)


def related(exc: BaseException | None) -> Iterator[BaseException]:
    """``exc`` and every exception behind it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [exc]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
