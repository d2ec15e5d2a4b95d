"""SQLAlchemy with a session for each task, on asyncio and uvloop: what one request leaves undone no other one does."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import params_of
from tests.helpers.raw_http import RawClient, Response
from tests.helpers.server_process import Flavour, ServerProcess, serve

ASYNCIO_LOOPS = [Flavour("asyncio", loop="asyncio"), Flavour("asyncio", loop="uvloop")]


@pytest.fixture(scope="module", params=params_of(ASYNCIO_LOOPS))
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    # Sessions that nobody closes are left to the garbage collector, which SQLAlchemy and aiosqlite complain of.
    with serve("sqlalchemy_app:app", request.param, python_options=()) as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RawClient]:
    """One keep-alive connection, such as a proxy shares among its users."""
    with RawClient(server.address) as client:
        yield client


def post(client: RawClient, target: str) -> Response:
    client.send(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
    return client.receive_response()


def balance(client: RawClient, name: str) -> int:
    client.get(f"/accounts/{name}")
    found: int = client.receive_response().json()["balance"]
    return found


def test_a_change_that_was_refused_is_never_committed(client: RawClient, server: ServerProcess) -> None:
    assert post(client, "/accounts/refused?balance=100").status == 200
    assert post(client, "/accounts/refused/withdraw?amount=150").status == 409
    for _ in range(5):
        assert post(client, "/touch").json() == {"cancelling": 0}
    with RawClient(server.address) as other:
        assert balance(other, "refused") == 100
    assert balance(client, "refused") == 100


def test_a_cancel_that_was_forgotten_meets_no_other_request(client: RawClient) -> None:
    assert post(client, "/accounts/late?balance=100").status == 200
    for _ in range(3):
        assert post(client, "/accounts/late/withdraw?amount=150&late_cancel=1").status == 409
        assert post(client, "/touch?strikes=1").json() == {"cancelling": 0}
    assert balance(client, "late") == 100
    assert post(client, "/accounts/late/withdraw?amount=50&late_cancel=1").json() == {"balance": 50}
    assert post(client, "/touch?strikes=1").json() == {"cancelling": 0}
    assert balance(client, "late") == 50


def test_pipelined_requests_have_sessions_of_their_own(client: RawClient) -> None:
    assert post(client, "/accounts/pipelined?balance=100").status == 200
    refused = b"POST /accounts/pipelined/withdraw?amount=150 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    touch = b"POST /touch HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    client.send((refused + touch) * 5)
    assert [client.receive_response().status for _ in range(10)] == [409, 200] * 5
    assert balance(client, "pipelined") == 100
