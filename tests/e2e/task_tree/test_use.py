"""What a person can do on the page of the task tree."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.helpers.fake_admin import GHOST_MS, TRIO, FakeAdmin, changed, crowd, row, stop_clock, without
from tests.helpers.server_process import wait_until


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
        ("End", "tasks, other tasks"), ("ArrowUp", "On to the next"), ("Home", "server, trioserve"),
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


def test_a_task_that_cannot_be_cancelled_says_what_can(tree: Locator, page: Page) -> None:
    row(tree, "task, main.ask_shop").click()
    expect(page.locator("#detail")).to_contain_text("On trio, nurseries and cancel scopes can")
    expect(page.locator("#detail button")).to_be_hidden()
    page.keyboard.press("Delete")
    expect(page.locator("#spoken")).to_contain_text("On trio, nurseries and cancel scopes can")
    row(tree, "nursery").first.click()
    expect(page.locator("#detail")).not_to_contain_text("On trio, nurseries and cancel scopes can")


def test_one_sees_a_cancellation_travel(admin: FakeAdmin, page: Page) -> None:
    """First it is on its way; then what has ended stays for a few seconds, marked, and is gone."""
    stop_clock(page)
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
    page.clock.run_for(GHOST_MS)
    admin.show(without(TRIO, "4711-30"))
    expect(request).to_have_count(0)


def test_what_ends_has_the_reason_that_the_server_says(admin: FakeAdmin, page: Page) -> None:
    """Nobody has cancelled it here: not every cancellation is the page's."""
    stop_clock(page)
    page.goto(admin.server.url + "/")
    tree = page.get_by_role("tree")
    expect(row(tree, "scope, cancel scope, cancelled")).to_be_visible()
    admin.show(without(TRIO, "4711-34"))    # the application's own scope, whose deadline has passed
    expect(tree.locator(".ended")).to_contain_text("ended: cancelled")
    page.clock.run_for(GHOST_MS)
    admin.show(without(TRIO, "4711-34"))
    expect(tree.locator(".ended")).to_have_count(0)

    def end(node: dict[str, Any]) -> None:
        if node["id"] == "4711-30":
            node.update(cancelled=True, reason="request-timeout")

    admin.show(changed(TRIO, end))
    expect(row(tree, "request, GET /slow")).to_contain_text("request-timeout")
    admin.show(without(changed(TRIO, end), "4711-32"))
    expect(row(tree, "task, main.ask_shop")).to_contain_text("ended: request-timeout")


def test_what_could_not_be_cancelled_ends_like_anything_else(admin: FakeAdmin, page: Page) -> None:
    """It is gone at once: the clock stands still."""
    stop_clock(page)
    page.goto(admin.server.url + "/")
    request = row(page.get_by_role("tree"), "request, GET /slow")
    request.press("Delete")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(re.compile("^Token")).fill("wrong")
    dialog.get_by_role("button", name="Cancel it").click()
    expect(dialog.get_by_role("alert")).to_have_text("The token is wrong.")
    dialog.get_by_role("button", name="Keep it running").click()
    admin.show(without(TRIO, "4711-30"))
    expect(request).to_have_count(0)
