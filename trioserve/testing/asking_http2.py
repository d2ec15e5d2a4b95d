"""A client that sends one request of a trial over a connection of HTTP/2, and keeps what comes back.

It speaks with prior knowledge (RFC 9113 §3.3), and its request is the first stream of the connection.
"""

from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, PingAckReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from trioserve._trial import Answer, TrialRequest
from trioserve.testing.raw_client import RawClient

__all__ = ["Http2Asking", "leave_http2"]

STREAM: Final = 1
RESET: Final = b"\0\0\4\3\0\0\0\0\1\0\0\0\x08"  # RST_STREAM of that stream with CANCEL (RFC 9113 §6.4, §7)
PING: Final = b"\0\0\x08\6\0\0\0\0\0" + b"has left"  # §6.7; the answer says that the reset was read


def leave_http2(client: RawClient) -> None:
    """Give up the request, and keep the connection, as a browser does. Returns at once."""
    client.send_nowait(RESET + PING)


class Http2Asking:
    """One request on its way."""

    def __init__(self, client: RawClient, request: TrialRequest, answer: Answer) -> None:
        self._client = client
        self._request = request
        self._answer = answer
        self._engine = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._is_over = False

    async def run(self, fields: list[tuple[str, str]], authority: str, *, whole: bool) -> None:
        """Send the request and read until its answer ends, one way or the other.

        Args:
            fields: besides the pseudo-header fields.
            whole: else the second half of the body is never sent.
        """
        request, engine = self._request, self._engine
        engine.initiate_connection()
        head = [(":method", request.method), (":scheme", "http"), (":authority", authority), (":path", request.target)]
        engine.send_headers(STREAM, head + fields, end_stream=not request.body)
        body = request.body if whole else request.body[: len(request.body) // 2]
        while not self._is_over:
            body = self._send_body(body, ends=whole)
            await self._client.send(engine.data_to_send())
            try:
                for event in engine.receive_data(await self._client.receive()):
                    self._take(event)
            except ProtocolError:
                return

    def _send_body(self, body: bytes, *, ends: bool) -> bytes:
        """As much as the windows take (RFC 9113 §5.2); returns the rest."""
        engine = self._engine
        while body and (size := min(engine.local_flow_control_window(STREAM), engine.max_outbound_frame_size)):
            part, body = body[:size], body[size:]
            engine.send_data(STREAM, part, end_stream=ends and not body)
        return body

    def _take(self, event: Event) -> None:
        answer = self._answer
        match event:
            case ResponseReceived(headers=fields):
                answer.fields = dict(fields)
                answer.status = int(answer.fields.pop(b":status"))
            case DataReceived(data=data, flow_controlled_length=length):
                answer.body += data
                self._engine.acknowledge_received_data(length, STREAM)
            case StreamEnded():
                answer.complete = self._is_over = True
            case StreamReset() | PingAckReceived():
                self._is_over = True
