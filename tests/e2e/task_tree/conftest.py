"""The page of the task tree, open in a browser, with a tree that the test says."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.fake_admin import TRIO, FakeAdmin
from tests.helpers.server_process import Flavour, ServerProcess, serve


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
