"""What the admin listener answers, and to whom: under a path of a server in memory."""

import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.helpers.admin import VALIDATOR, find
from tests.helpers.apps import hello
from tests.helpers.serving import Site, serving
from tests.helpers.transcripts import body_of, get, receive_response, status_of
from tests.helpers.waiting_apps import ask, hang
from trioserve._admin import app as app_module
from trioserve._admin.app import AdminApp
from trioserve._admin.cancelling import CancelAnswer
from trioserve._admin.view import View
from trioserve._streams.memory import MemoryClient
from trioserve.testing import settled

PATH = "/-/admin"
OPTIONS: dict[str, Any] = {"admin_path": PATH, "admin_host": ("a",)}  # the helpers' host is called a


def fields_of(response: bytes) -> dict[str, str]:
    lines = response.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


def token_of(site: Site) -> str:
    assert site.server._admin is not None
    return site.server._admin._app.token


def posted(body: bytes, *fields: str, target: str = f"{PATH}/cancel", method: str = "POST") -> bytes:
    return get(target, f"content-length: {len(body)}", *fields, method=method) + body


# -- what there is ---------------------------------------------------------------------------------------------------


async def test_the_tree() -> None:
    async with serving(hang, **OPTIONS) as site:
        await ask(site, get("/<script>alert(1)</script>"))
        response = await site.answer_to(get(f"{PATH}/tree?limit=10"))
    snapshot = json.loads(body_of(response))
    VALIDATOR.validate(snapshot)
    assert snapshot["view"]["limit"] == 10
    assert find(snapshot, name="GET /<script>alert(1)</script>")
    fields = fields_of(response)
    assert (fields["content-type"], fields["x-content-type-options"]) == ("application/json", "nosniff")
    assert fields["cache-control"] == "no-store"


async def test_the_page_and_its_files() -> None:
    async with serving(hello, **OPTIONS) as site:
        page = await site.answer_to(get(f"{PATH}/"))
        script = await site.answer_to(get(f"{PATH}/main.js"))
        other = await site.answer_to(get(f"{PATH}/../secret"))
        redirect = await site.answer_to(get(PATH))
    assert status_of(page) == 200 and b"<!doctype html>" in body_of(page).lower()
    assert "default-src 'none'" in fields_of(page)["content-security-policy"]
    assert fields_of(script)["content-type"].startswith("text/javascript")
    assert status_of(other) == 404
    assert (status_of(redirect), fields_of(redirect)["location"]) == (308, "admin/")


async def test_health_and_readiness() -> None:
    async with serving(hang, shutdown_delay=5, **OPTIONS) as site:
        keep = await ask(site, get("/"))
        ready = await site.answer_to(get(f"{PATH}/readyz"))
        site.server.request_shutdown("test")
        await settled()
        delayed = await site.answer_to(get(f"{PATH}/readyz"))
        alive = await site.answer_to(get(f"{PATH}/healthz", method="GET"))
        keep.abort()
    assert (status_of(ready), body_of(ready)) == (200, b"ready\n")
    assert (status_of(delayed), body_of(delayed)) == (503, b"shutdown-delay\n")
    assert (status_of(alive), body_of(alive)) == (200, b"ok\n")


async def test_the_rest_is_the_applications() -> None:
    async with serving(hello, **OPTIONS) as site:
        for path in ("/", "/-/", "/-/administration", "/x/-/admin/tree"):
            assert body_of(await site.answer_to(get(path))) == path.encode()


async def test_a_root_path_in_front() -> None:
    async with serving(hello, root_path="/site", **OPTIONS) as site:
        assert status_of(await site.answer_to(get(f"{PATH}/tree"))) == 200


@pytest.mark.parametrize(("query", "problem"), [
    ("limit=0", "limit: '0' is no whole number from 1 to 500"),
    ("limit=501", "limit: '501' is no whole number from 1 to 500"),
    ("offset=-1", "offset: '-1' is no whole number from 0 to 1000000000"),
    ("limit=%C2%B2", "limit: 'Â²' is no whole number from 1 to 500"),
    ("filter=" + "x" * 201, "filter: at most 200 characters"),
])
async def test_parameters_that_cannot_be_read(query: str, problem: str) -> None:
    async with serving(hello, **OPTIONS) as site:
        for path in ("tree", "tree/events"):
            response = await site.answer_to(get(f"{PATH}/{path}?{query}"))
            assert status_of(response) == 400
            assert body_of(response).decode().startswith(problem.partition("'")[0])


@pytest.mark.parametrize("interval", ["0.1", "61", "soon", "nan"])
async def test_intervals_that_cannot_be_read(interval: str) -> None:
    async with serving(hello, **OPTIONS) as site:
        response = await site.answer_to(get(f"{PATH}/tree/events?interval={interval}"))
    assert (status_of(response), body_of(response)) == (
        400, f"interval: {interval!r} is no number of seconds from 0.2 to 60\n".encode())


# -- events ----------------------------------------------------------------------------------------------------------


