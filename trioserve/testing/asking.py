"""A client that sends what a trial sends, over HTTP/1.1, HTTP/2 or a WebSocket, and keeps what comes back."""

from typing import Final

import anyio
import h11

from trioserve._trial import Answer, TrialRequest
from trioserve.testing.raw_client import RawClient
from trioserve.testing.websocket_client import WebSocketClient, WebSocketClosed, WebSocketRefused, open_websocket

__all__ = ["ask", "leave"]

HOST: Final = "testserver"
MOST_MESSAGES: Final = 20  # that are taken of a WebSocket, which may never end by itself
NORMAL, NO_CODE, ABNORMAL = 1000, 1005, 1006  # close codes (RFC 6455 §7.4.1); the last one: there was no close frame


async def ask(
    client: RawClient, request: TrialRequest, answer: Answer, *, whole: bool = True, silence: float = 30.0
) -> None:
    """Send ``request`` and read until the answer ends, one way or the other; ``answer`` has what has come so far.

    Args:
        whole: else the second half of the request's body is never sent.
        silence: seconds without a message after which a WebSocket has said all that it has to say, and is closed.
    """
    try:
        if request.is_websocket:
            await _converse(client, request, answer, silence)
        elif request.over_http2:
            from trioserve.testing.asking_http2 import Http2Asking  # needs the extra [http2]

            await Http2Asking(client, request, answer).run(_fields(request), HOST, whole=whole)
        else:
            await _ask_http(client, request, answer, whole)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, h11.RemoteProtocolError):
        return  # the connection has ended in the middle


def leave(client: RawClient, request: TrialRequest) -> None:
    """Give up ``request``: its connection is reset, or on HTTP/2 its stream. Returns at once."""
    if request.over_http2 and not client.is_closed:
        from trioserve.testing.asking_http2 import leave_http2

        leave_http2(client)
    else:
        client.reset()


async def _ask_http(client: RawClient, request: TrialRequest, answer: Answer, whole: bool) -> None:
    codec = h11.Connection(h11.CLIENT)
    head = h11.Request(method=request.method, target=request.target, headers=[("host", HOST), *_fields(request)])
    data = codec.send(head) + request.body
    codec.send(h11.Data(data=request.body))
    codec.send(h11.EndOfMessage())
    await client.send(data if whole else data[: len(data) - (len(request.body) + 1) // 2])
    while True:
        event = codec.next_event()
        if event is h11.NEED_DATA:
            codec.receive_data(await _received(client))
        elif isinstance(event, h11.Response):
            answer.status, answer.fields = event.status_code, dict(event.headers)
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            answer.complete = True
            return
        elif isinstance(event, h11.ConnectionClosed):
            return


async def _received(client: RawClient) -> bytes:
    """What comes next; ``b""`` at the end, which may be the end of an answer, too."""
    try:
        return await client.receive()
    except anyio.EndOfStream:
        return b""


def _fields(request: TrialRequest) -> list[tuple[str, str]]:
    fields = [("user-agent", "trioserve"), ("accept", "*/*")]
    if request.body:
        looks_like_json = request.body[:1] in b"{["
        fields += [("content-type", "application/json" if looks_like_json else "text/plain; charset=utf-8")]
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        fields += [("content-length", str(len(request.body)))]
    return fields


async def _converse(client: RawClient, request: TrialRequest, answer: Answer, silence: float) -> None:
    """Open a WebSocket, send the message if there is one, listen, close."""
    try:
        async with open_websocket(client, client, request.target, {}, (), False) as websocket:
            answer.status = 101
            if request.body:
                await websocket.send(request.body.decode())
            await _listen(websocket, answer, silence)
            await websocket.close()
            _note_end(answer, websocket.close_code)
    except WebSocketRefused as exc:
        answer.status, answer.fields, answer.body, answer.complete = exc.status, dict(exc.headers), exc.body, True
    except WebSocketClosed as exc:
        _note_end(answer, exc.code)


def _note_end(answer: Answer, close_code: int | None) -> None:
    answer.complete = close_code != ABNORMAL
    if close_code not in (None, NORMAL, NO_CODE, ABNORMAL):
        answer.close_code = close_code


async def _listen(websocket: WebSocketClient, answer: Answer, silence: float) -> None:
    while len(answer.messages) < MOST_MESSAGES:
        with anyio.move_on_after(silence) as waiting:
            answer.messages.append(await websocket.receive())
        if waiting.cancelled_caught:
            return
