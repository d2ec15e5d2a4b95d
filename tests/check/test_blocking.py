"""What ``trioserve check`` says of an application that stops the event loop."""

import json
from pathlib import Path

import pytest

from tests.check.command import run_check


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