def events_in(received: bytes) -> list[tuple[str, Any]]:
    """Each event with its data; chunks do not matter, because each is one whole event."""
    lines = [line for line in received.decode().split("\n") if line.startswith(("event:", "data:"))]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
            for event, data in zip(lines[::2], lines[1::2], strict=True)]


async def test_events_come_again_and_again_and_end_with_the_server() -> None:
    async with serving(hello) as shown:
        app = AdminApp(shown.server.look(), names=["a"])
        async with serving(app) as site, anyio.create_task_group() as tasks:
            client = await ask(site, get("/tree/events?interval=2"))
            await anyio.sleep(5)
            tasks.start_soon(app.end_streams)
            received = await client.receive_until(b"0\r\n\r\n")
    assert b"retry: 2000\n\n" in received
    events = events_in(received)
    assert [event for event, _ in events] == ["tree", "tree", "tree", "end"]
    for _, snapshot in events[:-1]:
        VALIDATOR.validate(snapshot)
    assert events[-1][1] == {"reason": "the server has stopped"}


class SlowSource:
    """Says that each snapshot has taken ``seconds``, after it has waited for some more."""

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch, *, waits: float = 0.0) -> None:
        self.seconds = seconds
        self.waits = waits
        self.asked: list[float] = []
        monkeypatch.setattr(app_module, "perf_counter", anyio.current_time)

    async def tree(self, view: View) -> dict[str, Any]:
        self.asked.append(anyio.current_time())
        await anyio.sleep(self.waits)
        return {"took": self.seconds}

    async def cancel(self, id: str) -> CancelAnswer:
        raise NotImplementedError

    def why_not_ready(self) -> str:
        return ""


