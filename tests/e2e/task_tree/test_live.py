"""The page of the task tree and the server that it belongs to: what happens there is seen here, and can be ended."""

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.helpers.fake_admin import GHOST_MS, row, stop_clock
from tests.helpers.server_process import Flavour, ServerProcess, serve

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
OPTIONS = ("--app-dir", str(EXAMPLES), "--admin", "127.0.0.1:0")
BACKENDS = (Flavour("trio"), Flavour("asyncio", loop="asyncio"))


@pytest.fixture(params=BACKENDS, ids=str)
def shop(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with serve("shop_to_watch:app", request.param, *OPTIONS) as server:
        yield server


@pytest.fixture
def tree(shop: ServerProcess, page: Page) -> Locator:
    return open_tree(shop, page)


def open_tree(shop: ServerProcess, page: Page) -> Locator:
    """As somebody does who follows the address of the start line. The page's clock stands still."""
    address = re.search(r"its page: (\S+)", shop.stderr.wait_for("Admin listener on"))
    assert address is not None
    stop_clock(page)
    page.goto(address[1])
    expect(page.locator("#status")).to_have_text("live")
    return page.get_by_role("tree", name="The task tree")


def ended(page: Page, text: str) -> Locator:
    return page.locator("#history li").filter(has_text=text).first


def ask(shop: ServerProcess, line: str) -> socket.socket:
    """A client that has sent a request, and keeps its connection until it is closed."""
    client = socket.create_connection(shop.address)
    client.sendall(f"{line} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
    return client


def cancel(page: Page, row: Locator) -> None:
    row.focus()
    page.keyboard.press("Delete")
    page.get_by_role("button", name="Cancel it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_it_grows_and_shrinks_under_load(shop: ServerProcess, tree: Locator, page: Page) -> None:
    with ExitStack() as clients:
        for _ in range(12):
            clients.enter_context(closing(ask(shop, "GET /export")))
        expect(row(tree, "request, GET /export")).to_have_count(12)
        expect(page.get_by_role("button", name="APP 12")).to_be_visible()
    expect(row(tree, "request, GET /export")).to_have_count(0)
    expect(ended(page, "GET /export")).to_contain_text("200")


def test_the_tasks_that_a_request_has_started(shop: ServerProcess, tree: Locator, page: Page) -> None:
    """With the deadline around them, and the place where each of them waits."""
    with closing(ask(shop, "GET /offers?seconds=600")):
        for name in ("ask stock", "ask prices", "ask reviews"):
            expect(row(tree, f"task, {name}")).to_contain_text("shop_to_watch.py")
        expect(tree.locator(".deadline:not(.passed)").filter(has_text=re.compile(r"\d\.\d s")).first).to_be_visible()
        row(tree, "task, ask prices").click()
        stack = page.get_by_role("list", name=re.compile("^Await stack")).get_by_role("listitem")
        expect(stack.filter(has_text="waits here")).to_contain_text("ask")
        expect(stack.filter(has_text="waits here")).to_contain_text("shop_to_watch.py:")
        cancel(page, row(tree, "request, GET /offers"))
        expect(row(tree, "task, ask prices").and_(tree.locator(":not(.ended)"))).to_have_count(0)


def test_a_hanging_request_is_cancelled(shop: ServerProcess, tree: Locator, page: Page) -> None:
    with closing(ask(shop, "GET /hang")) as client:
        request = row(tree, "request, GET /hang")
        request.click()
        expect(page.locator(".stack .here")).to_contain_text("lock_row")
        cancel(page, request)
        expect(request).to_have_class(re.compile("ended"))
        expect(ended(page, "GET /hang")).to_contain_text("admin")
        with suppress(ConnectionResetError):
            while client.recv(65536):
                pass
    page.clock.run_for(GHOST_MS)
    expect(request).to_have_count(0)
    shop.stdout.wait_for("GET /hang")


def test_a_websocket(shop: ServerProcess, tree: Locator, page: Page) -> None:
    with connect(f"{shop.ws_url}/updates", proxy=None) as websocket:
        session = row(tree, "websocket, ")
        expect(session).to_contain_text("/updates")
        expect(row(tree, "task, tell prices")).to_be_visible()
        cancel(page, session)
        with pytest.raises(ConnectionClosed):
            while True:
                websocket.recv(timeout=20)
    expect(session).to_have_class(re.compile("ended"))
    page.clock.run_for(GHOST_MS)
    expect(session).to_have_count(0)
    expect(ended(page, "/updates")).to_contain_text("admin")


@pytest.fixture(params=BACKENDS, ids=str)
def busy(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Works after a response until it is released."""
    with serve("after_response:app", request.param, "--admin", "127.0.0.1:0") as server:
        yield server


def release(busy: ServerProcess) -> None:
    with closing(ask(busy, "GET /release")) as client:
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_work_after_a_response(busy: ServerProcess, page: Page) -> None:
    """The client has its answer, and the request is still there; so is the shield around what it does."""
    tree = open_tree(busy, page)
    with closing(ask(busy, "POST /orders")) as client:
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        expect(row(tree, "request, POST /orders")).to_contain_text("AFTER")
        expect(row(tree, "scope, cancel scope").filter(has_text="shield")).to_be_visible()
        release(busy)
        expect(row(tree, "request, POST /orders")).to_have_count(0)
        host, port = client.getsockname()[:2]       # the connection that released it may still be in the tree
        expect(row(tree, f"connection, {host}:{port}, ")).to_contain_text("IDLE")


def test_a_shield_holds_a_cancellation_up(busy: ServerProcess, page: Page) -> None:
    """The page shows that it is on its way, until the application has left the shield."""
    tree = open_tree(busy, page)
    with closing(ask(busy, "POST /orders")):
        request = row(tree, "request, POST /orders")
        expect(request).to_contain_text("AFTER")
        cancel(page, row(tree, "connection, "))     # work after a response belongs to its connection
        expect(request).to_have_class(re.compile("cancelling"))
        expect(request).to_contain_text("admin")
        release(busy)
        expect(request).to_have_class(re.compile("ended"))


def test_requests_too_short_for_any_snapshot(shop: ServerProcess, tree: Locator, page: Page) -> None:
    """They are in the history, and markup in their paths is text."""
    path = "/<img/src=x/onerror=alert(1)>"
    with closing(ask(shop, f"GET {path}")) as client:
        client.recv(65536)
    entry = ended(page, path)
    expect(entry).to_contain_text("200")
    expect(page.locator("img")).to_have_count(0)


def test_a_drain(shop: ServerProcess, tree: Locator, page: Page) -> None:
    """The admin listener answers while the main one accepts nobody: what holds the drain up is seen, and is ended."""
    with closing(ask(shop, "GET /hang")):
        request = row(tree, "request, GET /hang")
        expect(request).to_be_visible()
        shop.send_signal(signal.SIGTERM)
        expect(page.locator("#notice")).to_contain_text("is draining")
        cancel(page, request)
    expect(page.locator("#status")).to_have_text("server stopped")
    shop.judge_end()


@pytest.mark.parametrize("flavour", BACKENDS, ids=str)
def test_streams_of_http2(flavour: Flavour, page: Page) -> None:
    """One connection with two streams; one of them is cancelled, and the other one goes on."""
    with (
        serve("shop_to_watch:app", flavour, *OPTIONS, "--http2") as shop,
        httpx.Client(base_url=shop.url, http1=False, http2=True, trust_env=False) as client,
        client.stream("GET", "/export") as first,
        client.stream("GET", "/export") as second,
    ):
        tree = open_tree(shop, page)
        expect(row(tree, "connection, ")).to_have_count(1)
        expect(row(tree, "connection, ")).to_contain_text("HTTP/2")
        expect(row(tree, "stream, GET /export")).to_have_count(2)
        cancelled = row(tree, "stream, GET /export, stream 3")
        cancel(page, cancelled)
        expect(cancelled).to_have_class(re.compile("ended"))
        page.clock.run_for(GHOST_MS)
        expect(cancelled).to_have_count(0)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in second.iter_bytes():
                pass
        assert next(first.iter_bytes())
        expect(row(tree, "stream, GET /export, stream 1")).to_contain_text("APP")


def test_the_workers_of_one_server(page: Page) -> None:
    """One page shows all of them. What is asked of either is found, and can be cancelled."""
    with serve("shop_to_watch:app", Flavour("trio"), *OPTIONS, "--workers", "2") as shop, ExitStack() as clients:
        tree = open_tree(shop, page)
        expect(row(tree, "server, ")).to_have_count(2)
        for _ in range(8):
            clients.enter_context(closing(ask(shop, "GET /hang")))
        hanging = row(tree, "request, GET /hang").and_(tree.locator(":not(.ended)"))
        expect(hanging).to_have_count(8)
        expect(page.get_by_role("button", name="APP 8")).to_be_visible()
        for left in range(7, -1, -1):
            cancel(page, hanging.first)
            expect(hanging).to_have_count(left)


def test_below_a_path_of_the_main_listener(page: Page) -> None:
    """There the page's own event stream is a request like any other."""
    options = ("--app-dir", str(EXAMPLES), "--admin-path", "/-/admin")
    with serve("shop_to_watch:app", Flavour("trio"), *options) as shop:
        page.goto(f"{shop.url}/-/admin")
        expect(page.locator("#status")).to_have_text("live")
        expect(row(page.get_by_role("tree"), "request, GET /-/admin/tree/events")).to_contain_text("APP")
        page.close()
