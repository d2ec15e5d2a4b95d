"""What users install: built from the source distribution, installed into an environment of its own, and served with."""

import email
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from tests.helpers.raw_http import fetch
from tests.helpers.server_process import ServerProcess
from trioserve import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(tree: Path, target: str, directory: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", directory, cwd=tree)
    [built] = [path for path in directory.iterdir() if path.is_file()]
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what the source distribution holds, and nothing else."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    [tree] = unpacked.iterdir()
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; what it needs comes from the environment of the tests."""
    directory = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", directory)
    python = directory / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "--quiet", wheel)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(packages) / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    return directory


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "trioserve").rglob("*") if path.suffix != ".pyc"}
    assert names == {name for name in package if (ROOT / name).is_file()}
    assert "trioserve/py.typed" in names
    assert len(licences) == 1


def test_nothing_is_compiled_unless_asked_for(wheel: Path) -> None:
    assert wheel.name == f"trioserve-{__version__}-py3-none-any.whl"


def test_the_source_distribution_has_what_a_contributor_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "CONTRIBUTING.md", "SECURITY.md", ".ci/hatch_build.py", "noxfile.py", ".ci/run", "tests/conftest.py",
        "docs/conf.py",
    }  # fmt: skip
    assert needed - names == set()


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    labels = {text.partition(",")[0] for text in metadata.get_all("Project-URL", [])}
    assert labels == {"Changelog", "Documentation", "Issues", "Security", "Source"}


@pytest.mark.parametrize("url", PROJECT["urls"].values())
def test_where_the_links_lead_there_is_something(url: str) -> None:
    _, separator, path = url.partition("/blob/main/")
    assert not separator or (ROOT / path).is_file()


def test_the_installed_command_serves(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = environment / "bin" / "trioserve"
    assert run(command, "--version", cwd=environment).startswith(f"trioserve {__version__} with ")
    where = run(environment / "bin" / "python", "-c", "import trioserve; print(trioserve.__file__)", cwd=environment)
    assert where.startswith(f"{environment}{os.sep}")
    server = ServerProcess([command, "probe:app", "--port", "0"])
    try:
        server.wait_started()
        assert fetch(server.address, "/hello").body == b"Hello, world!"
        server.stop()
    finally:
        server.kill()


def test_the_wheel_has_a_plugin_for_pytest(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        assert "[pytest11]\ntrioserve = trioserve.testing.pytest_plugin\n" in archive.read(name).decode()
