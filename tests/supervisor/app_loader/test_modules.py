"""Where ``module:attribute`` is looked for, and what is said when there is no such module."""

import importlib
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.app_targets import APP, load, refusal
from trioserve._errors import AppLoadFailed, AppNotFound, ConfigError
from trioserve._supervisor.app_loader import load_app


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


# -- malformed targets -------------------------------------------------------------------------------------------------


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


# -- modules -----------------------------------------------------------------------------------------------------------


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


# -- anything at all ---------------------------------------------------------------------------------------------------


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
