"""A browser: Chromium, with the chat of the documentation and the bundled demo."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

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
        say(page, "größer 😀")
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
