"""The pictures of the task tree: ``python -m docs.task_tree_pictures``.

They show the shop of ``docs/examples/shop_to_watch.py`` with a few clients. Everything in them happens while they are
taken; nothing is drawn by hand. Needs the packages of the tests, Chromium and pngquant.
"""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.sync.client import connect

HERE: Final = Path(__file__).parent
IMAGES: Final = HERE / "images"
SIZES: Final = {1280: 1230, 390: 844}  # width and height of a window, in CSS pixels
SHARPNESS: Final = 1.5  # pixels of a picture for one of CSS
SCHEMES: Final = ("light", "dark")
SHOWN: Final = (
    "task, ask reviews", "request, POST /orders", "stream, GET /export", "websocket, ", "request, GET /hang")
SOON_SECONDS: Final = 20.0  # for everything that takes a moment


@dataclass(frozen=True)
class Shop:
    """The running example."""

    address: str
    page_address: str


@contextmanager
def running_shop() -> Iterator[Shop]:
    command = [
        sys.executable, "-m", "trioserve", "shop_to_watch:app", "--app-dir", str(HERE / "examples"), "--port", "0",
        "--http2", "--admin", "127.0.0.1:0", "--timeout-request", "2m", "--no-access-log"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log = ""
        while "Listening on" not in log:
            line = process.stderr.readline()
            assert line, f"the server has ended\n{log}"
            log += line
        reader = threading.Thread(target=process.stderr.read)  # so that the pipe is never full
        reader.start()
        try:
            yield Shop(_found(r"Listening on http://(\S+)", log), _found(r"its page: (\S+)", log))
        finally:
            process.terminate()
            reader.join()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


@contextmanager
def customers(shop: Shop) -> Iterator[None]:
    """One of each kind: child tasks, work after a response, two streams of HTTP/2, a WebSocket, one that hangs."""
    url = f"http://{shop.address}"
    with ExitStack() as open_things:
        one, two, three, four = (
            open_things.enter_context(httpx.Client(base_url=url, trust_env=False)) for _ in range(4))
        http2 = open_things.enter_context(
            httpx.Client(base_url=url, trust_env=False, http1=False, http2=True))
        for path in ("/", "/hats", "/hats/7"):
            one.get(path)
        two.post("/orders?seconds=60")
        for _ in range(2):
            open_things.enter_context(http2.stream("GET", "/export"))
        open_things.enter_context(connect(f"ws://{shop.address}/updates", proxy=None))
        for client, path in ((three, "/offers?seconds=20"), (four, "/hang")):
            threading.Thread(target=_ask, args=(client, path), daemon=True).start()
        yield


def _ask(client: httpx.Client, path: str) -> None:
    """The answer never comes: the request is cancelled, or the server is stopped before."""
    with suppress(httpx.HTTPError):
        client.get(path, timeout=60)


def take_pictures(browser: Browser, shop: Shop) -> None:
    for width, height in SIZES.items():
        for scheme in SCHEMES:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce",
                device_scale_factor=SHARPNESS)
            open_page(page, shop)
            save(page.screenshot(), f"task-tree-{width}-{scheme}")
            page.close()


def open_page(page: Page, shop: Shop) -> None:
    """With all customers in it, and one of their tasks selected where there is room for its details."""
    page.goto(shop.page_address)
    tree = page.get_by_role("tree")
    for name in SHOWN:
        expect(tree.get_by_role("treeitem", name=name).first).to_be_visible(timeout=SOON_SECONDS * 1000)
    if page.viewport_size is not None and page.viewport_size["width"] > 1000:
        tree.get_by_role("treeitem", name="request, GET /hang").click()
        expect(page.locator(".stack .here")).to_be_visible()


def take_picture_of_a_cancellation(browser: Browser, shop: Shop) -> None:
    """A request with its child tasks, a moment after somebody has cancelled it."""
    page = browser.new_page(viewport={"width": 1280, "height": SIZES[1280]}, device_scale_factor=SHARPNESS)
    open_page(page, shop)
    request = page.get_by_role("treeitem", name="request, GET /offers")
    request.click()
    page.keyboard.press("Delete")
    save(page.get_by_role("dialog").screenshot(), "task-tree-question")
    page.get_by_role("button", name="Cancel it").click()
    expect(request).to_have_class(re.compile("ended"))
    page.mouse.move(0, 0)
    save(page.locator(".card").first.screenshot(), "task-tree-cancelled")
    page.close()


def save(picture: bytes, name: str) -> None:
    """With 256 colours it looks the same, and is a third of the size."""
    small = subprocess.run(["pngquant", "--speed", "1", "-"], input=picture, stdout=subprocess.PIPE, check=True).stdout
    (IMAGES / f"{name}.png").write_bytes(small)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium is missing: apt-get install chromium"
    with running_shop() as shop, customers(shop), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        take_pictures(browser, shop)
        take_picture_of_a_cancellation(browser, shop)
        browser.close()


if __name__ == "__main__":
    main()
