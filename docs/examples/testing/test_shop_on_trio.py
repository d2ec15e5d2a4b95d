"""The same fixtures with pytest-trio and its clock."""

import pytest
import trio

pytestmark = [pytest.mark.trio, pytest.mark.trioserve(timeout_request=30)]


async def test_a_supplier_who_takes_too_long(trioserve_client, autojump_clock):
    began = trio.current_time()
    answer = await trioserve_client.get("/price", params={"seconds": 3600}, timeout=None)
    assert answer.status_code == 504
    assert trio.current_time() - began == 30


async def test_two_clients_share_the_supplier(trioserve_client, autojump_clock):
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(trioserve_client.get, "/price?seconds=4")
    assert trio.current_time() - began == 4
