"""Connexion's routes come from a description of the API."""

import tempfile
from pathlib import Path
from typing import Any

import anyio
from connexion import AsyncApp
from connexion.resolver import Resolver


async def view() -> str:
    await anyio.sleep(0.01)
    return "hello"


def thread() -> str:
    return "hello"


def operation(name: str) -> dict[str, Any]:
    return {"get": {"operationId": name, "responses": {"200": {"description": "a greeting", "content": {
        "text/plain": {"schema": {"type": "string"}}}}}}}


description = {
    "openapi": "3.0.0", "info": {"title": "greetings", "version": "1"},
    "paths": {"/view": operation("view"), "/thread": operation("thread")},
}
app = AsyncApp(__name__, specification_dir=Path(tempfile.gettempdir()))
app.add_api(description, resolver=Resolver(function_resolver={"view": view, "thread": thread}.__getitem__))
