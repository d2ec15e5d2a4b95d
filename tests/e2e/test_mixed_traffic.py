"""Everything at the same time: what is right for one connection is right for many in each other's way."""

import sys
from pathlib import Path

import anyio
import pytest

from tests.helpers.certificates import client_context, files_of, server_certificate
from tests.helpers.server_process import Flavour, serve, wait_until
from tests.helpers.traffic import Visitors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CLIENTS = 30
SESSIONS = 10  # of each client
OTHER_DESCRIPTORS = 2  # of an event loop that has never seen a connection


@pytest.mark.parametrize("options", [[], ["--on-disconnect", "cancel", "--timeout-request", "60"]], ids=["", "watched"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_answer_is_right(loop: Flavour, tls: bool, options: list[str], tmp_path: Path) -> None:
    certificate, key = files_of(server_certificate(), tmp_path)
    secure = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)] if tls else []
    with serve("traffic:app", loop, "--no-access-log", "--lifespan", "off", *secure, *options) as server:
        descriptors = server.descriptors()
        visitors = Visitors(server.address, seed=len(options), tls=client_context() if tls else None)
        anyio.run(visitors.come, CLIENTS, SESSIONS)
        assert min(visitors.answered.values()) > SESSIONS
        assert min(visitors.left.values()) > SESSIONS
        wait_until(lambda: server.descriptors() <= descriptors + OTHER_DESCRIPTORS, "all connections closed")
