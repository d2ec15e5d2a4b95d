"""A module that exists, and whose import fails: whose traceback is shown, and from where on."""

import traceback
from pathlib import Path

import pytest

from tests.helpers.app_targets import load
from trioserve._errors import AppLoadFailed
from trioserve._supervisor.app_loader import without_loader_frames


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
