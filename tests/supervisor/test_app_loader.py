"""What ``module:attribute`` finds, and what it says when it finds nothing."""

import functools
import importlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioserve._errors import AppLoadFailed, AppNotFound, ConfigError
from trioserve._server import is_opener
from trioserve._supervisor.app_loader import load_app, without_loader_frames

APP = """
async def app(scope, receive, send):
    pass
"""


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


def load(target: str, directory: Path, *, factory: bool = False) -> object:
    return load_app(target, factory=factory, app_dir=str(directory))


def refusal(target: str, directory: Path, *, factory: bool = False) -> str:
    with pytest.raises(AppNotFound) as failure:
        load(target, directory, factory=factory)
    assert "\n" not in str(failure.value)
    return str(failure.value)


# What is found.


@pytest.mark.parametrize("attribute", [
    "app", "instance", "partial", "anything", "unknowable", "inner.app", "PerRequest", "wsgi", "double", "Double",
])
def test_applications_of_every_shape(project: Path, attribute: str) -> None:
    expected = functools.reduce(getattr, attribute.split("."), sys.modules.get("site_main") or import_from(project))
    assert load(f"site_main:{attribute}", project) is expected


def import_from(directory: Path) -> object:
    load("site_main:app", directory)
    return sys.modules["site_main"]


OPENERS = ["open_app", "generate_app", "manager"]


@pytest.mark.parametrize("interface", ["auto", "asgi3", "asgi2", "wsgi"])
@pytest.mark.parametrize("factory", [False, True])
@pytest.mark.parametrize("attribute", OPENERS)
def test_openers_are_neither_applications_nor_factories(
    project: Path, attribute: str, factory: bool, interface: Any, caplog: pytest.LogCaptureFixture
) -> None:
    found = load_app(f"site_main:{attribute}", factory=factory, app_dir=str(project), interface=interface)
    assert found is getattr(sys.modules["site_main"], attribute)
    assert not caplog.records


@pytest.mark.parametrize("attribute", ["create_manager", "create_opener", "Manager"])
def test_factories_of_openers(project: Path, attribute: str) -> None:
    assert is_opener(load(f"site_main:{attribute}", project, factory=True))


def test_an_opener_that_needs_arguments(project: Path) -> None:
    message = refusal("site_main:lifespan", project)
    assert message == (
        "'site_main:lifespan' is an async context manager that needs arguments, (app); one that yields the application "
        "is called without any")


@pytest.mark.parametrize("attribute", ["create", "create_with_default", "Callable", "create_wsgi"])
def test_factories(project: Path, attribute: str) -> None:
    assert callable(load(f"site_main:{attribute}", project, factory=True))


def test_a_module_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "site_package" / "web").mkdir(parents=True)
    (tmp_path / "site_package" / "web" / "main.py").write_text(APP)
    assert callable(load("site_package.web.main:app", tmp_path))


def test_a_module_whose_name_is_no_identifier(tmp_path: Path) -> None:
    (tmp_path / "site-main.py").write_text(APP)
    assert callable(load("site-main:app", tmp_path))


def test_the_directory_is_first_in_the_path_and_there_once(project: Path) -> None:
    sys.path.append(str(project))
    load("site_main:app", project)
    load("site_main:app", project)
    assert sys.path[0] == str(project)
    assert sys.path.count(str(project)) == 1


def test_the_default_directory_is_the_current_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert callable(load_app("site_main:app", factory=False, app_dir=""))


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory") as failure:
        load("site_main:app", tmp_path / "nowhere")
    assert failure.value.option == "app_dir"


def test_a_current_directory_that_does_not_exist_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    for directory in ("", "src"):
        with pytest.raises(ConfigError, match="the current directory does not exist any more") as failure:
            load_app("site_main:app", factory=False, app_dir=directory)
        assert failure.value.option == "app_dir"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with ZipFile(tmp_path / "site.zip", "w") as file:
        file.writestr("zipped_main.py", APP)
        file.writestr("src/zipped_inner.py", APP)
    return tmp_path / "site.zip"


def test_a_zip_file(archive: Path) -> None:
    assert callable(load("zipped_main:app", archive))
    assert sys.path[0] == str(archive)
    assert callable(load("zipped_inner:app", archive / "src"))


def test_a_module_that_is_not_in_the_zip_file(archive: Path) -> None:
    assert refusal("zipped_mian:app", archive) == f"'zipped_mian:app': there is no module 'zipped_mian' in {archive}"


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "site.zip").write_text("no archive")
    with pytest.raises(ConfigError, match="is neither a directory nor a zip file") as failure:
        load("site_main:app", tmp_path / "site.zip")
    assert failure.value.option == "app_dir"


