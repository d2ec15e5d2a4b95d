"""Which attributes of a module are applications or factories, and what is said of others."""

import functools
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.app_targets import APP, load, refusal
from trioserve._errors import AppLoadFailed, AppNotFound
from trioserve._server import is_opener
from trioserve._supervisor.app_loader import load_app


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


# -- attributes --------------------------------------------------------------------------------------------------------


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


# -- things that cannot be served --------------------------------------------------------------------------------------


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
