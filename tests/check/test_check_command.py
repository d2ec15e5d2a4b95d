"""``trioserve check`` as a person runs it: two processes, a report, an exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.check.zoo import REQUESTS, ZOO, line_of
from trioserve._points import points_of, points_of_lifespan
from trioserve._trial import KINDS

ROOT = ZOO.parents[1]
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/reference/check.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def run_check(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trioserve", "check", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=50, cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)})


# A busy machine may take the processor away for longer than the default, in any application.
PATIENT = ("--warn-blocked", "2s")


def report_of(name: str, *arguments: str) -> dict[str, Any]:
    """What it finds in the zoo, as JSON. The exit code says whether it has found something."""
    module = name.partition(":")[0]
    requests = [word for text in REQUESTS.get(module, []) for word in ("--request", text)]
    done = run_check(name, "--app-dir", str(ZOO), "--json", *requests, *arguments)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    VALIDATOR.validate(report)
    assert done.returncode == (1 if report["findings"] else 0)
    assert done.stderr == ""
    return report


FAULTS = [  # application, kind, text, where
    ("asyncio_only:app", "backend", "works on asyncio and not on trio: RuntimeError: no running event loop",
     "async with asyncio.timeout(5)"),
    ("blocking_call:app", "blocking", "time.sleep(0.2) stops the event loop", "time.sleep(0.2)"),
    ("deaf_lifespan:app", "lifespan", "has caught FileNotFoundError", 'prices["hat"] = price_in(MISSING)'),
    ("forgotten_await:app", "warning", "coroutine 'remember' was never awaited",
     'remember(scope["path"])  # type'),
    ("wrong_messages:body_first", "asgi", "'http.response.body' sent where http.response.start is expected",
     '"http.response.body", "body": b"Hello'),
    ("wrong_messages:two_starts", "asgi", "'http.response.start' sent where http.response.body is expected", "201"),
    ("wrong_messages:no_end", "asgi", "it returns before its response is complete", None),
    ("wrong_messages:text", "asgi", "the body of http.response.body is bytes, not str", '"body": "Hello'),
]


@pytest.mark.parametrize(("app", "kind", "text", "code"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_found(app: str, kind: str, text: str, code: str | None) -> None:
    report = report_of(app, *PATIENT)
    [finding] = report["findings"]
    assert finding["kind"] == kind
    assert text in finding["text"]
    if code is not None:
        assert finding["where"].startswith(line_of(app.partition(":")[0], code))
    assert finding["advice"]


TWINS = [
    "asyncio_only", "blocking_call", "deaf_lifespan", "deaf_websocket", "forgotten_await", "slow_hash",
    "words_after_goodbye", "wrong_messages",
]  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.usefixtures("unmeasured")
def test_its_twin_is_right(name: str) -> None:
    report = report_of(f"{name}:mended", *([] if name == "slow_hash" else PATIENT))
    assert [outcome["backend"] for outcome in report["backends"]] == ["trio", "asyncio"]
    answers = {"words_after_goodbye": {"WS /": "101, closed with 1008"}, "deaf_websocket": {"WS /": "101"}}
    assert [outcome["answers"] for outcome in report["backends"]] == [answers.get(name, {"GET /": "200"})] * 2


def test_what_others_tolerate_less() -> None:
    texts = [finding["text"] for finding in report_of("wrong_messages:tolerated")["findings"]]
    assert texts == [
        "it sends the header b'Content-Type': names are in lower case",
        "it sends a body of type bytearray: it is bytes",
        "it sends http.response.body after the end of the response, which is ignored",
    ]


def test_a_task_of_nobody() -> None:
    [finding] = report_of("leaked_task:app", "--backend", "asyncio")["findings"]
    assert (finding["kind"], finding["backend"]) == ("left-behind", "asyncio")
    assert finding["where"].startswith(line_of("leaked_task", "await asyncio.sleep(5)"))
    assert report_of("leaked_task:mended", "--backend", "asyncio")["findings"] == []


STRUCK = [  # module, kind, point; the others are struck in test_chaos.py, and shown in the guide
    ("swallowed_cancellation", "swallowed", "cancel@0"), ("unshielded_finally", "cut", "cancel@1"),
    ("shared_state", "overtaken", "pause@0"),
]


@pytest.mark.parametrize(("name", "kind", "point"), STRUCK, ids=[row[0] for row in STRUCK])
def test_chaos(name: str, kind: str, point: str) -> None:
    found = report_of(f"{name}:app", "--chaos")
    assert {finding["kind"] for finding in found["findings"]} == {kind}
    assert found["findings"][0]["point"] == point
    assert found["findings"][0]["backend"] == ""  # both have shown it
    again = report_of(f"{name}:app", "--point", point)
    assert again["findings"][0] == found["findings"][0]
    assert again["backends"][0]["rounds"] < found["backends"][0]["rounds"]


@pytest.mark.parametrize("name", [row[0] for row in STRUCK])
@pytest.mark.usefixtures("unmeasured")
def test_chaos_finds_nothing_in_its_twin(name: str) -> None:
    assert report_of(f"{name}:mended", "--chaos")["findings"] == []


EVERYTHING = ["GET /view", "GET /thread", "GET /stream", "WS /websocket hello"]
FRAMEWORKS = [  # application, requests, backends
    ("starlette_app:app", EVERYTHING, ["trio", "asyncio"]), ("fastapi_app:app", EVERYTHING, ["trio", "asyncio"]),
    ("litestar_app:app", EVERYTHING, ["trio", "asyncio"]), ("quart_trio_app:app", EVERYTHING, ["trio"]),
    ("quart_app:app", EVERYTHING, ["asyncio"]), ("django_app:app", EVERYTHING[:3], ["asyncio"]),
    ("django_app:wsgi", ["GET /view", "GET /thread", "GET /wsgi_stream"], ["trio", "asyncio"]),
    ("flask_app:app", EVERYTHING[:3], ["trio", "asyncio"]),
]  # fmt: skip


@pytest.mark.parametrize(("app", "requests", "backends"), FRAMEWORKS, ids=[row[0] for row in FRAMEWORKS])
@pytest.mark.usefixtures("unmeasured")
def test_nothing_is_found_in_frameworks(app: str, requests: list[str], backends: list[str]) -> None:
    words = [word for text in requests for word in ("--request", text)]
    words += [word for name in backends for word in ("--backend", name)]
    words += PATIENT
    done = run_check(f"frameworks.{app}", "--app-dir", "tests/e2e/apps", "--chaos", "--json", *words)
    report = json.loads(done.stdout)
    assert (report["findings"], done.returncode) == ([], 0)
    assert [outcome["backend"] for outcome in report["backends"]] == backends
    assert all(list(outcome["answers"].values()) == ["200", "200", "200", "101"][: len(requests)]
               for outcome in report["backends"])


RIGHT = ["hello_asgi:app", "hello_fastapi:app", "send_files:app", "chat:app", "trioserve.demo:app"]


@pytest.mark.parametrize("app", RIGHT)
@pytest.mark.usefixtures("unmeasured")
def test_nothing_is_found_in_what_is_right(app: str) -> None:
    done = run_check(app, "--app-dir", "docs/examples", "--chaos", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["findings"]) == (0, [])
    assert [outcome["answers"] for outcome in report["backends"]] == [{"GET /": "200"}] * 2
    assert all(outcome["rounds"] >= 3 for outcome in report["backends"])


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


# Other applications.


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


def test_blocking_calls_that_python_reports(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("""
import socket, subprocess, sys

