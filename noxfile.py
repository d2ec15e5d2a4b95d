"""The verbs of this project: ``nox -l`` lists them, ``nox -s lint types`` runs two."""

import os
import sys
from pathlib import Path

import nox
from nox.project import load_toml, python_versions
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = load_toml("pyproject.toml")
PYTHONS = python_versions(PROJECT)          # of the classifiers

nox.options.sessions = ["lint", "types", "tests", "tests_minimal", "docs"]
nox.options.reuse_existing_virtualenvs = True

OF_CONTRIBUTORS = {"test", "dev", "docs"}    # the other extras are for users
OPTIONAL = ["httptools", "python-dotenv", "uvloop", "watchfiles"]   # of the extra `standard`: trioserve runs without
OF_COMPILED = ["tests/protocol", "tests/asgi", "tests/connection"]  # what is compiled, and what calls it


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes (ruff), and the layers (import-linter). There is no formatter."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over the package, its tests, the documentation's examples and this file; the package as macOS and
    Windows have it, too.
    """
    session.install("-e", ".[test,dev,docs]")
    session.run(str(Path(__file__).parent / ".ci" / "types"), external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Every test, on both backends, with the fast parser and event loop installed."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def tests_minimal(session: nox.Session) -> None:
    """Every test that a plain ``pip install trioserve`` can run: h11, and asyncio's own event loop."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", *OPTIONAL)
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS)
def matrix(session: nox.Session) -> None:
    """Every test on each Python that is supported; one that is not installed is left out: ``nox -s matrix-3.13``."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Every test with the oldest Python and the oldest packages that ``pyproject.toml`` allows."""
    constraints = Path(session.create_tmp()) / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in lowest_versions().items()))
    session.install("-e", ".[test]", "--constraint", str(constraints))
    session.run("pytest", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Ask the package index, through pip, for a wheel of all that ``[standard]`` needs, on each supported Python."""
    session.install("hatchling")
    directory = Path(session.create_tmp()).resolve()
    session.run("hatchling", "build", "--target", "wheel", "--directory", str(directory / "ours"))
    [ours] = (directory / "ours").iterdir()
    for version in PYTHONS:
        session.run(
            "python", "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--python-version", version,
            "--dest", str(directory / version), f"trioserve[standard] @ {ours.as_uri()}")


@nox.session(python=PYTHONS)
def compiled(session: nox.Session) -> None:
    """Build the wheel with its hot path compiled, and test that; needs a C compiler: ``nox -s compiled-3.13``."""
    session.install("-e", ".[test]")
    session.run(str(Path(__file__).parent / ".ci" / "compiled"), *(session.posargs or OF_COMPILED), external=True)


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests with branch coverage, servers in child processes included; fails below the floor in pyproject.toml."""
    session.install("-e", ".[test]")
    session.run("pytest", "--cov", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "docs", "site", *session.posargs)


@nox.session
@nox.parametrize("backend", ["trio", "asyncio"])
def conformance(session: nox.Session, backend: str) -> None:
    """Judge the server from outside, byte by byte: ``nox -s conformance -- --exclude 'ws-*'``."""
    judge = judges(session) / "conformance" / "run.py"
    session.install("-e", ".[standard]")
    serve = ["trioserve", "{app}", "--host", "127.0.0.1", "--port", "{port}", "--backend", backend]
    session.run("python", str(judge), *session.posargs, "--", *serve)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure trioserve beside its peers: ``nox -s bench -- --only plaintext --rounds 3``. Needs wrk and h2load."""
    judge = judges(session) / "bench" / "compare.py"
    session.install("-e", ".[standard]", "fastapi", "starlette")
    session.run("python", str(judge), "--setup")
    session.run("python", str(judge), "--python", python_of(session), *session.posargs)


def lowest_versions() -> dict[str, Version]:
    """Of each package that a user installs with trioserve; what only tests need may ask for more of it."""
    project = PROJECT["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    of_users = [Requirement(text) for extra in extras.keys() - OF_CONTRIBUTORS for text in extras[extra]]
    ours = [*map(Requirement, project["dependencies"]), *of_users]
    lowest = {requirement.name: Version("0") for requirement in ours if requirement.name != project["name"]}
    for requirement in (*ours, *map(Requirement, extras["test"])):
        for bound in requirement.specifier:
            if requirement.name in lowest and bound.operator == ">=":
                lowest[requirement.name] = max(lowest[requirement.name], Version(bound.version))
    return lowest


def judges(session: nox.Session) -> Path:
    """The directory with the conformance suite and the benchmark, which are kept outside this repository."""
    directory = Path(os.environ.get("TRIOSERVE_JUDGES", "../shared")).resolve()
    if not directory.is_dir():
        session.error(f"no directory {directory}: set TRIOSERVE_JUDGES to the one with conformance/ and bench/")
    return directory


def python_of(session: nox.Session) -> str:
    """The interpreter of the session's own virtual environment."""
    scripts = Path(session.bin)
    return str(scripts / ("python.exe" if sys.platform == "win32" else "python"))
