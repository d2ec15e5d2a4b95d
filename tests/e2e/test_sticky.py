"""HAProxy as the guide has it: a client comes back to the instance that it has got first."""

import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.helpers.proxies import Place, haproxy_sticky, run_proxy
from tests.helpers.server_process import Flavour, ServerProcess, serve

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs Debian's proxies")


def server_of(client: httpx.Client, url: str) -> list[object]:
    """The address of the instance that has answered."""
    found: list[object] = client.get(url).json()["server"]
    return found


def test_a_client_stays_with_its_instance(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers: list[ServerProcess] = [
            stack.enter_context(serve("origin:app", flavour)) for flavour in (Flavour("trio"), Flavour("asyncio"))]
        place = Place(tmp_path, [server.address[1] for server in servers])
        stack.enter_context(run_proxy(haproxy_sticky, place))
        url = f"http://127.0.0.1:{place.port}/"
        reached = []
        for _ in range(2):
            client = stack.enter_context(httpx.Client(trust_env=False))
            [instance] = {tuple(server_of(client, url)) for _ in range(6)}
            reached.append(instance)
    assert set(reached) == {server.address for server in servers}
