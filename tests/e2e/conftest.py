"""Fixtures of the end-to-end tests: real processes, real sockets, in each flavour of the server."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.helpers.server_process import EVERY_FLAVOUR, FLAVOURS, LOOPS, WAIT_SECONDS, Flavour
from tests.helpers.system_programs import system_program

expect.set_options(timeout=WAIT_SECONDS * 1000)

UNMEASURED: Final = frozenset({
    "test_browser", "test_clients", "test_deployments", "test_django", "test_drawing", "test_event_streams",
    "test_fastapi", "test_for_everybody", "test_forked_children", "test_frameworks", "test_git",
    "test_http2_clients", "test_http2_memory", "test_litestar", "test_live", "test_many_connections",
    "test_misbehaving_apps", "test_mixed_traffic", "test_prometheus", "test_proxies", "test_quart_trio",
    "test_resets", "test_room_redis", "test_slow_clients", "test_sqlalchemy", "test_starlette", "test_sticky",
    "test_tls", "test_tls_names", "test_use", "test_websocket_abuse", "test_websocket_clients", "test_wsgi",
})
"""They are about clients, frameworks, proxies and load. What their servers run is measured in other tests.

Children that are forked while another thread runs are here, too: coverage hears their SIGTERM, and then wants locks
that nobody gives back in them.
"""


@pytest.fixture(scope="module", autouse=True)
def measuring(request: pytest.FixtureRequest) -> Iterator[None]:
    """Servers count their own lines where that pays: it makes everything slower, and their start most of all."""
    with pytest.MonkeyPatch.context() as environment:
        if request.path.stem in UNMEASURED:
            environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


def params_of(flavours: Iterable[Flavour]) -> list[Any]:
    """A flavour whose package is not installed is skipped by name: trioserve runs without the package, too."""
    return [
        pytest.param(
            flavour, id=str(flavour),
            marks=pytest.mark.skipif(flavour.missing is not None, reason=f"{flavour.missing} is not installed"))
        for flavour in flavours
    ]


@pytest.fixture(scope="module", params=params_of(FLAVOURS))
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Both parsers and all three event loops."""
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module", params=params_of(EVERY_FLAVOUR))
def every_flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each parser on each event loop."""
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module", params=params_of(LOOPS))
def loop(request: pytest.FixtureRequest) -> Flavour:
    """All three event loops."""
    found: Flavour = request.param
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's, not one that playwright would download."""
    chromium = system_program("chromium", package="chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Whatever the page complains of fails the test."""
    complaints: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert complaints == []
