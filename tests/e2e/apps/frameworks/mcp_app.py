"""A tool, called by a client of the same SDK in the same process."""

from mcp.client import Client
from mcp.server import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse

mcp = MCPServer("greetings")


@mcp.tool()
def greet() -> str:
    """Greet whoever asks."""
    return "hello"


@mcp.custom_route("/view", ["GET"])
async def view(request: Request) -> PlainTextResponse:
    async with Client(mcp) as client:
        result = await client.call_tool("greet")
    return PlainTextResponse(str(result.structured_content))


app = mcp.streamable_http_app()