# Malformed targets.


@pytest.mark.parametrize(("target", "advice"), [
    ("main", "'main:app'?"),
    ("main:", "'main:app'?"),
    ("src.main", "'src.main:app'?"),
    ("main.py", "'main:app'?"),
    ("main.py:application", "'main:application'?"),
    ("src/main.py", "'src.main:app'?"),
    ("src/main", "'src.main:app'?"),
    ("main.app", "'main:app'?"),
    ("src.main.app", "'src.main:app'?"),
    ("app", "'app:app'?"),
    ("app.py", "'app:app'?"),
    ("./src/main:app", "'src.main:app'?"),
    ("src\\main.py:app", "'src.main:app'?"),
    ("/srv/site/main.py", "'main:app' with --app-dir /srv/site?"),
    ("../site/main.py:api", "'main:api' with --app-dir ../site?"),
    ("C:\\site\\main.py:api", "'main:api' with --app-dir C:/site?"),
    ("C:\\site\\main.py", "'main:app' with --app-dir C:/site?"),
    ("main:create()", "'main:create' with --factory?"),
])
def test_a_malformed_target_with_an_obvious_meaning(tmp_path: Path, target: str, advice: str) -> None:
    assert refusal(target, tmp_path) == f"{target!r} is not of the form MODULE:ATTRIBUTE; did you mean {advice}"


@pytest.mark.parametrize("target", [
    "", ":", ":app", "a:b:c", "a b:c", ".main:app", "main..x:app", "main:app.", "a\n:b",
])
def test_a_malformed_target_without_one(tmp_path: Path, target: str) -> None:
    assert refusal(target, tmp_path) == f"{target!r} is not of the form MODULE:ATTRIBUTE, such as main:app"


# Modules.


def test_a_missing_module_is_named_with_its_directory_and_a_near_match(project: Path) -> None:
    (project / "site_mian.txt").touch()
    text = refusal("site_mian:app", project)
    assert text == f"'site_mian:app': there is no module 'site_mian' in {project}; did you mean 'site_main'?"


def test_a_missing_module_of_a_package(tmp_path: Path) -> None:
    package = tmp_path / "site_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text(APP)
    text = refusal("site_package.mian:app", tmp_path)
    assert text == f"'site_package.mian:app': there is no module 'mian' in {package}; did you mean 'main'?"


def test_a_missing_package_is_what_is_missing(project: Path) -> None:
    (project / "site_package").mkdir()
    assert "there is no module 'site_pakage' in" in refusal("site_pakage.main:app", project)
    assert "; did you mean 'site_package'?" in refusal("site_pakage.main:app", project)


def test_a_module_of_something_that_is_no_package(project: Path) -> None:
    assert "'site_main' is not a package" in refusal("site_main.app:app", project)


def test_a_module_one_directory_further_down(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "site_web.py").write_text(APP)
    assert refusal("site_web:app", tmp_path).endswith("; there is a module 'src.site_web'")


@pytest.mark.parametrize("source", ["import site_nowhere", "import site_broken.sub", "raise ModuleNotFoundError('x')"])
def test_a_failing_import_in_the_module_is_the_modules_own(tmp_path: Path, source: str) -> None:
    (tmp_path / "site_broken.py").write_text(source)
    with pytest.raises(AppLoadFailed, match=r"could not be imported: ModuleNotFoundError") as failure:
        load("site_broken:app", tmp_path)
    assert isinstance(failure.value.__cause__, ModuleNotFoundError)


def test_a_package_that_fails_to_import_the_very_target(tmp_path: Path) -> None:
    (tmp_path / "site_package").mkdir()
    (tmp_path / "site_package" / "__init__.py").write_text("import site_package.main")
    with pytest.raises(AppLoadFailed):
        load("site_package.main:app", tmp_path)


@pytest.mark.parametrize(("source", "reason"), [
    ("1/0", "ZeroDivisionError: division by zero"),
    ("def", "SyntaxError: invalid syntax"),
    ("raise ValueError('two\\nlines')", "ValueError: two"),
    ("error = ValueError('noted'); error.add_note('a note'); raise error", "ValueError: noted"),
    ("raise ExceptionGroup('many', [ValueError()])", "ExceptionGroup: many (1 sub-exception)"),
])
def test_an_exception_in_the_module(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "site_broken.py").write_text(source)
    with pytest.raises(AppLoadFailed) as failure:
        load("site_broken:app", tmp_path)
    assert str(failure.value) == f"'site_broken:app' could not be imported: {reason}"


