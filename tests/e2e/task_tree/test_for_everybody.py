"""The page of the task tree when its server goes away, for every person, and from no other place."""

import re
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.fake_admin import TRIO, FakeAdmin, row, stop_clock, without
from tests.helpers.server_process import Flavour, serve
from trioserve._admin.page import load_page


def test_a_server_that_stops_is_waited_for(admin: FakeAdmin, page: Page) -> None:
    stop_clock(page)
    page.goto(admin.server.url + "/")
    expect(page.locator("#status")).to_have_text("live")
    admin.end_streams()
    expect(page.locator("#status")).to_have_text("server stopped")
    expect(page.locator("#notice")).to_contain_text("its last state")
    expect(row(page.get_by_role("tree"), "request, GET /slow")).to_be_visible()
    page.clock.run_for(2_000)
    expect(page.locator("#status")).to_have_text("live")    # it has asked again
    expect(page.locator("#notice")).to_be_hidden()


def test_a_connection_that_is_lost(page: Page) -> None:
    with serve("fake_admin:app", Flavour("trio")) as server:
        admin = FakeAdmin(server)
        admin.show(TRIO)
        page.goto(server.url + "/")
        expect(page.locator("#status")).to_have_text("live")
        admin.close()
        server.kill()
        expect(page.locator("#status")).to_have_text("connection lost")
        expect(page.locator("#notice")).to_contain_text("The server does not answer.")


def test_a_server_that_refuses_says_why(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    page.get_by_role("searchbox").fill("refused")
    expect(page.locator("#status")).to_have_text("refused")
    expect(page.locator("#notice")).to_contain_text("20 pages are open already")
    page.get_by_role("searchbox").fill("")
    expect(page.locator("#status")).to_have_text("live")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_accessible(admin: FakeAdmin, browser: Browser, width: int, scheme: Any) -> None:
    """axe-core finds nothing, with a node selected and in the dialog; nothing is wider than the window."""
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce")
    page.goto(admin.server.url + "/")
    page.locator('[data-id="4711-30"]').click()
    expect(page.locator("#detail")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    judged = Axe().run(page)
    assert judged.violations_count == 0, judged.generate_report()
    page.locator("#detail button").click()
    judged = Axe().run(page, context="dialog")
    assert judged.violations_count == 0, judged.generate_report()
    page.close()


def test_light_and_dark(tree: Locator, page: Page) -> None:
    """As the system says, until somebody chooses; the choice stays."""
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark
    page.get_by_role("button", name="Colours: system").click()
    assert paper() == light
    page.reload()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    assert paper() == light
    page.get_by_role("button", name="Colours: light").click()
    page.emulate_media(color_scheme="light")
    assert paper() == dark


def test_nothing_moves_for_who_wants_no_motion(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    admin.show(without(TRIO, "4711-20"))
    expect(row(tree, "connection, 127.0.0.1:53022")).to_have_count(0)
    admin.show(TRIO)
    new = row(tree, "connection, 127.0.0.1:53022")
    expect(new).to_have_class(re.compile("new"))
    expect(new).to_have_css("animation-name", "none")
    expect(new.locator(".fold svg")).to_have_css("transition-duration", "0s")


def test_nothing_comes_from_elsewhere(admin: FakeAdmin, page: Page) -> None:
    """No external asset, and a policy that would refuse one, as it refuses inline script."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    response = page.goto(admin.server.url + "/")
    expect(page.locator("#status")).to_have_text("live")
    assert {httpx.URL(url).netloc for url in asked} == {httpx.URL(admin.server.url).netloc}
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'struck'";
        document.body.append(script);
    }""")
    expect(page).to_have_title("trioserve: the task tree")


def test_every_file_that_another_one_names_is_there() -> None:
    files = load_page()
    for name, file in files.items():
        assert dict(file.fields)[b"content-length"] == b"%d" % len(file.body), name
        for named in re.findall(r"""(?:src|href)="(\w[\w.]*\.\w+)"|from "\./([\w.]+)\"""", file.body.decode()):
            assert "".join(named) in files, named


def test_nothing_in_the_files_makes_markup_of_text() -> None:
    for name, file in load_page().items():
        text = file.body.decode()
        for way in ("innerHTML =", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser"):
            assert way not in text, f"{way} in {name}"
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text), name
        assert not re.search(r"\son\w+=\"|\sstyle=\"", text), name
