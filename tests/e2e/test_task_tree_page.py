"""The page of the task tree in a browser, with trees that the test says: what it draws, and what a person can do."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Locator, Page, expect

from tests.helpers.server_process import Flavour, ServerProcess, serve, wait_until
from trioserve._admin.page import load_page

Snapshot = dict[str, Any]

ADMIN = Path(__file__).parents[1] / "admin"
TRIO: Snapshot = json.loads((ADMIN / "tree_trio.json").read_text("utf-8"))
ASYNCIO: Snapshot = json.loads((ADMIN / "tree_asyncio.json").read_text("utf-8"))


class FakeAdmin:
    """``apps/fake_admin.py``, from outside."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self._client = httpx.Client(base_url=server.url, trust_env=False)

    def show(self, snapshot: Snapshot) -> None:
        self._client.put("/snapshot", content=json.dumps(snapshot)).raise_for_status()

    def end_streams(self) -> None:
        self._client.post("/end").raise_for_status()

    def asked(self) -> Any:
        return self._client.get("/asked").json()

    def wait_for_look(self, part: str) -> None:
        wait_until(lambda: part in self.asked()["looks"][-1], f"the page asks for {part}")

    def wait_for_streams(self, count: int) -> None:
        wait_until(lambda: self.asked()["open"] == count, f"{count} open event streams")

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def fake_server() -> Iterator[ServerProcess]:
    with serve("fake_admin:app", Flavour("trio"), "--no-access-log") as server:
        yield server


@pytest.fixture
def admin(fake_server: ServerProcess) -> Iterator[FakeAdmin]:
    admin = FakeAdmin(fake_server)
    admin.show(TRIO)
    yield admin
    admin.close()


@pytest.fixture
def tree(admin: FakeAdmin, page: Page) -> Locator:
    """The page is open, and the tree of ``tree_trio.json`` in it."""
    page.goto(admin.server.url + "/")
    tree = page.get_by_role("tree", name="The task tree")
    expect(tree.get_by_role("treeitem")).to_have_count(28)
    return tree


def row(tree: Locator, name: str) -> Locator:
    """The row that a screen reader calls so: by the kind of its node, its name, and more."""
    return tree.get_by_role("treeitem", name=name)


