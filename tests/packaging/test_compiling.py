"""What a wheel is made of when it is asked to be compiled; ``.ci/compiled`` builds one and tests it."""

import ast
import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
HOOK: dict[str, Any] = CONFIG["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
PLACES = [ROOT / name for name in HOOK["modules"]]
SOURCES = [source for place in PLACES for source in (place.rglob("*.py") if place.is_dir() else [place])]


def hatch_build() -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / HOOK["path"])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def new_hook() -> Any:
    return hatch_build().CompileHook(str(ROOT), HOOK, None, None, "", "wheel")


@pytest.mark.parametrize("value", ["", "0"])
def test_a_build_that_does_not_ask_needs_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOSERVE_COMPILE", value)
    hook, build_data = new_hook(), dict[str, Any]()
    assert hook.dependencies() == []
    hook.initialize("standard", build_data)
    hook.finalize("standard", build_data, "")
    assert build_data == {}


def test_a_build_that_asks_needs_mypyc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOSERVE_COMPILE", "1")
    assert [need.partition(">")[0] for need in new_hook().dependencies()] == ["mypy[mypyc]"]


def test_an_editable_installation_says_that_it_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOSERVE_COMPILE", "1")
    with pytest.raises(RuntimeError, match="uses the sources: unset TRIOSERVE_COMPILE"):
        new_hook().initialize("editable", {})


def test_other_pythons_have_no_compiled_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIOSERVE_COMPILE", "1")
    monkeypatch.setattr("platform.python_implementation", lambda: "PyPy")
    with pytest.raises(RuntimeError, match="for CPython only: unset TRIOSERVE_COMPILE"):
        new_hook().initialize("standard", {})


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    module = hatch_build()
    module.PROGRAM = "raise SystemExit('no compiler here')"
    with pytest.raises(RuntimeError, match=r"needs a C compiler .* has failed:\nno compiler here"):
        module.compile_modules(ROOT, HOOK["modules"], tmp_path)


def test_no_coroutine_is_compiled() -> None:
    """Whoever looks at tasks reads their frames, which compiled coroutines have not."""
    assert len(SOURCES) > len(PLACES)
    for source in SOURCES:
        nodes = ast.walk(ast.parse(source.read_text("utf-8"), str(source)))
        assert not [node for node in nodes if isinstance(node, (ast.AsyncFunctionDef, ast.Await))], source
