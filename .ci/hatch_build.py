"""Compiles the modules that pyproject.toml names to C extensions, with mypyc, when a wheel is built and asks for it.

A wheel asks for it by TRIOSERVE_COMPILE=1 in the environment. Each source stays in the wheel, beside its extension,
which Python prefers. Nothing is written into the tree: an extension there would hide later changes of its source.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VARIABLE = "TRIOSERVE_COMPILE"
MYPY_OPTIONS = ["--follow-imports=silent", "--ignore-missing-imports"]  # the strict look is taken elsewhere
PROGRAM = """
import sys
from mypyc.build import mypycify
from setuptools import setup
extensions = mypycify(sys.argv[1:], group_name="trioserve", opt_level="3", debug_level="0")
setup(name="trioserve", packages=[], ext_modules=extensions, script_args=["--quiet", "build_ext", "--build-lib=built"])
"""


class CompileHook(BuildHookInterface[Any]):
    """``modules`` of the hook's configuration are the files and packages to compile, ``requires`` what that needs."""

    def dependencies(self) -> list[str]:
        return list(self.config["requires"]) if is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises RuntimeError when it is asked for where it cannot be, or does not succeed."""
        if not is_wanted():
            return
        if version == "editable":
            raise RuntimeError(f"an editable installation is not compiled, it uses the sources: unset {VARIABLE}")
        if platform.python_implementation() != "CPython":
            raise RuntimeError(f"mypyc compiles for CPython only: unset {VARIABLE}")
        self._directory = TemporaryDirectory()
        built = compile_modules(Path(self.root), self.config["modules"], Path(self._directory.name))
        for extension in filter(Path.is_file, built.rglob("*")):
            build_data["force_include"][str(extension)] = str(extension.relative_to(built))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if is_wanted():
            self._directory.cleanup()


def is_wanted() -> bool:
    return os.environ.get(VARIABLE, "") not in ("", "0")


def compile_modules(root: Path, modules: list[str], directory: Path) -> Path:
    """A tree of the extensions made of ``modules``, which are paths below ``root``; all is written to ``directory``."""
    shutil.copytree(root / "trioserve", directory / "trioserve", ignore=shutil.ignore_patterns("__pycache__"))
    places = [directory / module for module in modules]
    sources = [source for place in places for source in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    names = [str(source.relative_to(directory)) for source in sources]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *MYPY_OPTIONS, *names], cwd=directory, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"mypyc, which needs a C compiler and the headers of Python, has failed:\n{done.stdout}")
    return directory / "built"
