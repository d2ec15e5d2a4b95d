"""A server beside a block of code: its task, its end, and whose error is raised."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from trioserve._errors import TrioserveError
from trioserve._server import Server
from trioserve._streams import Address

__all__ = ["running"]


@asynccontextmanager
async def running(server: Server, on_stopped: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """``server`` serves for the length of a block, then stops gracefully. No task group wraps what is raised.

    An error of the block comes first; what has stopped the server is its cause then.

    Raises:
        TrioserveError: the server could not start; or, at the end of the block, it has stopped with an error.
    """
    failure: TrioserveError | None = None
    error: BaseException | None = None

    async def serve(*, task_status: anyio.abc.TaskStatus[list[Address]]) -> None:
        nonlocal failure
        try:
            await server.serve(task_status=task_status)
        except TrioserveError as exc:
            failure = exc
            if not server.addresses:  # nobody has been told of a start
                task_status.started([])
        finally:
            on_stopped()

    async with anyio.create_task_group() as nursery:
        await nursery.start(serve)
        if failure is None:
            try:
                yield
            except (GeneratorExit, anyio.get_cancelled_exc_class()):
                raise
            except BaseException as exc:
                error = exc
            nursery.cancel_scope.cancel()
    if error is not None and failure is not None:
        raise error from failure
    if error is not None:
        raise error
    if failure is not None:
        raise failure
