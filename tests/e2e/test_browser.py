"""A browser: Chromium, with the chat of the documentation and the bundled demo."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.certificates import files_of, server_certificate
from tests.helpers.server_process import STRICT, Flavour, ServerProcess, running, serve

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

@pytest.fixture
def chat_server(loop: Flavour) -> Iterator[ServerProcess]:
    command = [*STRICT, "-m", "trioserve", "chat:app", "--app-dir", str(EXAMPLES), "--port", "0", *loop.options]
    with running(command) as server:
        yield server


def enter(page: Page, server: ServerProcess, name: str) -> None:
    page.goto(f"{server.url}/?name={name}")
    expect(page.locator("#status")).to_have_text(f"connected as {name}")


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("button")


def test_a_chat(chat_server: ServerProcess, browser: Browser, page: Page) -> None:
    """Two browsers hear each other, one leaves, the other one is told that the server stops."""
    lines = page.locator("#lines li")
    enter(page, chat_server, "Ada")
    with browser.new_page() as other:
        enter(other, chat_server, "Bob")
        expect(lines.last).to_have_text("Bob joins")
        say(page, "größer 😀")
        expect(lines.last).to_have_text("Ada: größer 😀")
        say(other, "long: " + "x" * 5000)       # long enough to be compressed
        for shown in (lines, other.locator("#lines li")):
            expect(shown.last).to_have_text("Bob: long: " + "x" * 5000)
    expect(lines).to_have_text([
        "Ada joins", "Bob joins", "Ada: größer 😀", "Bob: long: " + "x" * 5000, "Bob leaves"])
    chat_server.send_signal(signal.SIGTERM)
    expect(page.locator("#status")).to_have_text("closed: 1012 the server is stopping")
    chat_server.judge_end()
    chat_server.stdout.wait_for('"WEBSOCKET /chat?name=Bob" 1001')
    chat_server.stdout.wait_for('"WEBSOCKET /chat?name=Ada" 1012')


@pytest.fixture(params=["ngh2", "h2"])
def tls_server(request: pytest.FixtureRequest, loop: Flavour, tmp_path: Path) -> Iterator[ServerProcess]:
    certificate, key = files_of(server_certificate(), tmp_path)
    pair = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    with serve("probe:app", loop, *pair, "--http2-engine", request.param) as server:
        yield server


SAID_BY_A_SOCKET = """
    address => new Promise((heard, failed) => {
        const socket = new WebSocket(address)
        socket.onerror = () => failed("the WebSocket failed")
        socket.onmessage = message => {
            socket.onclose = () => heard(message.data)
            socket.close(1000, "heard")
        }
    })
"""


def test_http2_and_a_websocket_on_the_same_connection(tls_server: ServerProcess, browser: Browser) -> None:
    """Without an option, as in any browser: ALPN says so, and after that RFC 8441."""
    address = f"localhost:{tls_server.address[1]}"
    with browser.new_context(ignore_https_errors=True) as context:      # it does not know our authority
        page = context.new_page()
        page.goto(f"https://{address}/hello")
        expect(page.locator("body")).to_have_text("Hello, world!")
        assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        sizes = page.evaluate("""
            () => Promise.all([...Array(50).keys()].map(number =>
                fetch(`/parts?count=${number}&size=10000`).then(answer => answer.blob()).then(blob => blob.size)))
        """)
        assert sizes == [number * 10_000 for number in range(50)]
        posted = page.evaluate("fetch('/echo', {method: 'POST', body: 'x'.repeat(1e6)}).then(answer => answer.text())")
        assert posted == "x" * 1_000_000
        scope = json.loads(page.evaluate(SAID_BY_A_SOCKET, f"wss://{address}/scope?a=b"))
        assert (scope["http_version"], scope["scheme"], scope["query"]) == ("2", "wss", {"a": "b"})
    tls_server.stdout.wait_for('"WEBSOCKET /scope?a=b" 1000')


def test_the_demo(page: Page) -> None:
    """A run from its first child to its last word, its event stream, a WebSocket, and the end of the server."""
    with serve("trioserve.demo:app", Flavour("trio")) as server:
        page.goto(server.url)
        expect(page.locator("#backend")).to_have_text("trio")
        expect(page.locator("#tree")).to_contain_text("takes 1.6 s")
        page.click("#start")
        page.click("#fail:enabled")
        expect(page.locator("#verdict")).to_contain_text(" failed after ")
        page.click("[data-try=echo]")
        expect(page.locator("#out-echo")).to_contain_text("100 echoes")
        server.send_signal(signal.SIGTERM)      # the page is open, and its event stream does not hold up the end
        expect(page.locator("#notice")).to_have_text("The server has stopped. This page goes on trying.")
        expect(page.locator("#start")).to_be_disabled()
        server.judge_end()
