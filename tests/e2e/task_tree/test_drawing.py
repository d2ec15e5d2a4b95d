"""What the page of the task tree draws."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.fake_admin import ASYNCIO, TRIO, FakeAdmin, changed, crowd, row, stop_clock, without


def test_every_node_is_a_tree_item_with_its_place(tree: Locator) -> None:
    stream = row(tree, "stream, POST /upload, stream 5, client-disconnect, waits at upload, main.py:77")
    for name, value in {"level": 4, "posinset": 2, "setsize": 2}.items():
        expect(stream).to_have_attribute(f"aria-{name}", str(value))
    expect(row(tree, "connection, [::1]:40112")).to_have_attribute("aria-expanded", "true")
    expect(row(tree, "listener, http://127.0.0.1:8000")).not_to_have_attribute("aria-expanded", re.compile(""))
    expect(row(tree, "tasks, other tasks")).to_have_attribute("aria-expanded", "false")


def test_states_bytes_and_reasons(tree: Locator) -> None:
    expect(row(tree, "request, GET /slow")).to_contain_text("APP")
    expect(row(tree, "request, POST /order")).to_contain_text("AFTER")
    expect(row(tree, "stream, GET /events")).to_contain_text("0 B / 59.8 KiB")
    expect(row(tree, "scope, cancel scope, cancelled, shielded")).to_contain_text("passed")
    expect(row(tree, "stream, POST /upload")).to_have_class(re.compile("cancelling"))


def test_ages_and_deadlines_move_between_two_snapshots(admin: FakeAdmin, page: Page) -> None:
    """The snapshot says 12.2 s of age and 17.8 s until the deadline."""
    stop_clock(page)
    page.goto(admin.server.url + "/")
    request = row(page.get_by_role("tree"), "request, GET /slow")
    expect(request.locator(".deadline")).to_have_class("figure deadline")
    page.clock.run_for(10_000)
    figures = [float(text.split()[0]) for text in request.locator(".figure").all_inner_texts()[:2]]
    assert figures == pytest.approx([22.2, 7.8], abs=0.3)
    page.clock.run_for(20_000)
    expect(request.locator(".deadline")).to_have_class("figure deadline soon passed")
    expect(request).to_contain_text("passed")


def test_an_old_snapshot_says_its_age(admin: FakeAdmin, page: Page) -> None:
    """A large server sends them less often, so that the page stays cheap."""
    stop_clock(page)
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


@pytest.mark.parametrize("width", [390, 1280])
def test_where_a_task_waits_has_room(width: int, tree: Locator, page: Page) -> None:
    """It has neither a state nor an age, which would need it."""
    page.set_viewport_size({"width": width, "height": 844})
    task = row(tree, "task, main.refresh_prices")
    where = task.get_by_text("refresh_prices, main.py:22")
    assert where.evaluate("element => element.scrollWidth <= element.clientWidth")
    inner, outer = where.bounding_box(), task.bounding_box()
    assert inner is not None and outer is not None
    assert outer["y"] <= inner["y"] and inner["y"] + inner["height"] <= outer["y"] + outer["height"]


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