def test_leaving_the_process_is_the_modules_right(tmp_path: Path) -> None:
    (tmp_path / "site_leaving.py").write_text("raise SystemExit(7)")
    with pytest.raises(SystemExit):
        load("site_leaving:app", tmp_path)


# Tracebacks.


def test_a_traceback_begins_with_the_application(tmp_path: Path) -> None:
    (tmp_path / "site_outer.py").write_text("import importlib\nimportlib.import_module('site_inner')")
    (tmp_path / "site_inner.py").write_text("1/0")
    with pytest.raises(AppLoadFailed) as failure:
        load("site_outer:app", tmp_path)
    cause = failure.value.__cause__
    assert cause is not None
    frames = traceback.extract_tb(without_loader_frames(cause))
    assert [Path(frames[0].filename).name, Path(frames[-1].filename).name] == ["site_outer.py", "site_inner.py"]


def test_a_syntax_error_has_no_frame_of_the_application(tmp_path: Path) -> None:
    (tmp_path / "site_broken.py").write_text("def")
    with pytest.raises(AppLoadFailed) as failure:
        load("site_broken:app", tmp_path)
    assert without_loader_frames(failure.value.__cause__ or failure.value) is None


# Attributes.


def test_a_missing_attribute_is_named_with_its_file_and_a_near_match(project: Path) -> None:
    text = refusal("site_main:ap", project)
    assert text == f"'site_main:ap': there is no 'ap' in 'site_main' ({project / 'site_main.py'}); did you mean 'app'?"


def test_a_missing_attribute_of_an_attribute(project: Path) -> None:
    text = refusal("site_main:inner.txt", project)
    assert text == "'site_main:inner.txt': there is no 'txt' in site_main.inner; did you mean 'text'?"


@pytest.mark.parametrize(("source", "advice"), [
    (APP, "; site_web:app looks like an application"),
    (APP.replace("app", "site"), "; site_web:site looks like an application"),
    (APP + APP.replace("app", "other"), "; site_web:app looks like an application"),
    (APP.replace("app", "one") + APP.replace("app", "other"), ""),
    ("", ""),
])
def test_an_obvious_application_is_mentioned(tmp_path: Path, source: str, advice: str) -> None:
    (tmp_path / "site_web.py").write_text(source)
    assert refusal("site_web:wsgi_entry", tmp_path) == (
        f"'site_web:wsgi_entry': there is no 'wsgi_entry' in 'site_web' ({tmp_path / 'site_web.py'}){advice}")


@pytest.mark.parametrize(("source", "advice"), [
    ("def create_app(): pass", "; did you mean 'site_web:create_app' with --factory?"),
    ("def make_app(debug=False): pass", "; did you mean 'site_web:make_app' with --factory?"),
    ("def create_app(config): pass", ""),
    ("create_app = None", ""),
    ("def create_app(): pass\n" + APP, "; site_web:app looks like an application"),
])
def test_a_factory_is_offered_where_there_is_no_application(tmp_path: Path, source: str, advice: str) -> None:
    (tmp_path / "site_web.py").write_text(source)
    text = refusal("site_web:wsgi_entry", tmp_path)
    assert text == (
        f"'site_web:wsgi_entry': there is no 'wsgi_entry' in 'site_web' ({tmp_path / 'site_web.py'}){advice}")


def test_a_proxy_that_cannot_be_asked_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "site_web.py").write_text("""
class Proxy:
    def __getattr__(self, name): raise RuntimeError("outside of a request")
    __class__ = property(__getattr__)
    def __call__(self): ...

request = Proxy()
""" + APP)
    assert refusal("site_web:application_x", tmp_path).endswith("; site_web:app looks like an application")


def test_a_property_that_raises_is_the_applications_error(tmp_path: Path) -> None:
    (tmp_path / "site_web.py").write_text("def __getattr__(name): raise LookupError(name)")
    with pytest.raises(AppLoadFailed, match="could not be looked up: LookupError"):
        load("site_web:app", tmp_path)


def test_a_module_without_a_file(tmp_path: Path) -> None:
    assert "in 'sys' (no file)" in refusal("sys:nothing_like_it", tmp_path)


# Things that cannot be served.


@pytest.mark.parametrize(("attribute", "problem"), [
    ("number", "is of type 'int', not an application: it cannot be called"),
    ("create_async", "is an async function without parameters: neither an application nor a factory"),
    ("create_from", "cannot be called with (scope, receive, send); it takes (settings)"),
    ("two", "cannot be called with (scope, receive, send); it takes (receive, send)"),
])
def test_what_is_no_application(project: Path, attribute: str, problem: str) -> None:
    assert refusal(f"site_main:{attribute}", project) == f"'site_main:{attribute}' {problem}"


