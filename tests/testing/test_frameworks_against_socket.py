"""Applications of frameworks in memory and on a real socket, asked by httpx: the answers are the same.

The applications are those of the end-to-end tests: one with what FastAPI's tutorial teaches, one with Starlette's
responses, requests and middleware.
"""

import ssl
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.helpers.certificates import client_context, files_of, server_certificate
from tests.helpers.places import PLACES, load_app

pytestmark = pytest.mark.real_clock

HEADERS: Final = {"host": "shop", "user-agent": "test"}
PICTURE: Final = bytes(range(256)) * 5000
Request = tuple[str, str, dict[str, Any]]

FASTAPI: Final[list[Request]] = [
    ("GET", "/items/7", {"params": {"q": "ein Wort, größer"}}),
    ("GET", "/items/seven", {}),
    ("GET", "/items/404", {}),
    ("DELETE", "/items/7", {}),
    ("POST", "/items", {"json": {"name": "kettle", "price": 3, "tags": ["kitchen"]}}),
    ("POST", "/items", {"json": {"name": "kettle", "price": -1}}),
    ("POST", "/items", {"content": b"{"}),
    ("POST", "/form", {"data": {"name": "picture"}, "files": {"upload": ("a.bin", PICTURE)}}),
    ("GET", "/source", {}),
    ("GET", "/source", {"headers": {"range": "bytes=3-9"}}),
    ("HEAD", "/source", {}),
    ("GET", "/stream", {}),
    ("GET", "/sync", {}),
    ("GET", "/dependency", {"params": {"token": "a"}}),
    ("GET", "/state", {}),
    ("GET", "/fail", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/docs", {}),
    ("GET", "/nowhere", {}),
]
STARLETTE: Final[list[Request]] = [
    ("GET", "/file", {}),
    ("GET", "/file", {"headers": {"range": "bytes=100-"}}),
    ("HEAD", "/file", {}),
    ("GET", "/missing", {}),
    ("GET", "/static/file.bin", {}),
    ("GET", "/static/nothing", {}),
    ("GET", "/stream", {}),
    ("GET", "/fail", {}),
    ("GET", "/fail_midway", {}),
    ("POST", "/read_stream", {"content": PICTURE}),
    ("GET", "/read_stream", {}),
    ("GET", "/text", {}),
    ("GET", "/text", {"headers": {"accept-encoding": "gzip"}}),
    ("GET", "/nowhere", {}),
]
OF_A_FILE_THAT_IS_MADE_ANEW: Final = {"etag", "last-modified"}


async def answers_to(requests: list[Request], client: httpx.AsyncClient) -> list[Any]:
    """Status, fields and body of each answer, or what is raised instead."""
    answers: list[Any] = []
    for method, url, arguments in requests:
        try:
            answer = await client.request(method, url, **arguments)
        except httpx.HTTPError as exc:
            answers.append(type(exc))
        else:
            fields = [pair for pair in answer.headers.multi_items() if pair[0] not in OF_A_FILE_THAT_IS_MADE_ANEW]
            answers.append((answer.http_version, answer.status_code, fields, answer.content))
    return answers


def context_for_any_host() -> ssl.SSLContext:
    """The server in memory has another name than the one on a socket."""
    context = client_context()
    context.check_hostname = False
    return context


async def answers_in_both(
    name: str, requests: list[Request], *, http2: bool = False, tls: bool = False, **options: Any
) -> list[tuple[list[Any], list[str]]]:
    """In memory, and over a socket: the answers, and the access lines."""
    found = []
    for serve in PLACES:
        async with serve(load_app(name), http2=http2, **options) as place:
            context = context_for_any_host() if tls else None
            async with place.client(http2=http2, ssl_context=context, headers=HEADERS, timeout=30) as client:
                answers = await answers_to(requests, client)
        found.append((answers, place.lines))
    return found


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize(("name", "tls"), [
    ("fastapi_app:app", False), ("fastapi_app:app", True), ("starlette_app:app", False), ("starlette_app:app", True),
    ("starlette_app:wrapped", False), ("starlette_app:compressing", False)])
async def test_frameworks(name: str, tls: bool, http2: bool, tmp_path: Path) -> None:
    requests = FASTAPI if name.startswith("fastapi") else STARLETTE
    cert, key = files_of(server_certificate(), tmp_path)
    options = {"ssl_certfile": str(cert), "ssl_keyfile": str(key)} if tls else {}
    (in_memory, its_lines), (on_socket, other_lines) = await answers_in_both(
        name, requests, http2=http2, tls=tls, **options)
    for request, one, other in zip(requests, in_memory, on_socket, strict=True):
        assert one == other, request
    assert its_lines == other_lines
    assert len(its_lines) == len(requests)
