"""``trioserve check`` finds each fault of the zoo, and nothing in what is right."""

import json

import pytest

from tests.check.command import PATIENT, report_of, run_check
from tests.check.zoo import line_of

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
