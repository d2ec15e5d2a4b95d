"""``--loop module:function`` in real processes: the application runs on it, a supervisor does not import it."""

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import Flavour, serve
from tests.helpers.worker_processes import serve_with_workers

OWN = ("--lifespan", "off", "--loop", "own_loop:Own")
EAGER = ("--lifespan", "off", "--loop", "own_loop:eager")


@pytest.mark.parametrize("options", [OWN, EAGER], ids=["own", "eager"])
def test_one_process(options: tuple[str, ...]) -> None:
    with serve("own_loop:app", Flavour("asyncio"), *options) as server:
        assert fetch(server.address, "/").body == b"Own"


def test_workers() -> None:
    with serve_with_workers("own_loop:app", Flavour("asyncio"), *OWN) as server:
        assert fetch(server.address, "/").body == b"Own"
