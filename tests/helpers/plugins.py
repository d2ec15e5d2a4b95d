"""Suites of tests, run by a pytest of their own, with the plugins that they need."""

import os
from pathlib import Path
from typing import Final

import pytest

import trioserve

__all__ = ["ANYIO", "ASYNCIO", "ROOT", "TRIO", "XDIST", "run_suite"]

ROOT: Final = Path(trioserve.__file__).parents[1]
TRIO: Final = "pytest_trio.plugin"
ANYIO: Final = "anyio.pytest_plugin"
ASYNCIO: Final = "pytest_asyncio.plugin"
XDIST: Final = "xdist.plugin"


def run_suite(pytester: pytest.Pytester, *arguments: str, plugins: tuple[str, ...]) -> pytest.RunResult:
    """Run the suite in the directory of ``pytester``, in a process of its own, with these plugins and ours alone.

    Warnings are errors.
    """
    of_asyncio = "asyncio_default_fixture_loop_scope = function\n" if ASYNCIO in plugins else ""
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{of_asyncio}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        options = [option for plugin in (*plugins, "trioserve.testing.pytest_plugin") for option in ("-p", plugin)]
        return pytester.runpytest_subprocess(*options, "--strict-markers", *arguments)
