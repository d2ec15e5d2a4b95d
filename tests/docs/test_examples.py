"""Every program under docs/examples runs, on both backends where it has a choice."""

import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from websockets.exceptions import InvalidStatus

import trioserve
from tests.helpers.certificates import authority, client_certificate, client_context, files_of, server_certificate
from tests.helpers.raw_http import RawClient, fetch
from tests.helpers.raw_websocket import RawWebSocket
from tests.helpers.server_process import WAIT_SECONDS, Flavour, serve, wait_until
from tests.helpers.worker_processes import ready_pids, serve_with_workers
from tests.helpers.ws_frames import TEXT
from tests.helpers.ws_programs import open_websocket
from trioserve._config.sources import read_file
from trioserve.testing import ChaosFailed, run_in_virtual_time, serve_background

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


def load(name: str) -> Any:
    """A fresh copy of the example as a module; nothing behind ``if __name__ == "__main__"`` runs."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve ``app`` on a free port for the length of the block."""
    async with serve_background(app) as server, httpx.AsyncClient(base_url=server.url) as client:
        yield client


def run_program(name: str, *arguments: str) -> list[str]:
    """The lines that the example prints when it is run as its docstring says."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50, cwd=EXAMPLES.parents[1])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.anyio
async def test_hello_asgi() -> None:
    async with client_of(load("hello_asgi").app) as client:
        assert (await client.get("/there")).text == "Hello from /there\n"


def test_serve_in_thread() -> None:
    assert run_program("serve_in_thread") == ["Hello"]


@pytest.mark.anyio
async def test_hello_fastapi() -> None:
    async with client_of(load("hello_fastapi").app) as client:
        assert (await client.get("/", params={"name": "reader"})).json() == {"message": "Hello, reader"}


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_blocking(backend: str) -> None:
    guide = (EXAMPLES.parent / "guides/blocked-loop.md").read_text("utf-8")
    first, last = re.findall(r"^WARNING:  The event loop (stands still .*|goes on .*)$", guide, re.MULTILINE)
    with serve("blocking:app", Flavour(backend), "--app-dir", str(EXAMPLES), "--warn-blocked", "100ms") as server:
        assert fetch(server.address, "/").body == b"a report\n"
        for shown in (first, last):
            said = server.stderr.wait_for(shown.partition(" ")[0] + " ")
            assert without_figures(said) == without_figures(f"WARNING:  The event loop {shown}")


def without_figures(line: str) -> str:
    """Without what differs from run to run: lengths of time, directory, the client's port and the request's name."""
    line = re.sub(r"/\S+/", "/", re.sub(r" \[\w+-\w+\]$", " [ID]", line))
    return re.sub(r" +[\d.]+ m?s\b", " T", re.sub(r"127\.0\.0\.1:\d+", "CLIENT", line))


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_timelines(backend: str) -> None:
    page = (EXAMPLES.parent / "concepts/timelines.md").read_text("utf-8")
    report, ticks, save = (block.splitlines() for block in re.findall(r"^```text\n(.*?)^```", page, re.M | re.S))
    options = ["--app-dir", str(EXAMPLES), "--teach", "--timeout-request", "2s", "--no-access-log"]
    with serve("timelines:app", Flavour(backend), *options) as server:
        assert fetch(server.address, "/report").status == 200
        with RawClient(server.address) as client:
            client.get("/ticks")
            assert client.receive_until(b"tick")
        server.stderr.wait_for("the application was cancelled")
        assert fetch(server.address, "/save").status == 504
        server.stderr.wait_for("the application was cancelled", times=2)
        lines = [line for line in server.stderr.text.splitlines() if "--teach" not in line]
    begin = next(number for number, line in enumerate(lines) if "GET /report" in line)
    shown = [*report, *ticks, *save]
    said = lines[begin:][:len(shown)]
    assert [without_figures(line) for line in said] == [without_figures(line) for line in shown]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_otel(backend: str) -> None:
    with serve("otel:app", Flavour(backend), "--app-dir", str(EXAMPLES), "--otel", "--no-access-log") as server:
        assert fetch(server.address, "/tea/green").body == b"/tea/green"
        server.stop()
    text = server.stdout.text  # spans as JSON, one after the other
    spans = {span["name"]: span for span in json.loads("[" + text.replace("\n}\n{", "\n},\n{") + "]")}
    request = spans["GET /tea/{kind}"]
    assert request["kind"] == "SpanKind.SERVER"
    assert request["attributes"]["url.path"] == "/tea/green"
    assert spans["brew"]["parent_id"] == request["context"]["span_id"]


@pytest.mark.anyio
async def test_fastapi_scope(caplog: pytest.LogCaptureFixture) -> None:
    example = load("fastapi_scope")
    async with client_of(example.app) as client:
        assert (await client.post("/orders/7")).json() == {"order": 7}
        assert (await client.post("/orders/2000000")).status_code == 503
    assert example.mails == ["order 7 is on its way"]
    assert "no-such-order: ended POST /orders/2000000" in caplog.text


@pytest.mark.anyio
async def test_background_ticker(capsys: pytest.CaptureFixture[str]) -> None:
    with anyio.fail_after(20):  # less than a shutdown that has to cancel it
        async with client_of(load("background_ticker").app) as client:
            assert (await client.get("/")).text == "ticking\n"
    assert capsys.readouterr().out == "tick\n"


@pytest.mark.anyio
async def test_open_app(capsys: pytest.CaptureFixture[str]) -> None:
    async with client_of(load("open_app").open_app) as client:
        assert (await client.get("/rows")).json() == "rows of select 1"
        assert capsys.readouterr().out == "pool: open\n"
    assert capsys.readouterr().out == "pool: closed\n"


@pytest.mark.anyio
async def test_send_files() -> None:
    example = load("send_files")
    source = (EXAMPLES / "send_files.py").read_bytes()
    async with client_of(example.app) as client:
        assert (await client.get("/")).content == source
        assert (await client.get("/rest")).content == source.partition(b"\n")[2]
    async with client_of(example.WithoutPathsend(example.app)) as client:
        assert (await client.get("/")).content == source


@pytest.mark.anyio
async def test_streaming_goes_on_until_the_client_leaves(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        client_of(load("streaming").app) as client,
        await anyio.connect_tcp(client.base_url.host, client.base_url.port or 80) as stream,
    ):
        await stream.send(b"GET / HTTP/1.0\r\n\r\n")
        received = b""
        while b"\n0\n1\n2\n" not in received:
            received += await stream.receive()
    assert capsys.readouterr().out.startswith("stopped after ")  # the server has stopped, so the example has


@pytest.mark.anyio
async def test_shop_to_watch() -> None:
    def watch_prices(url: str) -> str | bytes:
        with open_websocket(f"{url}/updates") as socket:
            return socket.recv(WAIT_SECONDS)

    async with client_of(load("shop_to_watch").app) as client:
        assert (await client.get("/")).text == "hello\n"
        offers = (await client.get("/offers?seconds=0")).text
        assert sorted(offers.strip().split(", ")) == ["prices", "reviews", "stock"]
        assert (await client.post("/orders?seconds=0")).text == "thank you\n"
        async with await anyio.connect_tcp(client.base_url.host, client.base_url.port or 80) as stream:
            await stream.send(b"GET /export HTTP/1.0\r\n\r\n")
            received = b""
            while b"1,hat,25.00\n" not in received:
                received += await stream.receive()
        assert await anyio.to_thread.run_sync(watch_prices, ws_url(client)) == "hat 25"


@pytest.mark.anyio
async def test_mutual_tls(tmp_path: Path) -> None:
    certificate, key = files_of(server_certificate(), tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    example = load("mutual_tls")
    context = example.make_context(certificate, key, tmp_path / "ca.pem")
    async with (
        serve_background(example.app, ssl_context=context) as server,
        httpx.AsyncClient(verify=client_context(client_certificate()), trust_env=False) as client,
    ):
        _, port = server.addresses[0]
        assert (await client.get(f"https://localhost:{port}/")).text.startswith("Hello, CN=Ann,")


@pytest.mark.anyio
async def test_request_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "shop")
    async with client_of(load("request_id").app) as client:
        answer = await client.get("/hat", headers={"x-request-id": "from-a-proxy"})
    assert answer.headers["x-request-id"] == "from-a-proxy"
    [record] = [record for record in caplog.records if record.name == "shop"]
    assert vars(record)["request_id"] == "from-a-proxy"


@pytest.mark.anyio
async def test_until_shutdown() -> None:
    ticked = anyio.Event()
    received = []

    async def listen(url: str) -> None:
        async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
            async for text in response.aiter_text():
                received.append(text)
                ticked.set()

    async with anyio.create_task_group() as clients, anyio.create_task_group() as nursery:
        config = trioserve.Config(port=0, timeout_request=50)
        [(host, port)] = await nursery.start(trioserve.serve, load("until_shutdown").app, config)
        clients.start_soon(listen, f"http://{host}:{port}/")
        await ticked.wait()
        nursery.cancel_scope.cancel()
    assert "".join(received).endswith("data: tick\n\nevent: bye\ndata: the server stops\n\n")


async def test_hello_flask() -> None:
    async with client_of(load("hello_flask").app) as client:
        assert (await client.get("/reader")).json() == {"message": "Hello, reader"}


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_worker_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    options = ["--app-dir", str(EXAMPLES), "--worker-exited", "worker_metrics:forget_worker"]
    with serve_with_workers("worker_metrics:app", Flavour(backend), *options, errors_expected=True) as server:
        first, _ = ready_pids(server)
        assert b"\nserving_workers 2.0\n" in fetch(server.address, "/").body
        os.kill(first, signal.SIGKILL)
        server.stderr.wait_for("is ready")
        wait_until(lambda: b"\nserving_workers 2.0\n" in fetch(server.address, "/").body, "the dead one is forgotten")
def test_room_redis() -> None:
    """What it does on two workers is tested there, with a Redis."""
    assert [route.path for route in load("room_redis").app.routes] == ["/"]


def test_django_static() -> None:
    """In a process of its own: Django has one configuration for each."""
    program = (
        "from django.conf import settings\n"
        "settings.configure(DEBUG=True, STATIC_URL='static/', SECRET_KEY='for this test only',\n"
        "    INSTALLED_APPS=['django.contrib.staticfiles', 'django.contrib.admin', 'django.contrib.auth',\n"
        "                    'django.contrib.contenttypes'])\n"
        "import asyncio, httpx, sys; sys.path.insert(0, 'docs/examples')\n"
        "from django_static import application\n"
        "async def visit():\n"
        "    transport = httpx.ASGITransport(application)\n"
        "    async with httpx.AsyncClient(transport=transport, base_url='http://localhost') as client:\n"
        "        print((await client.get('/static/admin/css/base.css')).status_code)\n"
        "asyncio.run(visit())\n")
    done = subprocess.run([sys.executable, "-c", program], cwd=EXAMPLES.parents[1], capture_output=True, text=True,
                          timeout=30)
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr


def test_trioserve_toml() -> None:
    given = {name: known.value for name, known in read_file(str(EXAMPLES / "trioserve.toml")).items()}
    assert given.pop("app") == "main:app"
    assert trioserve.Config(**given).timeout_request == 60


def test_logging_yaml() -> None:
    program = "import logging; from trioserve._supervisor.log_config import apply_log_config; "
    program += f"apply_log_config({str(EXAMPLES / 'logging.yaml')!r}); logging.getLogger('trioserve').info('started')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=EXAMPLES.parents[1],
        capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.endswith(" INFO trioserve: started\n")


def test_logging_files_yaml(tmp_path: Path) -> None:
    """What it does in a server is tested with the server."""
    program = "import logging; from trioserve._supervisor.log_config import apply_log_config; "
    program += f"apply_log_config({str(EXAMPLES / 'logging_files.yaml')!r}); "
    program += "logging.getLogger('trioserve').info('started', extra={'request_id': 'abc'})"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("] started [abc]\n")
    assert (tmp_path / "access.log").read_text() == ""


def test_cloud_logging() -> None:
    formatter = load("cloud_logging").CloudFormatter()
    line = json.loads(formatter.format(logging.makeLogRecord({"levelname": "WARNING", "msg": "slow"})))
    assert (line["severity"], line["level"], line["message"]) == ("WARNING", "warning", "slow")


def test_own_socket() -> None:
    assert run_program("own_socket") == ["served on app.sock"]


@pytest.mark.anyio
async def test_websocket_echo(capsys: pytest.CaptureFixture[str]) -> None:
    def visit(url: str) -> None:
        with open_websocket(f"{url}/echo") as socket:
            for message in ("text", b"bytes"):
                socket.send(message)
                assert socket.recv(WAIT_SECONDS) == message
            socket.close(4000)
        with pytest.raises(InvalidStatus, match="403"), open_websocket(f"{url}/elsewhere"):
            pass

    async with client_of(load("websocket_echo").app) as client:
        await anyio.to_thread.run_sync(visit, ws_url(client))
    assert capsys.readouterr().out == "closed with 4000\n"


@pytest.mark.anyio
async def test_chat() -> None:
    def talk(url: str) -> None:
        with open_websocket(f"{url}/chat?name=Ada") as ada, open_websocket(f"{url}/chat?name=Bob") as bob:
            assert [ada.recv(WAIT_SECONDS) for _ in range(2)] == ["Ada joins", "Bob joins"]
            ada.send("hello")
            assert ada.recv(WAIT_SECONDS) == "Ada: hello"
            assert [bob.recv(WAIT_SECONDS) for _ in range(2)] == ["Bob joins", "Ada: hello"]
            bob.close()
            assert ada.recv(WAIT_SECONDS) == "Bob leaves"

    async with client_of(load("chat").app) as client:
        assert "new WebSocket(" in (await client.get("/")).text
        await anyio.to_thread.run_sync(talk, ws_url(client))


@pytest.mark.anyio
async def test_chat_goes_on_without_those_who_do_not_read() -> None:
    def talk(url: str) -> None:
        address = client.base_url.host, client.base_url.port or 80
        with open_websocket(f"{url}/chat?name=Ada") as ada, RawWebSocket(address, receive_buffer=4096) as bob:
            bob.open("/chat?name=Bob")
            for _ in range(1000):
                ada.send("x" * 60_000)
                if ada.recv(WAIT_SECONDS) == "Bob leaves":
                    break
            else:
                pytest.fail("Bob may stay however far he is behind")
            while (frame := bob.receive_frame()).opcode == TEXT:
                pass
            assert (frame.close_code, frame.close_reason) == (1013, "too slow")

    async with client_of(load("chat").app) as client:
        await anyio.to_thread.run_sync(talk, ws_url(client))


def ws_url(client: httpx.AsyncClient) -> str:
    return f"ws://{client.base_url.host}:{client.base_url.port}"


def test_embed_trio() -> None:
    assert run_program("embed_trio") == ["a child of your nursery"]


def test_embed_asyncio() -> None:
    assert run_program("embed_asyncio") == ["a task of your TaskGroup"]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_graceful_shutdown(backend: str) -> None:
    lines = run_program("graceful_shutdown", backend)
    assert sorted(lines) == ["client: 200 finished all the same", "lifespan: closing resources", "server: stopped"]
    assert lines.index("lifespan: closing resources") < lines.index("server: stopped")


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_tiny_server(backend: str) -> None:
    lines = run_program("tiny_server", backend)
    assert sorted(lines) == sorted(printed("tutorial.md"))
    assert lines.index("client: /0.2 -> HTTP/1.1 200 OK") < lines.index("server: every connection has ended")
    assert lines.index("server: every connection has ended") < lines.index("database: closed")


def printed(page: str) -> list[str]:
    """What a page says that its program prints."""
    text = (EXAMPLES.parent / page).read_text("utf-8")
    return text.partition("It prints:\n\n```text\n")[2].partition("```")[0].splitlines()


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_zero_loss(backend: str) -> None:
    """The program fails by itself when a request is lost; here with small numbers."""
    lines = run_program("zero_loss", "--requests", "4000", "--backend", backend)
    assert lines[0].startswith("workers replaced: 6 by SIGHUP, ")
    assert lines[0].endswith("1 killed; exit code 0")
    assert int(lines[1].removesuffix(" answered")) >= 4000


def test_chaos_test() -> None:
    assert run_program("chaos_test") == ["trio: 18 rounds, nothing found", "asyncio: 18 rounds, nothing found"]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_chaos_test_without_its_shield(backend: str) -> None:
    """As its comment says. FastAPI shields the end of a dependency, so a dependency would not show it."""
    text = (EXAMPLES / "chaos_test.py").read_text("utf-8")
    shield = "with anyio.move_on_after(5, shield=True):"
    assert shield in text
    module: dict[str, Any] = {"__name__": "without_its_shield"}
    exec(compile(text.replace(shield, "if True:"), "without_its_shield.py", "exec"), module)
    with pytest.raises(ChaosFailed, match=r"cut: .* \(transaction\) \[GET /hats, cancel@0\]"):
        run_in_virtual_time(module["test_the_shop"], backend=backend)


def test_every_example_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    for path in EXAMPLES.glob("*.*"):
        assert any(name.startswith(path.stem) for name in tested), path.name


def test_every_example_is_in_a_page_or_a_guide_links_to_it() -> None:
    pages = "".join(page.read_text("utf-8") for page in EXAMPLES.parent.rglob("*.md"))
    for path in EXAMPLES.glob("*.*"):
        assert f"examples/{path.name}" in pages, path.name
