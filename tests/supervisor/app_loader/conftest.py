"""A module of everything that a name can lead to, and imports that are forgotten."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.app_targets import APP


@pytest.fixture(autouse=True)
def fresh_imports() -> Iterator[None]:
    """What a test imports, and where from, is forgotten."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a module of everything: ``site_main``."""
    (tmp_path / "site_main.py").write_text(APP + """
import functools
from types import SimpleNamespace

class Callable:
    def __init__(self, name="x"): ...
    async def __call__(self, scope, receive, send): ...

class PerRequest:
    def __init__(self, scope, receive, send): ...
    def __await__(self): ...

def create(): return app
def create_with_default(name="x"): return Callable()
async def create_async(): return app
def create_coroutine(): return create_async()
def create_none(): return None
def create_from(settings): return app
def create_badly(): raise LookupError("no settings\\nat all")
def wsgi(environ, start_response): ...
def double(scope): ...
class Double:
    def __init__(self, scope): ...
    async def __call__(self, receive, send): ...
def connection(conn): ...
async def two(receive, send): ...
async def one(scope): ...
def create_wsgi(): return wsgi
def create_manager(): return open_app()
def create_opener(): return open_app
from contextlib import asynccontextmanager
@asynccontextmanager
async def open_app(): yield app
async def generate_app(): yield app
manager = open_app()
@asynccontextmanager
async def lifespan(app): yield
class Manager:
    async def __aenter__(self): return app
    async def __aexit__(self, *exc_info): ...

instance = Callable()
partial = functools.partial(app)
anything = lambda *args: None
unknowable = dict  # Python does not know how it can be called
inner = SimpleNamespace(app=app, text="text")
number = 5
""")
    return tmp_path