async def app(scope, receive, send):
    assert scope["type"] == "http"
    subprocess.run([sys.executable, "-c", "pass"])
    socket.getaddrinfo("127.0.0.1", 80)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
""")
    done = run_check("main:app", "--json", cwd=tmp_path)
    findings = json.loads(done.stdout)["findings"]
    assert {finding["kind"] for finding in findings} == {"blocking"}
    assert [finding["where"] for finding in findings] == [f"main.py:{line} (app)" for line in (6, 7, 9)]


@pytest.mark.parametrize(("words", "seconds"), [([], 0.1), (["--warn-blocked", "300ms"], 0.3)])
def test_a_computation_is_seen_by_the_clock(tmp_path: Path, words: list[str], seconds: float) -> None:
    """It goes on until the thread that watches has had its turn, however busy the machine is."""
    (tmp_path / "main.py").write_text("""
import threading, time
from trioserve._check.standstills import Standstills

seen = threading.Event()
begin = Standstills.begin

def begin_and_say_so(*args):
    begin(*args)
    seen.set()

Standstills.begin = begin_and_say_so

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] != "/quick":
        seen.clear()
        while not seen.is_set(): pass
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
""")
    requests = ["--request", "GET /", "--request", "GET /quick"]
    done = run_check("main:app", "--json", "--backend", "trio", *requests, *words, cwd=tmp_path)
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["kind"], finding["where"], finding["request"]) == ("blocking", "main.py:18 (app)", "GET /")
    assert finding["text"].startswith("seen by the clock")
    assert finding["seconds"] >= seconds


def test_what_stands_still_once_is_no_finding(tmp_path: Path) -> None:
    """As an import does, or a cache that is filled."""
    (tmp_path / "main.py").write_text("""
import time

prices = []

async def app(scope, receive, send):
    assert scope["type"] == "http"
    if not prices:
        began = time.thread_time()
        while time.thread_time() < began + 0.5: pass
        prices.append(12)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
""")
    done = run_check("main:app", "--json", "--warn-blocked", "0.2", "--backend", "trio", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, [])


def test_another_function_each_time_is_no_finding(tmp_path: Path) -> None:
    """As it is when a busy machine takes the processor away."""
    (tmp_path / "main.py").write_text("""
import time

def first():
    began = time.thread_time()
    while time.thread_time() < began + 0.5: pass

def second():
    began = time.thread_time()
    while time.thread_time() < began + 0.5: pass

steps = [first, second]

async def app(scope, receive, send):
    assert scope["type"] == "http"
    steps.pop(0)()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})
""")
    done = run_check("main:app", "--json", "--warn-blocked", "0.2", "--backend", "trio", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (done.returncode, report["findings"]) == (0, [])
    assert report["backends"][0]["answers"] == {"GET /": "200"}


@pytest.mark.parametrize(("words", "answer"), [([], "201"), (["--warn-blocked", "off"], "200")])
def test_the_clock_can_be_switched_off(tmp_path: Path, words: list[str], answer: str) -> None:
    (tmp_path / "main.py").write_text("""
import threading

async def app(scope, receive, send):
    assert scope["type"] == "http"
    watching = [thread for thread in threading.enumerate() if thread.name == "trioserve"]
    await send({"type": "http.response.start", "status": 200 + len(watching)})
    await send({"type": "http.response.body"})
""")
    done = run_check("main:app", "--json", "--backend", "trio", *words, cwd=tmp_path)
    assert json.loads(done.stdout)["backends"][0]["answers"] == {"GET /": answer}


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
    assert 'main.py", line ' in finding["where"] and finding["where"].endswith("in app")


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
