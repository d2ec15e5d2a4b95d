"""What tests of WSGI share: applications, and the threads in which these call something."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["StartResponse", "answering", "here", "in_another_thread"]

T = TypeVar("T")
StartResponse = Callable[..., Any]


def answering(body: Callable[[dict[str, Any]], bytes]) -> Any:
    """An application that answers with what ``body`` makes of the environment."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        data = body(environ)
        start_response("200 OK", [("Content-Length", str(len(data)))])
        return [data]

    return app


def here(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


def in_another_thread(function: Callable[..., T], *args: Any) -> T:
    """Called in a thread of the application's own, which no event loop knows."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).result(30)
