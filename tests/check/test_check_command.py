"""``trioserve check`` as a person runs it: two processes, a report, an exit code."""

import json
import re
from pathlib import Path

import pytest

from tests.check.command import PATIENT, ROOT, SCHEMA, report_of, run_check
from tests.check.zoo import line_of
from trioserve._points import points_of, points_of_lifespan
from trioserve._trial import KINDS


def test_the_json_is_as_the_guide_says() -> None:
    guide = (ROOT / "docs/guides/check.md").read_text("utf-8").partition("## As JSON")[2]
    report = report_of("wrong_messages:text")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", guide, re.MULTILINE))
    assert list(rows) == list(report)
    assert set(re.findall(r"`(\w+)`", rows["backends"])) == set(report["backends"][0])
    assert set(re.findall(r"`(\w+)`", rows["findings"])) == set(report["findings"][0])
    assert report["version"] == 1


def test_the_schema_knows_every_kind() -> None:
    finding = SCHEMA["$defs"]["finding"]["properties"]
    assert set(finding["kind"]["enum"]) == set(KINDS)
    for point in points_of(1, 1) + points_of_lifespan({"startup": 1, "cleanup": 1}):
        assert re.match(finding["point"]["pattern"], str(point))


def test_what_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("""
import socket, threading

kept = []

async def app(scope, receive, send):
    assert scope["type"] == "http"
    kept.append(socket.socket())
    threading.Thread(target=threading.Event().wait, name="poller", daemon=True).start()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
""")
    done = run_check("main:app", "--json", cwd=tmp_path)
    found = [(finding["text"], finding["where"]) for finding in json.loads(done.stdout)["findings"]]
    assert found == [
        ("a socket is still open after the shutdown", "main.py:8 (app)"),
        ("the thread poller runs on after the shutdown", ""),
    ]


