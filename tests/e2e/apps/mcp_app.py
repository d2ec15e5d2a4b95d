"""A server of the Model Context Protocol, made with its Python SDK, that says when a client has an event stream."""

import sys
from typing import Any

from mcp.server import MCPServer

mcp = MCPServer("calculator")


@mcp.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


mcp_app = mcp.streamable_http_app()


async def app(scope: Any, receive: Any, send: Any) -> None:
    async def say_and_send(message: Any) -> None:
        await send(message)
        if (b"content-type", b"text/event-stream") in message.get("headers", ()):
            print(f"mcp: {scope['method']} has an event stream", file=sys.stderr, flush=True)

    await mcp_app(scope, receive, say_and_send)
