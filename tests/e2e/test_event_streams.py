"""Open event streams do not hold up the end of the server, whatever library they are made with."""

import signal
from contextlib import ExitStack

import anyio
import httpx
import pytest
from mcp.client import Client
from mcp.client.subscriptions import SubscriptionLost

from tests.helpers.server_process import GENERATORS_LEFT_BEHIND, Flavour, serve

LIBRARIES = ("sse-starlette", "starlette", "fastapi", "litestar")
WITHOUT_A_DEADLINE = ("--timeout-graceful-shutdown", "off")  # so nothing but the end of the stream ends the server


@pytest.fixture
def anyio_backend() -> str:
    """Of the clients: on trio, that of MCP leaves generators to the garbage collector, which warns."""
    return "asyncio"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_open_event_streams_end_with_the_server(loop: Flavour, number: signal.Signals) -> None:
    with serve("event_streams:app", loop, *WITHOUT_A_DEADLINE, python_options=GENERATORS_LEFT_BEHIND) as server:
        with ExitStack() as opened:
            client = opened.enter_context(httpx.Client(trust_env=False, follow_redirects=True, timeout=30))
            streams = [opened.enter_context(client.stream("GET", f"{server.url}/{name}")) for name in LIBRARIES]
            ticking = [stream.iter_lines() for stream in streams]
            for lines in ticking:
                assert "tick" in next(line for line in lines if line.startswith("data:"))
            server.send_signal(number)
            for lines in ticking:
                with pytest.raises(httpx.RemoteProtocolError):  # seen to be cut short: an EventSource connects again
                    list(lines)
        server.judge_end()
        server.stderr.wait_for("events: closed", times=len(LIBRARIES))
        server.stderr.wait_for("events: lifespan ended")


async def test_an_mcp_client_does_not_hold_up_its_server(loop: Flavour) -> None:
    """It has a stream open for what the server may have to say."""
    with serve("mcp_app:app", loop, *WITHOUT_A_DEADLINE) as server:
        async with Client(f"{server.url}/mcp", mode="legacy") as client:
            assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}
            await anyio.to_thread.run_sync(server.stderr.wait_for, "mcp: GET has an event stream")
            server.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(server.judge_end)


async def test_an_mcp_subscription_does_not_either(loop: Flavour) -> None:
    """Since 2026 the protocol asks with POST, as for an answer that has an end."""
    options = (*WITHOUT_A_DEADLINE, "--shutdown-event-streams", "all")
    with serve("mcp_app:app", loop, *options) as server:
        async with Client(f"{server.url}/mcp") as client, client.listen(tools_list_changed=True) as subscription:
            server.send_signal(signal.SIGTERM)
            with pytest.raises(SubscriptionLost):
                async for event in subscription:
                    raise AssertionError(event)
            await anyio.to_thread.run_sync(server.judge_end)
