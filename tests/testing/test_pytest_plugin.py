"""The fixtures, in suites of their own: with pytest-trio, with anyio's plugin, with pytest-asyncio, and with none."""

from typing import Final

import pytest

from tests.helpers.plugins import ANYIO, ASYNCIO, TRIO, XDIST, run_suite

pytest_plugins = ["pytester"]

APP: Final = """
import anyio, pytest, time, urllib.request

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        await anyio.sleep(3600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"""


def run(pytester: pytest.Pytester, source: str, *arguments: str, plugins: tuple[str, ...]) -> pytest.RunResult:
    """Run ``source``, with an application before it, as a suite."""
    pytester.makepyfile(APP + source)
    return run_suite(pytester, *arguments, plugins=plugins)


SUITE: Final = """
pytestmark = pytest.mark.trioserve(app, timeout_request=60)

@pytest.mark.{mark}
async def test_client(trioserve_client):
    assert (await trioserve_client.get("/there")).text == "/there"

@pytest.mark.{mark}
async def test_server_and_client_are_of_one_server(trioserve_server, trioserve_client):
    await trioserve_client.get("/")
    assert trioserve_server.connections == 1

@pytest.mark.{mark}
async def test_raw(trioserve_server):
    connection = trioserve_server.connect()
    await connection.send(b"GET /raw HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n")
    assert (await connection.receive_rest()).endswith(b"/raw")
    await trioserve_server.shutdown()
    assert trioserve_server.phases[-1] == "STOPPED"
"""

VIRTUAL: Final = """
@pytest.mark.{mark}
async def test_the_test_stops_in_the_middle({fixtures}trioserve_server):
    await trioserve_server.connect().send(b"GET /slow HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n")

@pytest.mark.{mark}
@pytest.mark.trioserve(timeout_request=30)
async def test_an_option_of_the_closest_mark_in_virtual_time({fixtures}trioserve_client):
    began = anyio.current_time()
    assert (await trioserve_client.get("/slow", timeout=None)).status_code == 504
    assert anyio.current_time() - began == 30
"""


def test_pytest_trio(pytester: pytest.Pytester) -> None:
    suite = SUITE.format(mark="trio") + VIRTUAL.format(mark="trio", fixtures="autojump_clock, ")
    run(pytester, suite, plugins=(TRIO,)).assert_outcomes(passed=5)


