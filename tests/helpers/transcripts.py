"""Bytes of HTTP/1.1 responses, as a client reads them (RFC 9112 §6.3)."""

import re

from trioserve._streams.memory import MemoryClient

__all__ = ["body_of", "data_of", "get", "looks_whole", "ok", "post", "receive_response", "status_of"]


def get(target: str = "/", *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "host: a", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes = b"", *fields: str, target: str = "/", length: int | None = None) -> bytes:
    """A request with a body and its ``content-length``, which may also be another one than the body's."""
    length = len(body) if length is None else length
    return get(target, f"content-length: {length}", *fields, method="POST") + body


def ok(body: bytes, *fields: str) -> bytes:
    """The server's response to an application that sent ``body`` with status 200 and no header of its own."""
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def receive_response(client: MemoryClient, *, head_only: bool = False) -> bytes:
    """One whole response; what follows it stays in the stream. ``head_only``: it answers HEAD."""
    head = await client.receive_until(b"\r\n\r\n")
    if head_only or re.match(rb"HTTP/1.1 (1..|204|304) ", head):
        return head
    if length := re.search(rb"\r\ncontent-length: (\d+)\r\n", head):
        return head + await client.receive_exactly(int(length[1]))
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        return head + await client.receive_until(b"0\r\n\r\n")
    return head + await client.receive_rest()


def looks_whole(response: bytes, client: MemoryClient) -> bool:
    """A client that has received ``response``, and nothing after it, takes it for complete (RFC 9112 §8)."""
    head, _, body = response.partition(b"\r\n\r\n")
    if length := re.search(rb"\r\ncontent-length: (\d+)", head):
        return len(body) == int(length[1])
    if b"\r\ntransfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    return not client.lost  # the end of the connection is the end of the body


def status_of(response: bytes) -> int:
    assert response.startswith(b"HTTP/1.1 "), response
    return int(response[9:12])


def body_of(response: bytes) -> bytes:
    """The body's bytes, chunks and all."""
    return response.partition(b"\r\n\r\n")[2]


def data_of(response: bytes) -> bytes:
    """Each ``x``, ``y`` and ``z`` of a body; the sizes of its chunks have none of these."""
    return bytes(byte for byte in response.partition(b"\r\n\r\n")[2] if byte in b"xyz")
