"""A server on nurseries, small enough to read at once. The tutorial explains it step by step.

    python docs/examples/tiny_server.py trio
    python docs/examples/tiny_server.py asyncio
"""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

App = Callable[[str], Awaitable[bytes]]  # the path of a request in, the body of the answer out

HEAD_SECONDS = 10.0  # for a client to say what it wants
GRACE_SECONDS = 1.0  # for requests in progress, once the server stops
FAREWELL_SECONDS = 1.0  # to tell a client why it gets no answer


# One connection.


async def serve_connection(app: App, stream: SocketStream) -> None:
    """Answer one request, and close the stream, whatever happens."""
    async with stream:
        try:
            with anyio.move_on_after(HEAD_SECONDS) as patience:
                path = await read_path(stream)
            if patience.cancelled_caught:
                await send_answer(stream, b"408 Request Timeout", b"too slow")
            else:
                await send_answer(stream, b"200 OK", await app(path))
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
                await send_answer(stream, b"503 Service Unavailable", b"the server stops")
            raise


async def read_path(stream: SocketStream) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    return head.split()[1].decode("ascii")


async def send_answer(stream: SocketStream, status: bytes, body: bytes) -> None:
    fields = b"connection: close\r\ncontent-length: %d" % len(body)
    await stream.send(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, fields, body))


# Many connections.


async def guard_connection(app: App, stream: SocketStream) -> None:
    """The boundary: what goes wrong on one connection does not reach the others."""
    try:
        await serve_connection(app, stream)
    except (anyio.BrokenResourceError, anyio.EndOfStream):
        pass  # the client has left: nobody is there to be told
    except Exception as exc:
        print("a connection failed:", repr(exc))


# From start to end.


async def serve(app: App, stop: anyio.Event, *, task_status: TaskStatus[int]) -> None:
    """Serve on a free port, which ``started`` gets, until ``stop`` is set."""
    async with open_database():  # 3. closed when nobody uses it any more
        async with anyio.create_task_group() as connections:  # 2. waits for them
            async with (
                await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
                anyio.create_task_group() as accepting,  # 1. ends first
            ):
                accepting.start_soon(listener.serve, partial(guard_connection, app), connections)
                task_status.started(listener.extra(SocketAttribute.local_port))
                await stop.wait()
                accepting.cancel_scope.cancel()
            print("server: accepts nobody new")
            connections.cancel_scope.deadline = anyio.current_time() + GRACE_SECONDS
        print("server: every connection has ended")


@asynccontextmanager
async def open_database() -> AsyncIterator[None]:
    print("database: open")
    try:
        yield
    finally:
        print("database: closed")


# A program with the server in it.


async def ask(port: int, path: str) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = b""
        async for data in stream:
            answer += data
    print(f"client: {path} ->", answer.split(b"\r\n")[0].decode() or "no answer")


async def main() -> None:
    stop, under_way = anyio.Event(), anyio.Semaphore(0)

    async def sleep(path: str) -> bytes:
        under_way.release()
        await anyio.sleep(float(path.strip("/")))
        return b"slept well"

    async with anyio.create_task_group() as nursery:
        port = await nursery.start(serve, sleep, stop)
        for path in ("/0.01", "/nonsense"):
            await ask(port, path)
            await under_way.acquire()
        for path in ("/0.2", "/60"):
            nursery.start_soon(ask, port, path)
            await under_way.acquire()
        stop.set()


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if len(sys.argv) > 1 else "trio")