def test_pytest_trio_in_trio_mode(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from pytest_trio.enable_trio_mode import *")
    suite = """
@pytest.fixture(name="app")
async def make_app():
    return app

async def test_an_app_from_an_async_fixture(trioserve_client, autojump_clock):
    assert (await trioserve_client.get("/there")).text == "/there"
"""
    run(pytester, suite, plugins=(TRIO,)).assert_outcomes(passed=1)


def test_anyio_on_both_backends(pytester: pytest.Pytester) -> None:
    suite = """
from trioserve.testing import virtual_backend

@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request):
    return virtual_backend(request.param)
""" + SUITE.format(mark="anyio") + VIRTUAL.format(mark="anyio", fixtures="")
    run(pytester, suite, plugins=(ANYIO,)).assert_outcomes(passed=10)


def test_anyio_on_real_clocks(pytester: pytest.Pytester) -> None:
    run(pytester, SUITE.format(mark="anyio"), plugins=(ANYIO,)).assert_outcomes(passed=6)


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(pytester: pytest.Pytester, mode: str) -> None:
    run(pytester, SUITE.format(mark="asyncio"), f"--asyncio-mode={mode}", plugins=(ASYNCIO,)).assert_outcomes(passed=3)


def test_pytest_asyncio_in_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("""
from trioserve.testing import VirtualClockLoop

def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualClockLoop}
""")
    suite = SUITE.format(mark="asyncio") + VIRTUAL.format(mark="asyncio", fixtures="")
    run(pytester, suite, plugins=(ASYNCIO,)).assert_outcomes(passed=5)


def test_all_plugins_at_once(pytester: pytest.Pytester) -> None:
    suite = """
pytestmark = pytest.mark.trioserve(app=app)

@pytest.mark.trio
async def test_trio(trioserve_client, autojump_clock):
    assert (await trioserve_client.get("/there")).text == "/there"

@pytest.mark.asyncio
async def test_asyncio(trioserve_client):
    assert (await trioserve_client.get("/there")).text == "/there"

@pytest.mark.anyio
async def test_anyio(trioserve_client):
    assert (await trioserve_client.get("/there")).text == "/there"

def test_live(live_server_url):
    assert urllib.request.urlopen(live_server_url + "/there").read() == b"/there"
"""
    run(pytester, suite, plugins=(TRIO, ASYNCIO, ANYIO)).assert_outcomes(passed=5)


@pytest.mark.parametrize(("mark", "plugin"), [("trio", TRIO), ("anyio", ANYIO)])
def test_pytest_asyncio_in_auto_mode_takes_tests_of_others(
    pytester: pytest.Pytester, mark: str, plugin: str
) -> None:
    suite = f"""
pytestmark = [pytest.mark.trioserve(app=app), pytest.mark.{mark}]

async def test_client(trioserve_client):
    raise AssertionError("nobody can run it")
"""
    result = run(pytester, suite, "--asyncio-mode=auto", plugins=(plugin, ASYNCIO))
    result.stdout.fnmatch_lines(["*two plugins would run this test: *; set asyncio_mode = strict"])
    result.stdout.no_fnmatch_line("*nobody can run it*")


LIVE: Final = """
pytestmark = pytest.mark.trioserve(app, backend="asyncio")

@pytest.mark.parametrize("number", range(4))
def test_live(live_server_url, number):
    assert urllib.request.urlopen(f"{live_server_url}/{number}").read() == f"/{number}".encode()
"""


def test_live_servers_in_several_processes(pytester: pytest.Pytester) -> None:
    run(pytester, LIVE, "--numprocesses=2", plugins=(XDIST,)).assert_outcomes(passed=4)


def test_without_an_application_it_says_what_to_do(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_live(live_server_url): pass", plugins=())
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*no application: mark the test with @pytest.mark.trioserve(app=...)*'])


def test_a_plain_test_is_told_what_to_take(pytester: pytest.Pytester) -> None:
    result = run(pytester, "@pytest.mark.trioserve(app=app)\ndef test(trioserve_client): pass", plugins=(ANYIO,))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*other tests take live_server_url*"])


@pytest.mark.parametrize(("plugin", "mark"), [(TRIO, "trio"), (ANYIO, "anyio"), (ASYNCIO, "asyncio")])
def test_a_server_that_does_not_start_is_an_error_of_the_test(
    pytester: pytest.Pytester, plugin: str, mark: str
) -> None:
    suite = f"""
async def fails(scope, receive, send):
    await receive()
    await send({{"type": "lifespan.startup.failed", "message": "no database"}})

@pytest.mark.{mark}
@pytest.mark.trioserve(app=fails)
async def test(trioserve_client):
    raise AssertionError("not reached")
"""
    result = run(pytester, suite, plugins=(plugin,))
    outcomes = result.parseoutcomes()
    assert outcomes.get("passed", 0) == 0
    result.stdout.fnmatch_lines(["*StartupFailed: the application failed to start: no database*"])


def test_whoever_does_not_use_it_pays_nothing(pytester: pytest.Pytester) -> None:
    suite = """
import sys

def test_nothing_is_imported():
    assert [name for name in sys.modules if name.startswith(("trioserve._server", "trioserve._config", "trio.", "h11",
                                                             "httpx", "trioserve.testing.memory"))] == []
"""
    pytester.makepyfile(suite)
    run_suite(pytester, plugins=()).assert_outcomes(passed=1)