@pytest.mark.parametrize(("seconds", "pages", "pause"), [(0.001, 1, 1), (0.02, 1, 2), (0.02, 2, 4), (2.0, 1, 10)])
async def test_pages_take_a_hundredth_of_the_time(
    seconds: float, pages: int, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SlowSource(seconds, monkeypatch)
    async with serving(AdminApp(source, names=["a"])) as site:
        clients = [await ask(site, get("/tree/events")) for _ in range(pages)]
        await anyio.sleep(45)
        for client in clients:
            client.abort()
    of_one = source.asked[::pages]
    assert of_one[-1] - of_one[-2] == pytest.approx(pause, abs=0.1)


async def test_a_worker_that_does_not_answer_is_waited_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SlowSource(0.001, monkeypatch, waits=2.0)
    async with serving(AdminApp(source, names=["a"])) as site:
        page = await ask(site, get("/tree/events"))
        await anyio.sleep(45)
        page.abort()
    assert source.asked[-1] - source.asked[-2] == pytest.approx(3, abs=0.1)


async def test_pages_are_bounded_and_those_that_were_closed_do_not_count() -> None:
    async with serving(hello, **OPTIONS) as site:
        for _ in range(2):
            pages = [await ask(site, get(f"{PATH}/tree/events")) for _ in range(20)]
            answers = [await page.receive_until(b"\r\n\r\n") for page in pages]
            response = await site.answer_to(get(f"{PATH}/tree/events"))
            for page in pages:
                page.abort()
            await anyio.sleep(3)
            assert [status_of(answer) for answer in answers] == [200] * 20
            assert (status_of(response), body_of(response)) == (503, b"20 pages are open already: close one\n")


async def test_no_snapshot_is_made_for_a_page_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SlowSource(0.0, monkeypatch)
    async with serving(AdminApp(source, names=["a"])) as site:
        page = await ask(site, get("/tree/events"))
        await anyio.sleep(3)
        page.abort()
        await anyio.sleep(3)
        asked = len(source.asked)
        await anyio.sleep(60)
    assert 1 < asked == len(source.asked)


@pytest.mark.parametrize("leave", [MemoryClient.abort, MemoryClient.send_eof], ids=["reset", "end"])
async def test_a_page_that_is_closed_leaves_no_line(
    leave: Callable[[MemoryClient], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(hello, **OPTIONS) as site:
        page = await ask(site, get(f"{PATH}/tree/events?interval=60"))
        await anyio.sleep(3)
        caplog.set_level(logging.INFO)
        leave(page)
        await anyio.sleep(3)
        tree = json.loads(body_of(await site.answer_to(get(f"{PATH}/tree"))))
        assert not find(tree, name=f"GET {PATH}/tree/events")
    assert "tree/events" not in caplog.text


# -- who may ask -----------------------------------------------------------------------------------------------------


async def asked_by(*fields: str, host: str = "127.0.0.1:9000", target: str = "/tree") -> bytes:
    request = f"GET {PATH}{target} HTTP/1.1\r\nhost: {host}\r\n" + "".join(f"{field}\r\n" for field in fields) + "\r\n"
    async with serving(hello, admin_path=PATH, admin_host=("site.example",)) as site:
        return await site.answer_to(request.encode())


@pytest.mark.parametrize("host", [
    "127.0.0.1:9000", "127.0.0.1", "[::1]:9000", "10.0.0.1:9000", "localhost:9000", "LOCALHOST", "site.example:9000",
    "Site.Example"])
async def test_hosts_that_may_be_asked_for(host: str) -> None:
    assert status_of(await asked_by(host=host)) == 200


@pytest.mark.parametrize("host", ["evil.example:9000", "localhost.evil.example", "127.0.0.1.evil.example", "evil"])
@pytest.mark.parametrize("target", ["/", "/tree", "/tree/events", "/main.js"])
async def test_a_name_that_was_made_to_lead_here(host: str, target: str) -> None:  # DNS rebinding
    response = await asked_by(host=host, target=target)
    assert status_of(response) == 403
    assert b"is not known here: use an IP address or localhost, or --admin-host" in body_of(response)


async def test_probes_may_use_any_name() -> None:
    assert status_of(await asked_by(host="evil.example", target="/healthz")) == 200


@pytest.mark.parametrize(("fields", "status"), [
    (["origin: http://127.0.0.1:9000"], 200),
    (["origin: http://127.0.0.1:9001"], 403),
    (["origin: https://127.0.0.1:9000"], 403),
    (["origin: http://evil.example"], 403),
    (["origin: null"], 403),
    (["sec-fetch-site: same-origin", "sec-fetch-mode: cors"], 200),
    (["sec-fetch-site: none", "sec-fetch-mode: navigate"], 200),
    (["sec-fetch-site: cross-site", "sec-fetch-mode: navigate"], 200),  # a link that somebody has clicked
    (["sec-fetch-site: cross-site", "sec-fetch-mode: no-cors"], 403),
    (["sec-fetch-site: same-site", "sec-fetch-mode: cors"], 403),
])
async def test_pages_of_other_sites(fields: list[str], status: int) -> None:
    assert status_of(await asked_by(*fields)) == status


@pytest.mark.parametrize("token", ["", "wrong", "é", "x" * 4000])
async def test_without_the_token_nothing_is_cancelled(token: str) -> None:
    async with serving(hang, **OPTIONS) as site:
        await ask(site, get("/"))
        tree = json.loads(body_of(await site.answer_to(get(f"{PATH}/tree"))))
        id = find(tree, name="GET /")[0]["id"]
        fields = [f"authorization: Bearer {token}"] if token else []
        response = await site.answer_to(posted(json.dumps({"id": id}).encode(), *fields))
        assert (status_of(response), fields_of(response)["www-authenticate"]) == (401, "Bearer")
        tree = json.loads(body_of(await site.answer_to(get(f"{PATH}/tree"))))
        assert find(tree, name="GET /", state="APP")


async def test_with_the_token() -> None:
    async with serving(hang, **OPTIONS) as site:
        client = await ask(site, get("/"))
        tree = json.loads(body_of(await site.answer_to(get(f"{PATH}/tree"))))
        id = find(tree, name="GET /")[0]["id"]
        response = await site.answer_to(posted(
            json.dumps({"id": id}).encode(), f"authorization: bearer {token_of(site)}"))
        assert await client.receive_rest() == b""
    assert status_of(response) == 200
    assert json.loads(body_of(response)) == {"id": id, "kind": "request", "name": "GET /"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"id": 12}', b"x" * 5000])
async def test_bodies_that_say_nothing(body: bytes) -> None:
    async with serving(hello, **OPTIONS) as site:
        response = await site.answer_to(posted(body, f"authorization: Bearer {token_of(site)}"))
    assert (status_of(response), json.loads(body_of(response))) == (
        400, {"error": 'the body is not of the form {"id": "4711-12"}'})


@pytest.mark.parametrize(("method", "target", "allow"), [
    ("GET", "/cancel", "POST"), ("PUT", "/cancel", "POST"), ("POST", "/tree", "GET, HEAD"),
    ("DELETE", "/", "GET, HEAD")])
async def test_methods(method: str, target: str, allow: str) -> None:
    async with serving(hello, **OPTIONS) as site:
        response = await site.answer_to(get(f"{PATH}{target}", method=method))
    assert (status_of(response), fields_of(response)["allow"]) == (405, allow)


async def test_the_token_is_another_one_each_time_and_in_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("trioserve.asgi").setLevel(5)
    tokens = set()
    try:
        for _ in range(2):
            async with serving(hello, access_log=True, **OPTIONS) as site:
                tokens.add(token_of(site))
                await site.answer_to(posted(b'{"id": "1-1"}', f"authorization: Bearer {token_of(site)}"))
                await site.answer_to(get("/", f"authorization: Bearer {token_of(site)}"))
    finally:
        logging.getLogger("trioserve.asgi").setLevel(logging.NOTSET)
    assert len(tokens) == 2
    lines = [line for line in caplog.messages if any(token in line for token in tokens)]
    assert [line.partition("#")[0] for line in lines] == ["Admin page: http://192.0.2.80:80/-/admin/"] * 2


async def test_two_responses_on_one_connection() -> None:
    async with serving(hello, **OPTIONS) as site:
        client = await ask(site, get(f"{PATH}/healthz") * 2)
        assert [status_of(await receive_response(client)) for _ in range(2)] == [200, 200]
