"""The functions of ``trioserve.extensions``: what they take, what FastAPI makes of them, and other servers."""

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import anyio
import fastapi
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.helpers.serving import seconds_passed, serving
from tests.helpers.transcripts import body_of, get, status_of
from tests.helpers.ws_client import open_websocket
from trioserve.extensions import (
    ExtensionMissing,
    RequestScope,
    Tasks,
    background_tasks,
    request_of,
    request_scope,
    tasks_of,
)

LOOK_UPS: list[Callable[[Any], Any]] = [request_of, tasks_of]


# -- Starlette -------------------------------------------------------------------------------------------------------


async def test_a_request_of_starlette() -> None:
    ended = anyio.Event()

    async def work() -> None:
        await anyio.sleep(60)
        ended.set()

    async def endpoint(request: Request) -> PlainTextResponse:
        tasks_of(request).start(work)
        request_of(request).deadline = anyio.current_time() + 5
        await anyio.sleep_forever()
        return PlainTextResponse()

    async with serving(Starlette(routes=[Route("/", endpoint)])) as site:
        with seconds_passed() as elapsed:
            assert status_of(await site.everything_after(get())) == 504
        assert elapsed.seconds == 5
        await ended.wait()


async def test_a_websocket_of_starlette() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        request_of(websocket).cancel("test")
        await websocket.receive_text()

    async with serving(Starlette(routes=[WebSocketRoute("/", endpoint)])) as site:
        client = await open_websocket(site)
        assert await client.receive_close() == 1001


# -- FastAPI ---------------------------------------------------------------------------------------------------------


def make_app() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.get("/deadline")
    async def deadline(request: Annotated[RequestScope, fastapi.Depends(request_scope)]) -> float:
        return request.deadline - anyio.current_time()

    @app.get("/tasks")
    async def tasks(tasks: Annotated[Tasks, fastapi.Depends(background_tasks)]) -> list[str]:
        tasks.start(anyio.sleep, 1, name="nap")
        return [task.name for task in tasks.running()]

    @app.websocket("/ws")
    async def ws(
        websocket: fastapi.WebSocket, request: Annotated[RequestScope, fastapi.Depends(request_scope)]
    ) -> None:
        await websocket.accept()
        request.deadline = anyio.current_time() + 5
        await websocket.receive_text()

    return app


async def test_what_fastapi_passes() -> None:
    async with serving(make_app(), timeout_request=60) as site:
        with seconds_passed() as elapsed:
            assert body_of(await site.answer_to(get("/deadline"))) == b"60.0"
            assert body_of(await site.answer_to(get("/tasks"))) == b'["nap"]'
        assert elapsed.seconds == 0  # in the event loop: a thread would let the virtual clock jump
        client = await open_websocket(site, target="/ws")
        assert await client.receive_close() == 1001


async def test_what_fastapi_passes_is_no_part_of_the_schema() -> None:
    operations = make_app().openapi()["paths"]
    assert "parameters" not in operations["/deadline"]["get"]
    assert "parameters" not in operations["/tasks"]["get"]


# -- other servers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look_up", LOOK_UPS)
@pytest.mark.parametrize("scope", [{"type": "http"}, {"type": "http", "extensions": None}, {"extensions": {"tls": {}}}])
def test_another_server(look_up: Callable[[Any], Any], scope: dict[str, Any]) -> None:
    with pytest.raises(ExtensionMissing, match=r"does not offer the extension 'trioserve\.\w+': serve the application"):
        look_up(scope)


async def test_fastapi_on_another_server() -> None:
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with pytest.raises(ExtensionMissing):
            await client.get("/deadline")


@pytest.mark.parametrize("look_up", LOOK_UPS)
@pytest.mark.parametrize("source", [None, "scope", object(), type("HasScope", (), {"scope": 7})()])
def test_what_has_no_scope(look_up: Callable[[Any], Any], source: Any) -> None:
    with pytest.raises(TypeError, match="neither an ASGI scope nor an object that has one"):
        look_up(source)


def test_the_module_needs_no_framework_and_no_server() -> None:
    program = "import sys, trioserve.extensions; print({'starlette', 'fastapi', 'anyio', 'trio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "set()\n"