@pytest.mark.parametrize(("app", "answer", "found"), [
    ("after_the_end", "101", [
        ("asgi", "it sends websocket.send after its own websocket.close", "main.py:10 (after_the_end)")]),
    ("both", "101, closed with 1011", [
        ("asgi", "it sends the header b'X-Name': names are in lower case", "main.py:14 (both)"),
        ("asgi", "websocket.send has exactly one of text and bytes", "main.py:15 (both)")]),
    ("crash", "101, closed with 1011", [
        ("answer", "it is answered by 101, closed with 1011: ValueError: no hats", "main.py:21 (crash)")]),
    ("handshake", "403", [
        ("asgi", "it returns before it has answered the handshake, by websocket.accept or websocket.close", "")]),
    ("refusal", "403", []),
])  # fmt: skip
def test_websockets(tmp_path: Path, app: str, answer: str, found: list[tuple[str, str, str]]) -> None:
    (tmp_path / "main.py").write_text("""
async def handshake(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()

async def after_the_end(scope, receive, send):
    await handshake(scope, receive, send)
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})
    await send({"type": "websocket.send", "text": "one more thing"})

async def both(scope, receive, send):
    await handshake(scope, receive, send)
    await send({"type": "websocket.accept", "headers": [(b"X-Name", b"a chat")]})
    await send({"type": "websocket.send", "text": "a", "bytes": b"b"})

async def crash(scope, receive, send):
    await handshake(scope, receive, send)
    await send({"type": "websocket.accept"})
    await receive()
    raise ValueError("no hats")

async def refusal(scope, receive, send):
    await handshake(scope, receive, send)
    await send({"type": "websocket.close"})
""")
    done = run_check(f"main:{app}", "--json", "--backend", "trio", "--request", "WS /chat hello", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert report["backends"][0]["answers"] == {"WS /chat": answer}
    assert [(finding["kind"], finding["text"], finding["where"]) for finding in report["findings"]] == found


def test_an_answer_and_then_an_error(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("""
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
    raise ValueError("no hats")
""")
    [finding] = json.loads(run_check("main:app", "--json", "--backend", "trio", cwd=tmp_path).stdout)["findings"]
    assert (finding["kind"], finding["where"]) == ("answer", "main.py:6 (app)")
    assert finding["text"] == "it is answered by 200, and then it fails: ValueError: no hats"


def test_threads_of_wsgi_that_wait_for_each_other(tmp_path: Path) -> None:
    """A lock is taken in front of a part that a client which has left never asks for, and released behind it."""
    (tmp_path / "main.py").write_text("""
import threading
from trioserve.testing import virtual_loop

virtual_loop.REAL_SECONDS = 2.0  # instead of 10, for which nothing happens
lock = threading.Lock()

def app(environ, start_response):
    lock.acquire()
    start_response("200 OK", [])
    yield b"one" * 50_000  # more than is taken before the client has it
    yield b"two"
    lock.release()
""")
    done = run_check("main:app", "--point", "leave@0", "--backend", "asyncio", "--json", cwd=tmp_path)
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["kind"], finding["where"]) == ("silent", "main.py:9 (app)")


def test_http2_without_a_library_for_it(tmp_path: Path) -> None:
    """The application is not at fault, so there is no finding."""
    for library in ("h2", "ngh2"):
        (tmp_path / f"{library}.py").write_text("raise ImportError('not installed')")
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...")
    done = run_check("main:app", "--request", "H2 GET /", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: http2: no engine is installed; install trioserve[http2]\n"


def test_lifespans(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("""
async def without(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
    await send({"type": "http.response.body"})

async def accident(scope, receive, send):
    scope["method"]
    await without(scope, receive, send)

async def silent(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
    else:
        await without(scope, receive, send)

async def refusing(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        raise OSError("no database")
    await without(scope, receive, send)
""")
    def found(app: str) -> list[tuple[str, str, str]]:
        report = json.loads(run_check(f"main:{app}", "--json", cwd=tmp_path).stdout)
        return [(finding["kind"], finding["text"], finding["where"]) for finding in report["findings"]]

    [(kind, text, where)] = found("accident")
    assert (kind, where) == ("lifespan", "main.py:7 (accident)")
    assert text.startswith("called for its lifespan, it fails by accident: KeyError: 'method'")
    [(kind, text, where)] = found("silent")
    assert kind == "lifespan" and text.startswith("it asks for lifespan.startup and returns without an answer")
    [(kind, text, where)] = found("refusing")
    assert (kind, where) == ("start", "main.py:19 (refusing)")


def test_a_trial_that_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("""
async def app(scope, receive, send):
    assert scope["type"] == "http"
    while True:
        pass
""")
    done = run_check("main:app", "--backend", "trio", "--timeout", "3", "--json", cwd=tmp_path)
    [finding] = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["kind"]) == (1, "silent")
    assert finding["text"] == "the trial did not end within 3 s"
    assert finding["where"] in ("main.py:4 (app)", "main.py:5 (app)")


def test_an_import_that_does_not_end(tmp_path: Path) -> None:
    """It stands in the sleep of the check's own, which the application has called."""
    (tmp_path / "main.py").write_text("import database")
    (tmp_path / "database.py").write_text("import time\ntime.sleep(3600)")
    done = run_check("main:app", "--backend", "trio", "--timeout", "3", "--json", cwd=tmp_path)
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["kind"], finding["where"]) == ("silent", "database.py:2 (<module>)")
    done = run_check("main:app", "--backend", "trio", "--timeout", "3", cwd=tmp_path)
    assert done.stdout.splitlines()[:2] == ["main:app", "  trio     no result"]


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_chaos_in_an_application_that_cannot_be_ended(tmp_path: Path, backend: str) -> None:
    """Nor can it be closed, as what is left is when the interpreter ends."""
    (tmp_path / "main.py").write_text("""
import anyio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    done = False
    while not done:
        try:
            await anyio.sleep(1)
            done = True
        except BaseException:
            pass
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})
""")
    done = run_check("main:app", "--backend", backend, "--chaos", "--json", *PATIENT, cwd=tmp_path)
    [finding] = json.loads(done.stdout)["findings"]
    assert (done.returncode, finding["kind"]) == (1, "swallowed")


def test_the_report_for_a_person() -> None:
    done = run_check("asyncio_only:app", "--app-dir", "docs/zoo")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == "asyncio_only:app"
    assert lines[1].startswith("  trio     imported in ") and lines[1].endswith(" ms, GET / -> 500")
    assert lines[4:] == [
        "backend      it works on asyncio and not on trio: RuntimeError: no running event loop",
        f"             at     {line_of('asyncio_only', 'asyncio.timeout')}(app)",
        "             during GET /, trio",
        "             do     Serve it with --backend of the one it was written for, or use anyio, which runs on both.",
        "",
        "1 found.",
    ]
    done = run_check("asyncio_only:mended", "--app-dir", "docs/zoo", "--request", "POST / {}", "--request", "H2 GET /")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Nothing found.")


@pytest.mark.parametrize(("arguments", "text"), [
    (["no_such_module:app"], "Error: 'no_such_module:app': there is no module 'no_such_module' in"),
    (["asyncio_only:app", "--request", "/"], "'/' is no request: METHOD PATH [BODY]"),
    (["asyncio_only:app", "--request", "H2 WS /"], "a WebSocket comes over HTTP/1.1, leave H2 out"),
    (["asyncio_only:app", "--warn-blocked", "0"], "--warn-blocked"),
    (["unclosed_stream:app", "--point", "cancel@0"], "'cancel@0' cannot be tried: WSGI runs in threads"),
    (["asyncio_only:app", "--point", "here"], "'here' is no point: KIND@NUMBER, such as cancel@3"),
    ([], "Missing argument 'APP'"),
])  # fmt: skip
def test_what_cannot_run(arguments: list[str], text: str) -> None:
    done = run_check(*arguments, "--app-dir", "docs/zoo")
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stdout == ""
