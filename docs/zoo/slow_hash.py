"""A password that is hashed in the event loop, which takes long on purpose."""

import hashlib
from typing import Any

import anyio.to_thread

ROUNDS = 2_000_000


def hashed(password: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, b"a salt", ROUNDS)


async def answer(send: Any, digest: bytes) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": digest.hex().encode()})


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    digest = hashed(scope["query_string"])
    await answer(send, digest)


async def mended(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    digest = await anyio.to_thread.run_sync(hashed, scope["query_string"])
    await answer(send, digest)