@pytest.mark.parametrize("attribute", ["create", "create_with_default", "Callable", "create_wsgi"])
def test_what_looks_like_a_factory_is_called_with_a_warning(  # as by uvicorn
    project: Path, attribute: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(load(f"site_main:{attribute}", project))
    assert [record.getMessage() for record in caplog.records] == [
        f"'site_main:{attribute}' looks like a factory and is called; say so by --factory"]


def test_what_a_supposed_factory_returns_is_checked(project: Path) -> None:
    assert refusal("site_main:create_none", project) == (
        "what the factory 'site_main:create_none' returned is None, not an application: it cannot be called")
    with pytest.raises(AppLoadFailed, match="could not make the application: LookupError"):
        load("site_main:create_badly", project)


@pytest.mark.parametrize(("attribute", "interface"), [
    ("app", "asgi3"), ("double", "asgi2"), ("connection", "asgi2"), ("Double", "asgi2"), ("wsgi", "wsgi"),
    ("anything", "wsgi"),
])
def test_what_has_the_interface_that_was_asked_for(project: Path, attribute: str, interface: Any) -> None:
    found = load_app(f"site_main:{attribute}", factory=False, app_dir=str(project), interface=interface)
    assert found is getattr(sys.modules["site_main"], attribute)


@pytest.mark.parametrize(("attribute", "interface", "problem"), [
    ("app", "wsgi", "cannot be called with (environ, start_response), as --interface wsgi says; "
                    "it takes (scope, receive, send): use --interface asgi3"),
    ("app", "asgi2", "cannot be called with (scope), as --interface asgi2 says; "
                     "it takes (scope, receive, send): use --interface asgi3"),
    ("wsgi", "asgi3", "cannot be called with (scope, receive, send), as --interface asgi3 says; "
                      "it takes (environ, start_response): use --interface wsgi"),
    ("two", "wsgi", "is async, and --interface wsgi calls it without await: use a plain function"),
    ("one", "asgi2", "is async, and --interface asgi2 calls it without await: use a plain function"),
])
def test_what_has_another_interface(project: Path, attribute: str, interface: Any, problem: str) -> None:
    with pytest.raises(AppNotFound) as failure:
        load_app(f"site_main:{attribute}", factory=False, app_dir=str(project), interface=interface)
    assert str(failure.value) == f"'site_main:{attribute}' {problem}"


@pytest.mark.parametrize(("attribute", "problem"), [
    ("number", "'site_main:number' is of type 'int', not a factory: it cannot be called"),
    ("app", "'site_main:app' is an application, not a factory: leave --factory out"),
    ("create_from", "the factory 'site_main:create_from' needs arguments, (settings); it is called without any"),
    ("create_async", "the factory 'site_main:create_async' is an async function; a factory is a plain one"),
    ("create_coroutine", "what the factory 'site_main:create_coroutine' returned is of type 'coroutine', "
                         "not an application: it cannot be called"),
    ("create_none", "what the factory 'site_main:create_none' returned is None, "
                    "not an application: it cannot be called"),
    ("wsgi", "'site_main:wsgi' is an application, not a factory: leave --factory out"),
])
def test_what_is_no_factory(project: Path, attribute: str, problem: str) -> None:
    assert refusal(f"site_main:{attribute}", project, factory=True) == problem


def test_a_factory_that_raises(project: Path) -> None:
    with pytest.raises(AppLoadFailed) as failure:
        load("site_main:create_badly", project, factory=True)
    assert str(failure.value) == "'site_main:create_badly' could not make the application: LookupError: no settings"
    assert isinstance(failure.value.__cause__, LookupError)


def test_a_module_is_no_application_but_may_contain_one(tmp_path: Path) -> None:
    (tmp_path / "site_package").mkdir()
    (tmp_path / "site_package" / "__init__.py").write_text("from site_package import web, empty")
    (tmp_path / "site_package" / "web.py").write_text(APP)
    (tmp_path / "site_package" / "empty.py").touch()
    assert "is a module (did you mean 'site_package.web:app'?), not" in refusal("site_package:web", tmp_path)
    assert "is a module, not an application" in refusal("site_package:empty", tmp_path)


# Anything at all.


@pytest.fixture(scope="module")
def empty_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=st.text() | st.from_regex(r"\A[a-z./\\ :()_-]{0,12}\Z"), factory=st.booleans())
def test_no_target_raises_anything_but_our_own_errors(empty_directory: Path, target: str, factory: bool) -> None:
    importlib.invalidate_caches()
    try:
        load(target, empty_directory, factory=factory)
    except (AppNotFound, AppLoadFailed) as exc:
        assert "\n" not in str(exc)