def nodes_of(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    waiting = [snapshot["root"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("children", [])


def changed(snapshot: Snapshot, change: Callable[[dict[str, Any]], None]) -> Snapshot:
    """A copy in which ``change`` has seen every node."""
    copied = copy.deepcopy(snapshot)
    for node in nodes_of(copied):
        change(node)
    return copied


def without(snapshot: Snapshot, gone: str) -> Snapshot:
    """A copy without the node of that id, and without what was below it."""
    def drop(node: dict[str, Any]) -> None:
        node["children"] = [child for child in node.get("children", []) if child["id"] != gone]

    return changed(snapshot, drop)


# -- what it draws ---------------------------------------------------------------------------------------------------


def test_every_node_is_a_tree_item_with_its_place(tree: Locator) -> None:
    stream = row(tree, "stream, POST /upload, stream 5, client-disconnect, waits at upload, main.py:77")
    for name, value in {"level": 4, "posinset": 2, "setsize": 2}.items():
        expect(stream).to_have_attribute(f"aria-{name}", str(value))
    expect(row(tree, "connection, [::1]:40112")).to_have_attribute("aria-expanded", "true")
    expect(row(tree, "listener, http://127.0.0.1:8000")).not_to_have_attribute("aria-expanded", re.compile(""))
    expect(row(tree, "tasks, tasks of the server")).to_have_attribute("aria-expanded", "false")


def test_states_bytes_and_reasons(tree: Locator) -> None:
    expect(row(tree, "request, GET /slow")).to_contain_text("APP")
    expect(row(tree, "request, POST /order")).to_contain_text("AFTER")
    expect(row(tree, "stream, GET /events")).to_contain_text("0 B / 59.8 KiB")
    expect(row(tree, "scope, cancel scope, cancelled, shielded")).to_contain_text("passed")
    expect(row(tree, "stream, POST /upload")).to_have_class(re.compile("cancelling"))


def test_ages_and_deadlines_move_between_two_snapshots(admin: FakeAdmin, page: Page) -> None:
    """The snapshot says 12.2 s of age and 17.8 s until the deadline."""
    page.clock.install(time=0)
    page.goto(admin.server.url + "/")
    request = row(page.get_by_role("tree"), "request, GET /slow")
    expect(request.locator(".deadline")).to_have_class("figure deadline")
    page.clock.run_for(10_000)
    age, left = (float(text.split()[0]) for text in request.locator(".figure").all_inner_texts()[:2])
    assert age >= 22.2
    assert age + left == pytest.approx(30.0, abs=0.3)
    page.clock.run_for(20_000)
    expect(request.locator(".deadline")).to_have_class("figure deadline soon passed")
    expect(request).to_contain_text("passed")


def test_an_old_snapshot_says_its_age(admin: FakeAdmin, page: Page) -> None:
    """A large server sends them less often, so that the page stays cheap."""
    page.clock.install(time=0)
    page.goto(admin.server.url + "/")
    expect(page.locator("#status")).to_have_text("live")
    page.clock.run_for(10_000)
    expect(page.locator("#status")).to_have_text(re.compile(r"live, 1\d s old"))
    admin.show(without(TRIO, "4711-20"))
    expect(page.locator("#status")).to_have_text("live")


def test_figures_and_counts(tree: Locator, page: Page) -> None:
    figures = page.locator("#figures")
    expect(figures).to_contain_text("trio, PID 4711")
    expect(figures).to_contain_text("10,000")
    expect(page.get_by_role("button", name="IDLE 9,993")).to_be_visible()


def test_what_has_ended_and_why(tree: Locator, page: Page) -> None:
    entries = page.get_by_role("list", name="Ended in the last seconds").get_by_role("listitem")
    expect(entries).to_have_count(4)
    expect(entries.nth(1)).to_contain_text("504, request-timeout")
    expect(entries.nth(2)).to_contain_text("closed 1001")
    expect(entries.nth(2)).to_contain_text("1:04 min")


def test_workers_and_what_the_backend_cannot_show(admin: FakeAdmin, page: Page) -> None:
    admin.show(ASYNCIO)
    page.goto(admin.server.url + "/")
    tree = page.get_by_role("tree")
    expect(row(tree, "server, worker 4712")).to_contain_text("SILENT")
    expect(page.get_by_role("list", name="What this backend cannot show").get_by_role("listitem")).to_have_count(2)
    notice = page.locator("#notice")
    expect(notice).to_contain_text("worker 4711 is draining")
    expect(notice).to_contain_text("worker 4712 does not answer")


MARKUP = "GET /<img src=x onerror=\"document.title='struck'\"><script>document.title='struck'</script>"


def test_markup_in_a_request_is_text(admin: FakeAdmin, page: Page) -> None:
    """In every field that a client or an application can choose."""
    def poison(node: dict[str, Any]) -> None:
        for field in ("name", "detail", "where", "reason", "request_id"):
            if field in node:
                node[field] = MARKUP
        for frame in node.get("stack", []):
            frame["function"] = frame["file"] = MARKUP

    poisoned = changed(TRIO, poison)
    for entry in poisoned["ended"]:
        entry["name"] = entry["client"] = entry["reason"] = MARKUP
    poisoned["cannot_show"] = [MARKUP]
    admin.show(poisoned)
    page.goto(admin.server.url + "/")
    page.locator('[data-id="4711-31"]').click()
    expect(page.locator("#title-detail")).to_have_text(MARKUP)
    expect(page.locator(".stack .function").first).to_contain_text("<img src=x")
    page.locator('[data-id="4711-30"]').press("Delete")
    expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
    expect(page.locator("img, body script, [onerror]")).to_have_count(0)
    expect(page).to_have_title("trioserve: the task tree")


def test_ten_thousand_connections_are_a_page_of_fifty(admin: FakeAdmin, page: Page) -> None:
    """The document stays small, and one event stream is all that the page asks for."""
    admin.show(crowd(10_000, shown=50))
    page.goto(admin.server.url + "/")
    tree = page.get_by_role("tree")
    expect(tree.get_by_role("treeitem")).to_have_count(3 + 50)
    assert page.locator("*").count() < 2500
    assert "limit=50" in admin.asked()["looks"][-1]
    row(tree, "On to the next 50 of 9,950 more connections").click()
    admin.wait_for_look("offset=50")
    admin.show(crowd(10_000, shown=50, first=50))
    expect(row(tree, "connection, 10.0.0.50:")).to_be_visible()
    expect(row(tree, "On to the next 50 of 9,900 more connections")).to_be_visible()
    row(tree, "Back to the 50 connections before these").click()
    admin.wait_for_look("offset=0")
    admin.wait_for_streams(1)


def crowd(connections: int, *, shown: int, first: int = 0) -> Snapshot:
    snapshot = copy.deepcopy(TRIO)
    snapshot["view"]["offset"] = first
    snapshot["root"]["children"] = [{
        "id": "4711-9", "kind": "connections", "name": "connections", "counts": {"IDLE": connections},
        "hidden": connections - shown,
        "children": [
            {"id": f"4711-{1000 + number}", "kind": "connection", "name": f"10.0.0.{number}:5{number:04}", "age": 1.5,
             "state": "IDLE", "detail": "HTTP/1.1", "bytes": {"received": 150, "sent": 240}}
            for number in range(first, first + shown)
        ],
    }]
    return snapshot


# -- what a person can do --------------------------------------------------------------------------------------------


def test_it_grows_and_shrinks(admin: FakeAdmin, tree: Locator) -> None:
    admin.show(without(TRIO, "4711-20"))
    expect(row(tree, "connection, 127.0.0.1:53022")).to_have_count(0)
    expect(tree.get_by_role("treeitem")).to_have_count(22)
    admin.show(TRIO)
    expect(row(tree, "connection, 127.0.0.1:53022")).to_have_class(re.compile("new"))
    expect(tree.get_by_role("treeitem")).to_have_count(28)


def test_pause_and_resume(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    """A paused page is told nothing, and says that it is paused."""
    pause = page.get_by_role("button", name="Pause")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#status")).to_have_text("paused")
    admin.wait_for_streams(0)
    admin.show(without(TRIO, "4711-20"))
    expect(row(tree, "connection, 127.0.0.1:53022")).to_be_visible()
    page.keyboard.press(".")
    expect(page.locator("#status")).to_have_text("live")
    expect(row(tree, "connection, 127.0.0.1:53022")).to_have_count(0)


def test_a_paused_page_takes_one_step_when_it_is_asked_something(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    page.get_by_role("button", name="Pause").click()
    admin.wait_for_streams(0)
    row(tree, "task, main.ask_bank").click()
    expect(page.get_by_role("list", name=re.compile("^Await stack")).get_by_role("listitem")).to_have_count(2)
    expect(page.locator("#status")).to_have_text("paused")
    admin.wait_for_streams(0)


def test_a_page_that_nobody_sees_asks_for_nothing(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    """A browser tab in the background; ``document.hidden`` stands in for it."""
    hide = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});" \
           " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    admin.wait_for_streams(0)
    page.evaluate(hide, False)
    admin.wait_for_streams(1)


def test_filter_by_text_and_by_state(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    page.keyboard.press("/")
    field = page.get_by_role("searchbox", name="Filter the tree")
    expect(field).to_be_focused()
    page.keyboard.type("/report")
    admin.wait_for_look("filter=%2Freport")
    expect(page.get_by_role("list", name="Ended in the last seconds").get_by_role("listitem")).to_have_count(1)
    page.get_by_role("button", name="AFTER 1").click()
    admin.wait_for_look("filter=AFTER")
    expect(field).to_have_value("AFTER")
    page.get_by_role("button", name="AFTER 1").click()
    expect(field).to_have_value("")
    wait_until(lambda: "filter" not in admin.asked()["looks"][-1], "the page asks for all")


def test_a_filter_says_what_it_finds(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    """To who cannot see it; and that it finds nothing, to everybody."""
    page.get_by_role("searchbox").fill("nobody")
    admin.wait_for_look("filter=nobody")
    nothing = crowd(0, shown=0)
    nothing["view"]["filter"] = "nobody"
    admin.show(nothing)
    expect(page.locator("#spoken")).to_have_text("0 connections")
    expect(page.locator("#empty")).to_contain_text("No connection with “nobody”")


def test_folding(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    """With the mouse, and it stays folded in the next snapshot."""
    connection = row(tree, "connection, 127.0.0.1:53022")
    connection.locator(".fold").click()
    expect(connection).to_have_attribute("aria-expanded", "false")
    expect(row(tree, "request, GET /slow")).to_have_count(0)
    admin.show(without(TRIO, "4711-21"))
    expect(row(tree, "connection, [::1]:40112")).to_have_count(0)
    expect(row(tree, "request, GET /slow")).to_have_count(0)
    page.get_by_role("button", name="Unfold all").click()
    expect(row(tree, "request, GET /slow")).to_be_visible()
    page.get_by_role("button", name="Fold all", exact=True).click()
    expect(row(tree, "request, ")).to_have_count(0)
    expect(connection).to_be_visible()


def test_a_walk_with_the_keyboard(tree: Locator, page: Page) -> None:
    """The keys of the tree view pattern of the ARIA Authoring Practices; one row of the tree is in the tab order."""
    expect(tree.locator("[tabindex='0']")).to_have_count(1)
    row(tree, "server, trioserve").focus()
    for key, name in [
        ("ArrowDown", "listeners"), ("ArrowRight", "listener, http://"), ("ArrowLeft", "listeners"),
        ("End", "tasks, tasks of the server"), ("ArrowUp", "On to the next"), ("Home", "server, trioserve"),
        ("u", "listener, unix:"), ("PageDown", "scope, cancel scope, cancelled"), ("ArrowLeft", "task, main.ask_bank"),
        ("ArrowLeft", "task, main.ask_bank"), ("ArrowDown", "task, main.ask_shop"), ("ArrowLeft", "nursery"),
        ("ArrowLeft", "nursery"), ("ArrowDown", "connection, [::1]"), ("ArrowUp", "nursery"), ("ArrowRight", "nursery"),
        ("ArrowRight", "task, main.ask_bank"),
    ]:
        page.keyboard.press(key)
        expect(row(tree, name).and_(page.locator(":focus"))).to_have_count(1)
    page.keyboard.type("post /o")
    expect(row(tree, "request, POST /order")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row(tree, "request, POST /order")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", name="POST /order")).to_be_visible()


def test_focus_stays_when_rows_come_and_go(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    stream = row(tree, "stream, GET /events")
    stream.focus()
    admin.show(without(TRIO, "4711-20"))
    expect(row(tree, "connection, 127.0.0.1:53022")).to_have_count(0)
    expect(stream).to_be_focused()
    admin.show(TRIO)
    expect(row(tree, "connection, 127.0.0.1:53022")).to_be_visible()
    expect(stream).to_be_focused()
    admin.show(without(TRIO, "4711-35"))    # the row itself: the one at its place has the focus
    expect(stream).to_have_count(0)
    expect(row(tree, "stream, POST /upload")).to_be_focused()


def test_the_await_stack_of_the_selected_task(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    row(tree, "task, main.ask_bank").click()
    admin.wait_for_look("stack=4711-31")
    frames = page.get_by_role("list", name=re.compile("^Await stack")).get_by_role("listitem")
    expect(frames).to_have_count(2)
    frames.nth(0).get_by_text("1 frame of the machinery").click()
    expect(frames.nth(0)).to_contain_text("trio/_timeouts.py:106")
    expect(frames.nth(1)).to_contain_text("ask_bank")
    expect(frames.nth(1)).to_contain_text("waits here")
    admin.show(without(TRIO, "4711-31"))
    expect(page.locator("#detail")).to_contain_text("not in the tree any more")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("heading", name="Nothing selected")).to_be_visible()


def test_details_do_not_cover_the_selected_row(admin: FakeAdmin, page: Page) -> None:
    """On a telephone they lie above the lower part of the page."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(admin.server.url + "/")
    last = row(page.get_by_role("tree"), "connection, 127.0.0.1:53105")
    last.click()
    expect(page.locator("#detail")).to_be_visible()
    shown, details = last.bounding_box(), page.locator(".detail").bounding_box()
    assert shown is not None and details is not None
    assert shown["y"] + shown["height"] <= details["y"]


def test_cancelling_asks_for_the_token_once(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    """It is confirmed; a wrong token is asked for again; the right one is kept for the next time."""
    row(tree, "request, GET /slow").click()
    cancel = page.get_by_role("button", name="Cancel this request")
    cancel.click()
    dialog = page.get_by_role("dialog", name="Cancel this request?")
    dialog.get_by_role("button", name="Keep it running").click()
    expect(dialog).to_be_hidden()
    cancel.click()
    dialog.get_by_label(re.compile("^Token")).fill("wrong")
    dialog.get_by_role("button", name="Cancel it").click()
    expect(dialog.get_by_role("alert")).to_have_text("The token is wrong.")
    assert "4711-30" not in admin.asked()["cancelled"]
    dialog.get_by_label(re.compile("^Token")).fill("right")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    assert admin.asked()["cancelled"][-1] == "4711-30"
    expect(page.locator("#spoken")).to_have_text("Cancelled: request GET /slow?***")
    row(tree, "connection, [::1]").focus()
    page.keyboard.press("Delete")
    expect(page.get_by_label(re.compile("^Token"))).to_be_hidden()
    page.get_by_role("button", name="Cancel it").click()
    wait_until(lambda: admin.asked()["cancelled"][-1] == "4711-21", "the connection is cancelled")


def test_the_token_of_the_start_line_does_not_stay_in_the_address(admin: FakeAdmin, page: Page) -> None:
    page.goto(admin.server.url + "/#token=right")
    tree = page.get_by_role("tree")
    row(tree, "stream, GET /events").focus()
    assert page.url == admin.server.url + "/"
    page.keyboard.press("Delete")
    dialog = page.get_by_role("dialog", name="Cancel this stream?")
    expect(dialog.get_by_role("button", name="Keep it running")).to_be_focused()    # Enter alone does no harm
    dialog.get_by_role("button", name="Cancel it").click()
    expect(dialog).to_be_hidden()
    assert admin.asked()["cancelled"][-1] == "4711-35"


def test_what_cannot_be_cancelled_offers_nothing(tree: Locator, page: Page) -> None:
    row(tree, "listener, http://").click()
    expect(page.locator("#detail")).to_be_visible()
    expect(page.locator("#detail button")).to_be_hidden()
    page.keyboard.press("Delete")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#spoken")).to_have_text("This cannot be cancelled by itself.")


def test_one_sees_a_cancellation_travel(admin: FakeAdmin, page: Page) -> None:
    """First it is on its way; then what has ended stays for a few seconds, marked, and is gone."""
    page.clock.install(time=0)
    page.goto(admin.server.url + "/#token=right")
    tree = page.get_by_role("tree")
    request = row(tree, "request, GET /slow")
    request.press("Delete")
    page.get_by_role("button", name="Cancel it").click()
    expect(page.get_by_role("dialog")).to_be_hidden()

    def cancel(node: dict[str, Any]) -> None:
        if node["id"] == "4711-30":
            node.update(cancelled=True, reason="admin")

    admin.show(changed(TRIO, cancel))
    expect(request).to_have_class(re.compile("cancelling"))
    expect(request).to_contain_text("admin")
    admin.show(without(changed(TRIO, cancel), "4711-33"))
    expect(row(tree, "task, main.ask_bank")).to_have_class(re.compile("ended"))
    expect(request).to_have_class(re.compile("cancelling"))
    admin.show(without(TRIO, "4711-30"))
    expect(request).to_have_class(re.compile("ended"))
    expect(request).to_contain_text("ended: admin")
    page.clock.run_for(5_000)
    admin.show(without(TRIO, "4711-30"))
    expect(request).to_have_count(0)


# -- the server goes away --------------------------------------------------------------------------------------------


def test_a_server_that_stops_is_waited_for(admin: FakeAdmin, tree: Locator, page: Page) -> None:
    admin.end_streams()
    expect(page.locator("#status")).to_have_text("server stopped")
    expect(page.locator("#notice")).to_contain_text("its last state")
    expect(row(tree, "request, GET /slow")).to_be_visible()
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


# -- for everybody ---------------------------------------------------------------------------------------------------


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
