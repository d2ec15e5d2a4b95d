"""``--reload``: which files count as a change."""

import os
from pathlib import Path

import pytest

from trioserve._errors import ConfigError
from trioserve._supervisor.reload import FileFilter


@pytest.mark.parametrize(("path", "counts"), [
    ("main.py", True), ("package/module.py", True), ("page.html", False), (".hidden.py", False),
    (".venv/lib/module.py", False), ("node_modules/tool.py", False), ("__pycache__/main.cpython-311.py", False),
    ("~main.py", False), ("main.py~", False), ("main.pyc", False), ("../elsewhere.py", False),
])
def test_python_files_count(tmp_path: Path, path: str, counts: bool) -> None:
    files = FileFilter([str(tmp_path)], [], [])
    assert files(os.path.normpath(tmp_path / path)) is counts


@pytest.mark.parametrize(("include", "exclude", "path", "counts"), [
    (["*.html"], [], "templates/page.html", True),
    (["*.html"], [], "main.py", True),
    (["templates/*.html"], [], "templates/page.html", True),
    (["templates/*.html"], [], "other/page.html", False),
    ([], ["test_*.py"], "test_main.py", False),
    ([], ["generated"], "generated/deep/main.py", False),
    ([], ["deep/*"], "deep/main.py", False),
    ([], ["deep/*"], "shallow/main.py", True),
    (["*.html"], ["*.html"], "page.html", False),
])
def test_patterns(tmp_path: Path, include: list[str], exclude: list[str], path: str, counts: bool) -> None:
    files = FileFilter([str(tmp_path)], include, exclude)
    assert files(str(tmp_path / path)) is counts


@pytest.mark.parametrize(("pattern", "path", "matches"), [
    ("{here}/src/templates/*.html", "src/templates/page.html", True),
    ("{here}/src/templates/*.html", "src/other/page.html", False),
    ("{here}/*/page.html", "src/other/page.html", True),
    ("./src/page.html", "src/page.html", True),
    ("./src/page.html", "src/deep/src/page.html", False),
    ("../here/src/*.html", "src/page.html", True),
    ("{here}/src/.cache/*.html", "src/.cache/page.html", True),
    ("{here}/src/.page.html", "src/.page.html", True),
])
def test_patterns_that_say_where_they_begin(here: Path, pattern: str, path: str, matches: bool) -> None:
    pattern = pattern.format(here=here)
    files = FileFilter(["src"], [pattern], [])
    assert files(str(here / path)) is matches
    assert not files.out_of_reach
    assert FileFilter(["src"], ["*.html", ".*"], [pattern])(str(here / path)) is not matches


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with one to watch; ``conf.yaml`` is beside that one, and ``link.yaml`` leads there."""
    here = tmp_path / "here"
    (here / "src").mkdir(parents=True)
    (here / "conf.yaml").touch()
    (here / "src" / "link.yaml").symlink_to(here / "conf.yaml")
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("name", ["conf.yaml", "../here/conf.yaml", "{here}/conf.yaml", "src/link.yaml"])
def test_a_file_outside_that_is_named(here: Path, name: str) -> None:
    files = FileFilter(["src"], [name.format(here=here)], [])
    assert files.outside == [str(here / "conf.yaml")]
    assert files.directories == [str(here / "src")]
    assert files(str(here / "conf.yaml"))
    assert files(str(here / "src" / "link.yaml")) is ("link" in name)
    assert not files(str(here / "main.py"))
    assert not files.enters(str(here / "other"))
    assert files.inside(str(here / "conf.yaml")) == str(here / "conf.yaml")
    assert not FileFilter(["src"], [name.format(here=here)], ["./conf.yaml"])(str(here / "conf.yaml"))


@pytest.mark.parametrize("pattern", ["./missing.yaml", "./other/*.yaml"])
def test_a_pattern_that_nothing_can_match(here: Path, pattern: str) -> None:
    assert FileFilter(["src"], [pattern], []).out_of_reach == [str(here / pattern)]


@pytest.mark.parametrize(("include", "path", "counts"), [
    ([".env"], ".env", True),
    ([".env"], "deep/.env", True),
    ([".env"], ".envrc", False),
    ([".*"], ".env", True),
    ([".*"], ".main.py.swp", False),
    ([".*"], ".git/HEAD", False),
    (["*.env"], ".env", True),
    (["*.html"], ".#page.html", False),
    (["*.html"], ".cache/page.html", False),
    ([".config"], ".config/settings.toml", True),
    ([".config"], ".config/deep/settings.toml", True),
    ([".config"], ".config/.swap", False),
    ([".config/*.toml"], ".config/settings.toml", True),
    ([".config/*.toml"], ".config/settings.ini", False),
    (["node_modules"], "node_modules/tool.js", True),
])
def test_what_is_left_out_counts_when_it_is_asked_for(
    tmp_path: Path, include: list[str], path: str, counts: bool
) -> None:
    files = FileFilter([str(tmp_path)], include, [])
    assert files(str(tmp_path / path)) is counts
    assert files.enters(str(tmp_path / path).rpartition("/")[0]) or not counts


@pytest.mark.parametrize("watched", [".", ".hidden"])
def test_a_hidden_directory_that_is_named(tmp_path: Path, watched: str) -> None:
    """It is named as one to watch, or as one in which everything counts; it may be in one that is watched anyway."""
    hidden = tmp_path / ".hidden" / ".inner"
    hidden.mkdir(parents=True)
    for files in (
        FileFilter([str(tmp_path / watched)], [str(hidden)], []), FileFilter([str(tmp_path), str(hidden)], [], []),
    ):
        assert files(str(hidden / "settings.py"))
        assert not files(str(hidden / ".swap"))
        assert not files(str(tmp_path / ".other" / "settings.py"))
        assert files.enters(str(hidden))
        assert files.enters(str(hidden.parent))


def test_what_is_excluded_does_not_count_although_it_is_asked_for(tmp_path: Path) -> None:
    files = FileFilter([str(tmp_path)], [".*"], [".env.local"])
    assert files(str(tmp_path / ".env"))
    assert not files(str(tmp_path / ".env.local"))


def test_directories_in_the_place_of_patterns(tmp_path: Path) -> None:
    watched, assets, built = (tmp_path / name for name in ("src", "assets", "src/built"))
    for directory in (watched, assets, built):
        directory.mkdir()
    files = FileFilter([str(watched)], [str(assets)], [str(built)])
    assert files.directories == [str(watched), str(assets)]
    assert files(str(assets / "logo.svg"))
    assert files(str(watched / "main.py"))
    assert not files(str(built / "main.py"))
    assert not files.enters(str(built))
    assert not files(str(assets / ".swap"))


def test_a_directory_inside_of_another_is_watched_once(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    assert FileFilter([str(tmp_path), str(tmp_path / "inside")], [], []).directories == [str(tmp_path)]


def test_no_directory_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert FileFilter([], [], []).directories == [str(tmp_path)]


def test_a_current_directory_that_does_not_exist_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(ConfigError, match="the current directory does not exist any more") as failure:
        FileFilter([], [], [])
    assert failure.value.option == "reload_dir"


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory") as failure:
        FileFilter([str(tmp_path / "missing")], [], [])
    assert failure.value.option == "reload_dir"
