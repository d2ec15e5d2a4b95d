"""An application whose import fails for lack of an event loop, or for the wrong one, gets advice."""

from typing import Any

import pytest

import trioserve
from tests.helpers.stand_in_server import NO_LOOP_YET
from trioserve._errors import AppLoadFailed


def test_an_application_that_needs_a_running_loop_to_be_imported_gets_advice(module: Any) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", backend="asyncio", **module("import asyncio\nasyncio.get_running_loop()"))
    assert failure.value.__notes__ == [NO_LOOP_YET]


@pytest.mark.parametrize("source", [
    "import asyncio\nasyncio.get_running_loop()",
    "import asyncio\ndef app(scope, receive, send): ...\nasyncio.get_running_loop()",
])
def test_an_application_that_needs_asyncio_gets_advice(module: Any, source: str) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", **module(source))
    assert failure.value.__notes__ == [
        "The application uses asyncio, and this server runs on trio: try --backend asyncio", NO_LOOP_YET]


def test_a_factory_that_needs_asyncio_gets_advice(module: Any) -> None:
    found = module("import asyncio\ndef create(): asyncio.get_running_loop()")
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:create", factory=True, **found)
    assert "--backend asyncio" in failure.value.__notes__[0]


def test_an_application_that_patches_the_event_loop_gets_advice(module: Any) -> None:
    found = module("""raise ValueError("Can't patch loop of type <class 'uvloop.Loop'>")""")  # as nest_asyncio says
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", backend="asyncio", **found)
    assert failure.value.__notes__ == ["nest_asyncio cannot change this event loop: try --loop asyncio"]


def test_any_other_error_gets_none(module: Any) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        trioserve.run("site_run:app", **module("1/0"))
    assert not hasattr(failure.value, "__notes__")
