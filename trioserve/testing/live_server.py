"""The server on a real socket, for the length of a block: beside the caller's tasks, or in a thread of its own."""

import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel

from trioserve._config import Config
from trioserve._config.addresses import shown, shown_here
from trioserve._server import Server
from trioserve._streams import Address
from trioserve._supervisor.event_loop import backend_options
from trioserve._types import AnyApp
from trioserve.testing.running import running
from trioserve.testing.virtual_time import clock_is_virtual

__all__ = ["BackgroundServer", "ServerInThread", "serve_background", "serve_in_thread"]


class BackgroundServer:
    """A running server on a real socket. ``serve_background`` makes it.

    Attributes:
        addresses: what it listens on: ``(host, port)``, or ``(path, None)``.
        url: of the first address, without a slash at its end.
    """

    def __init__(self, server: Server, config: Config, ssl_context: ssl.SSLContext | None) -> None:
        self._server = server
        self.addresses = server.addresses
        self.url = _url(server.addresses[0], config, ssl_context)

    def request_shutdown(self) -> None:
        """Begin to stop gracefully. The end of the block waits for the end of the server."""
        self._server.request_shutdown("test")


@asynccontextmanager
async def serve_background(
    app: AnyApp, *, ssl_context: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[BackgroundServer]:
    """Serve ``app`` beside the caller's tasks: ``async with serve_background(app) as server: ... server.url``.

    When the block begins, requests can come: on a free port of this machine, unless the options name an address. At its
    end the server stops gracefully.

    Args:
        app: ASGI 3, ASGI 2 or WSGI.
        ssl_context: the server speaks TLS with it.
        options: fields of ``trioserve.Config``. ``backend`` and ``loop`` have no effect: the running loop is taken.

    Raises:
        RuntimeError: the clock of the event loop is virtual. Real sockets would not wait for it.
        ConfigError, BindFailed, StartupFailed: the server could not start.
        LifespanDied, TaskCrashed: at the end of the block, the lifespan or a background task died in between.
    """
    if clock_is_virtual():
        raise RuntimeError("a real socket does not wait for a virtual clock: take open_test_server, or a real clock")
    config = _on_a_free_port(options)
    server = Server(app, config, ssl_context=ssl_context, announce=False)
    async with running(server):
        yield BackgroundServer(server, config, ssl_context)


class ServerInThread:
    """A server in a thread of its own, with an event loop of its own. ``serve_in_thread`` makes it.

    It is a context manager. Where there is no block, as in the cells of a notebook, ``start`` and ``stop`` do the same.

    Attributes:
        addresses: what it listens on, once it has been started: ``(host, port)``, or ``(path, None)``.
        url: of the first address, without a slash at its end.
    """

    def __init__(self, app: AnyApp, config: Config, ssl_context: ssl.SSLContext | None) -> None:
        self.addresses: list[Address] = []
        self.url = ""
        self._app = app
        self._config = config
        self._ssl_context = ssl_context
        self._server: Server | None = None
        self._token: anyio.lowlevel.EventLoopToken | None = None
        self._has_started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="trioserve in a thread", daemon=True)

    def start(self) -> "ServerInThread":
        """Start it, and wait until requests can come. Returns the server itself.

        Raises:
            RuntimeError: it has been started before.
            ConfigError, BindFailed, StartupFailed: the server could not start.
        """
        self._thread.start()
        self._has_started.wait()
        if self._error is not None:
            self.stop()
        return self

    def stop(self) -> None:
        """Stop it gracefully, and wait for its end. Twice is no mistake.

        Raises:
            LifespanDied, TaskCrashed: the application's lifespan or a background task died while it was running.
        """
        self._end()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __enter__(self) -> "ServerInThread":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.stop()
            return
        self._end()
        if self._error is not None:
            error.add_note(f"The server had stopped before: {self._error!r}")

    def _end(self) -> None:
        asking = threading.Thread(target=self._ask_to_stop)  # trio would not let the thread of another event loop ask
        asking.start()
        asking.join()
        self._thread.join()

    def _ask_to_stop(self) -> None:
        if self._server is not None:
            with contextlib.suppress(anyio.RunFinishedError):  # it has stopped by itself
                anyio.from_thread.run_sync(self._server.request_shutdown, "test", token=self._token)

    def _run(self) -> None:
        """The thread; what it raises is raised in the caller's."""
        try:
            options = backend_options(self._config)
            anyio.run(self._serve, backend=self._config.backend, backend_options=options)
        except BaseException as exc:
            self._error = exc
        finally:
            self._has_started.set()

    async def _serve(self) -> None:
        self._token = anyio.lowlevel.current_token()
        self._server = Server(self._app, self._config, ssl_context=self._ssl_context, announce=False)
        await self._server.serve(task_status=_Started(self._note_start))

    def _note_start(self, addresses: list[Address]) -> None:
        self.addresses = addresses
        self.url = _url(addresses[0], self._config, self._ssl_context)
        self._has_started.set()


class _Started(anyio.abc.TaskStatus[list[Address]]):
    def __init__(self, call: Callable[[list[Address]], None]) -> None:
        self._call = call

    def started(self, value: list[Address] | None = None) -> None:
        if value is not None:
            self._call(value)


def serve_in_thread(app: AnyApp, *, ssl_context: ssl.SSLContext | None = None, **options: Any) -> ServerInThread:
    """Serve ``app`` in a thread, for code that is not async: ``with serve_in_thread(app) as server: ... server.url``.

    When the block begins, requests can come: on a free port of this machine, unless the options name an address. At its
    end the server stops gracefully. Errors are raised in the caller's thread. It may be called in any thread, and where
    an event loop is running, as in Jupyter.

    Args:
        app: ASGI 3, ASGI 2 or WSGI.
        ssl_context: the server speaks TLS with it.
        options: fields of ``trioserve.Config``, ``backend`` and ``loop`` among them.

    Raises:
        ConfigError: an option is unknown or has a value it cannot have.
    """
    return ServerInThread(app, _on_a_free_port(options), ssl_context)


def _on_a_free_port(options: dict[str, Any]) -> Config:
    """Port 0, unless the options name an address."""
    config = Config.from_options(options)
    return config.replace(port=0) if config.binds_by_default and "port" not in options else config


def _url(address: Address, config: Config, ssl_context: ssl.SSLContext | None) -> str:
    scheme = "http" if ssl_context is None and config.ssl_certfile is None else "https"
    return shown_here(address, scheme) or shown(address, scheme)
