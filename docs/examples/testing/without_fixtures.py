"""A server in memory without a plugin of pytest's.

    python docs/examples/testing/without_fixtures.py
"""

import anyio
from shop import app

from trioserve.testing import open_test_server, run_in_virtual_time


async def main() -> None:
    began = anyio.current_time()
    async with open_test_server(app, timeout_request=30) as server, server.client(timeout=None) as client:
        answer = await client.get("/price?seconds=3600")
    print(f"{answer.status_code} after {anyio.current_time() - began:g} s")


if __name__ == "__main__":
    run_in_virtual_time(main, backend="asyncio")
