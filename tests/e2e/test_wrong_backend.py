"""An application that was written for the other event loop says what to do, next to its traceback."""

import subprocess
import sys

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import APPS, STRICT, Flavour, serve

TRIO = Flavour("trio", "auto")
ASYNCIO = Flavour("asyncio", "auto", "asyncio")
ADVICE = "try --backend "


@pytest.mark.parametrize(("app", "path", "wrong", "right"), [
    ("asyncio_only:app", "/", TRIO, ASYNCIO),
    ("django_app:app", "/async_view/", TRIO, ASYNCIO),
    ("trio_only:app", "/", ASYNCIO, TRIO),
    ("quart_trio_app:app", "/nursery", ASYNCIO, TRIO),
])
def test_advice_and_traceback(app: str, path: str, wrong: Flavour, right: Flavour) -> None:
    with serve(app, wrong, "--lifespan", "off", python_options=(), errors_expected=True) as server:
        assert fetch(server.address, path).status == 500
        server.stderr.wait_for("Traceback (most recent call last)")
        server.stderr.wait_for(ADVICE + right.backend)
        assert fetch(server.address, path).status == 500      # and it goes on
    with serve(app, right, "--lifespan", "off") as server:
        assert fetch(server.address, path).status == 200
        assert ADVICE not in server.stderr.text


@pytest.mark.parametrize("app", ["asyncio_only:with_lifespan", "quart_app:app"])
def test_advice_when_the_lifespan_fails(app: str) -> None:
    command = [sys.executable, *STRICT, "-m", "trioserve", app, "--port", "0"]
    done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "Traceback (most recent call last)" in done.stderr
    assert ADVICE + "asyncio" in done.stderr
