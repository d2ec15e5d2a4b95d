"""A WSGI application (PEP 3333) as an ASGI one: each call runs in a thread, on either backend.

anyio's threads do the work, so the bridge is small: request body and response pass through ``receive`` and ``send`` as
the application reads and writes, and a slow client makes the application wait. It may read and write in other threads
than that of its call: ``async def`` views of Flask and Django do.
"""

import io
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from trioserve._errors import AppError, ClientDisconnected
from trioserve._types import Message, Receive, Scope, Send

__all__ = ["WsgiApp"]

T = TypeVar("T")
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
BODY_BUFFER_BYTES: Final = 64 * 1024  # of wsgi.input: one hop between thread and event loop for as much

# A proxy may have checked one spelling of a field, while CGI's names cannot tell X-User from X_User: drop the latter.
# HTTP_PROXY would be taken for a setting by HTTP clients inside the application (CVE-2016-5385). What wsgi.input gives
# is no longer chunked, and applications that are told of chunks look for them.
_DROPPED: Final = (b"proxy", b"transfer-encoding")


class WsgiApp:
    """ASGI 3 in front of WSGI. There is no lifespan, as WSGI knows none."""

    def __init__(self, app: Any, threads: int) -> None:
        self._app = app
        self._threads = anyio.CapacityLimiter(threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. When it is cancelled, the thread is left to itself until it next reads or writes.

        A WebSocket is refused, by returning.

        Raises:
            NotImplementedError: the scope is neither.
        """
        if scope["type"] == "websocket":
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"WSGI has no {scope['type']}")
        failure: BaseException | None = None
        async with anyio.create_task_group() as nursery:
            errands = _Errands(nursery)
            call = _Call(scope, receive, send, errands)
            _open_errands.add(errands)
            try:
                await anyio.to_thread.run_sync(call.run, self._app, abandon_on_cancel=True, limiter=self._threads)
            except (Exception, SystemExit) as exc:  # raised below, where no task group wraps it
                failure = exc
            finally:
                _open_errands.discard(errands)
                errands.end()
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # it holds this frame, by its traceback


class _Errands:
    """What threads have the event loop do for one request: children of the request's nursery, which end with it."""

    def __init__(self, nursery: anyio.abc.TaskGroup) -> None:
        self._nursery = nursery
        self._token = anyio.lowlevel.current_token()
        self._thread = threading.get_ident()  # the event loop's
        self._in_progress = 0
        self._ended = False

    def run(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Wait, in any thread, until the event loop has awaited ``function(*args)``; what that raises is raised here.

        Raises:
            ClientDisconnected: the request has ended, or ends meanwhile.
            AppError: called in the event loop's own thread, which would wait for itself.
        """
        if threading.get_ident() == self._thread:
            raise AppError("WSGI's input and write() block, and were called in the thread of the server's event loop")
        if self._ended:  # not a moment later: a loop that is about to close forgets what it is asked
            raise _request_ended()
        future: Future[T] = Future()
        try:
            anyio.from_thread.run_sync(self._begin, future, function, args, token=self._token)
        except anyio.RunFinishedError:
            raise _request_ended() from None
        return future.result()

    def _begin(self, future: Future[T], function: Callable[..., Awaitable[T]], args: tuple[object, ...]) -> None:
        if self._ended:
            raise _request_ended()
        self._in_progress += 1
        self._nursery.start_soon(self._carry_out, future, function, args)

    async def _carry_out(
        self, future: Future[T], function: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> None:
        try:
            future.set_result(await function(*args))
        except Exception as exc:
            future.set_exception(exc)
        except BaseException:
            future.set_exception(_request_ended())
            raise
        finally:
            self._in_progress -= 1

    @property
    def is_waited_for(self) -> bool:
        """The event loop of this thread waits for the application, which does not wait for the loop."""
        return self._thread == threading.get_ident() and not self._in_progress

    def end(self) -> None:
        """The request has ended: nothing begins any more, and who still waits is told."""
        self._ended = True
        if self._in_progress:
            self._nursery.cancel_scope.cancel()


_open_errands: set[_Errands] = set()


def threads_at_work() -> int:
    """How many threads of applications this thread's event loop waits for. For the virtual clocks of tests."""
    return sum(errands.is_waited_for for errands in _open_errands)


def _request_ended() -> ClientDisconnected:
    return ClientDisconnected("the request has ended: there is nothing more to read, and nobody to write to")


class _Call:
    """One request, in its thread."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, errands: _Errands) -> None:
        self._environ = _environ(scope, io.BufferedReader(_RequestBody(receive, errands), BODY_BUFFER_BYTES))
        self._send = send
        self._errands = errands
        self._start: Message | None = None
        self._started = False  # the head has been sent
        self._body_left: int | None = None  # of a declared content-length
        self._ended = False

    def run(self, app: Any) -> None:
        """Call the application and send what it returns, block by block."""
        blocks: Iterable[bytes] = app(self._environ, self._start_response)
        try:
            more = not _is_one_block(blocks)
            for block in blocks:
                if block:
                    self._write(block, more=more)
            if not self._ended:
                self._write(b"", more=False)
        finally:
            close: Callable[[], object] | None = getattr(blocks, "close", None)
            if close is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """Keep the head until there is a body, so that an error can still replace it (PEP 3333, start_response)."""
        if exc_info is None and self._start is not None:
            raise AppError("start_response was called twice, the second time without exc_info")
        if exc_info is not None and self._started:
            raise exc_info[1].with_traceback(exc_info[2])
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        lengths = [int(value) for name, value in fields if name == b"content-length" and value.isdigit()]
        self._body_left = lengths[0] if lengths else None
        self._start = {"type": "http.response.start", "status": int(status[:3]), "headers": fields}
        return self._write

    def _write(self, block: bytes, *, more: bool = True) -> None:
        """Send a block, and the head before the first one; with a known length the last block ends the response."""
        if self._start is None:
            raise AppError("the WSGI application sent a body without calling start_response")
        if self._body_left is not None:
            self._body_left -= len(block)
            more = more and self._body_left > 0
        messages = [] if self._started else [self._start]
        messages.append({"type": "http.response.body", "body": block, "more_body": more})
        self._started, self._ended = True, not more
        self._errands.run(self._send_all, messages)

    async def _send_all(self, messages: list[Message]) -> None:
        for message in messages:
            await self._send(message)


def _is_one_block(blocks: Iterable[bytes]) -> bool:
    """The first block is the whole body, so its length is known (PEP 3333, "Handling the Content-Length Header")."""
    try:
        return len(blocks) == 1  # type: ignore[arg-type]  # most that have a length are lists
    except (TypeError, AttributeError, NotImplementedError):  # those that wsgiref knows of
        return False


class _RequestBody(io.RawIOBase):
    """The request body as a file, for whatever thread reads it."""

    def __init__(self, receive: Receive, errands: _Errands) -> None:
        self._receive = receive
        self._errands = errands
        self._data = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As ``io.RawIOBase`` says. Raises ClientDisconnected when the body will not be completed."""
        while not self._data and not self._ended:
            message = self._errands.run(self._receive)
            if message["type"] == "http.disconnect":
                raise ClientDisconnected("nothing more comes of the request body, and it is incomplete")
            self._data = message["body"]
            self._ended = not message["more_body"]
        size = min(len(buffer), len(self._data))
        buffer[:size] = self._data[:size]
        self._data = self._data[size:]
        return size


def _environ(scope: Scope, body: io.BufferedReader) -> dict[str, Any]:
    """The environment of PEP 3333: bytes are spelled as Latin-1 text there."""
    root_path = scope["root_path"].encode()
    path = unquote_to_bytes(scope["raw_path"]).removeprefix(root_path)
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    host, port = scope["server"] or ("", None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root_path.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": target,  # Apache's name for the target as it came
        "RAW_URI": target,  # gunicorn's
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host if port is not None else "localhost",
        "SERVER_PORT": str(port if port is not None else 443 if scope["scheme"] == "https" else 80),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,  # reading ends by itself, also without a content-length
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope["client"] is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1] or "")
    for name, value in scope["headers"]:
        if b"_" not in name and name not in _DROPPED:
            _add_field(environ, name.decode("latin-1").upper().replace("-", "_"), value.decode("latin-1"))
    return environ


def _add_field(environ: dict[str, Any], name: str, value: str) -> None:
    """A field that is there twice is joined, cookies in their own way (RFC 9110 §5.3, RFC 6265 §5.4)."""
    key = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
    separator = "; " if name == "COOKIE" else ","
    environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
