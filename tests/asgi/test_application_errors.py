"""What is left of an exception as the application's own error, when the client may have gone (ASGI HTTP 2.4)."""

from collections.abc import AsyncIterator
from typing import Any, Self

import anyio
import anyio.lowlevel
import fastapi
import pytest
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse

from tests.helpers.response_reading import head_of
from trioserve._asgi import ScopeFactory
from trioserve._errors import ClientDisconnected, application_errors


class Theirs(Exception):
    """A framework's own word for a client that has left."""


def disconnected() -> ClientDisconnected:
    return ClientDisconnected("gone")


def raised_from(cause: BaseException) -> Exception:
    error = Theirs("from")
    error.__cause__ = cause
    return error


def raised_while(context: BaseException) -> Exception:
    error = Theirs("while")
    error.__context__ = context
    return error


def group(*members: Exception) -> Exception:
    return ExceptionGroup("several", members)


def leaves(exc: BaseException | None) -> list[str]:
    """The text of each exception that is no group."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for each in exc.exceptions for leaf in leaves(each)]
    return [] if exc is None else [str(exc)]


def bug_while(context: BaseException, cause: BaseException | None = None) -> Exception:
    """As a clean-up raises it while the application is ended by ``context``."""
    error = NameError("bug")
    error.__context__ = context
    error.__cause__ = cause
    return error


def word_while(word: Exception) -> Exception:
    word.__context__ = disconnected()
    return word


BUG = KeyError("bug")
CIRCLE = raised_from(raised_from(ValueError()))
assert CIRCLE.__cause__ is not None
CIRCLE.__cause__.__cause__ = CIRCLE


def raised_out_of_group(error: Exception, *others: Exception) -> Exception:
    """As Starlette raises the only member of a group: each has led to the other."""
    error.__context__ = group(error, *others)
    return error


@pytest.mark.parametrize("exc", [
    pytest.param(disconnected(), id="alone"),
    pytest.param(raised_while(disconnected()), id="context"),
    pytest.param(raised_from(disconnected()), id="cause"),
    pytest.param(raised_from(raised_while(raised_from(disconnected()))), id="chain"),
    pytest.param(raised_while(group(disconnected())), id="raised while handling a group of it"),
    pytest.param(raised_while(group(raised_from(disconnected()), disconnected())), id="of more of that"),
    pytest.param(group(disconnected()), id="group"),
    pytest.param(group(disconnected(), disconnected()), id="group of two"),
    pytest.param(group(raised_while(disconnected())), id="fastapi.sse"),
    pytest.param(group(group(disconnected()), group(group(raised_from(disconnected())))), id="nested"),
    pytest.param(raised_out_of_group(raised_from(disconnected())), id="raised out of a group"),
    pytest.param(raised_while(word_while(group(ValueError("theirs")))), id="behind a group of others"),
    pytest.param(word_while(RuntimeError("download failed")), id="RuntimeError"),
    pytest.param(word_while(TimeoutError("download failed")), id="OSError"),
    pytest.param(bug_while(disconnected(), cause=disconnected()), id="said to be the cause"),
])  # fmt: skip
def test_nothing_is_left_when_the_client_has_left(exc: BaseException) -> None:
    assert application_errors(exc, client_left=True) is None


@pytest.mark.parametrize("exc", [disconnected(), group(disconnected()), group(group(disconnected()), disconnected())])
def test_client_disconnected_itself_is_never_an_error(exc: BaseException) -> None:
    assert application_errors(exc, client_left=False) is None


@pytest.mark.parametrize("exc", [
    raised_while(disconnected()), raised_from(disconnected()), group(raised_from(disconnected())),
])  # fmt: skip
def test_what_follows_it_is_an_error_while_the_client_is_there(exc: BaseException) -> None:
    assert application_errors(exc, client_left=False) is exc


@pytest.mark.parametrize("client_left", [False, True])
@pytest.mark.parametrize("exc", [
    BUG, raised_from(BUG), group(BUG), group(group(BUG)), CIRCLE, raised_while(group(BUG, disconnected())),
    raised_out_of_group(ValueError("bug")), raised_out_of_group(ValueError("bug"), disconnected()),
    group(raised_out_of_group(raised_from(raised_out_of_group(ValueError("bug"))))),
    BaseExceptionGroup("several", [BUG, KeyboardInterrupt()]),
    bug_while(disconnected()), bug_while(raised_while(disconnected())), bug_while(group(disconnected())),
    group(bug_while(disconnected())), raised_while(bug_while(disconnected())), raised_from(bug_while(disconnected())),
], ids=repr)  # fmt: skip
def test_what_has_another_origin_is_left_as_it_is(exc: BaseException, client_left: bool) -> None:
    assert application_errors(exc, client_left=client_left) is exc


def test_of_a_group_the_rest_is_left() -> None:
    exc = group(disconnected(), BUG, group(raised_from(disconnected()), ValueError("inner")), group(disconnected()))
    assert leaves(application_errors(exc, client_left=True)) == ["'bug'", "inner"]
    assert leaves(application_errors(exc, client_left=False)) == ["'bug'", "from", "inner"]


@pytest.mark.parametrize("client_left", [False, True])
def test_members_are_not_judged_by_the_context_of_their_group(client_left: bool) -> None:
    """A task group on asyncio is left while its body's exception is handled, whatever its children raise."""
    exc = group(BUG, disconnected())
    exc.__context__ = disconnected()
    assert leaves(application_errors(exc, client_left=client_left)) == ["'bug'"]


# -- real applications -------------------------------------------------------------------------------------------------

app = fastapi.FastAPI()


@app.get("/sse", response_class=EventSourceResponse)
async def sse() -> AsyncIterator[int]:
    for number in range(1000):
        yield number
        await anyio.sleep(0.01)


@app.get("/burst", response_class=EventSourceResponse)
async def burst() -> AsyncIterator[int]:
    for number in range(1000):
        yield number


class Parts:
    """No generator, because Starlette leaves those unfinished."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()
        return b"part"


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(Parts())


@pytest.mark.parametrize("is_told", [False, True], ids=["not told", "told"])
@pytest.mark.parametrize("sent", [0, 1, 2, 10])
@pytest.mark.parametrize("path", ["/sse", "/burst", "/stream"])
async def test_a_browser_tab_that_is_closed_is_no_error(path: str, sent: int, is_told: bool) -> None:
    """What comes out of the application on trio is a group, on asyncio too, and Starlette's own exception is in it."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    left, gone = sent, anyio.Event()

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal left
        await anyio.lowlevel.checkpoint()
        left -= 1
        if left < 0:
            if is_told:
                gone.set()
            raise ClientDisconnected("gone")

    scopes = ScopeFactory(scheme="http", client=None, server=None, root_path="", state=None)
    try:
        await app(scopes.http(head_of(target=path)), receive, send)
    except Exception as exc:
        assert application_errors(exc, client_left=True) is None
    assert left < 0
