"""The applications of docs/zoo, what is wrong with each, and where."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

__all__ = ["REQUESTS", "ZOO", "line_of", "load_zoo"]

ZOO: Final = Path(__file__).parents[2] / "docs" / "zoo"
REQUESTS: Final = {
    "shared_state": ["GET /?ann", "GET /?bob"], "deaf_websocket": ["WS / hello"],
    "words_after_goodbye": ["WS / hello"],
}


def load_zoo(name: str) -> ModuleType:
    """A fresh copy of the module."""
    spec = importlib.util.spec_from_file_location(name, ZOO / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line_of(name: str, code: str) -> str:
    """``docs/zoo/name.py:LINE`` of the first line with ``code`` in it."""
    lines = (ZOO / f"{name}.py").read_text("utf-8").splitlines()
    number = next(number for number, line in enumerate(lines, 1) if code in line)
    return f"docs/zoo/{name}.py:{number} "
