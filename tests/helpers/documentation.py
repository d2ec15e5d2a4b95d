"""The documentation of frameworks, in their source distributions.

No environment has these by itself: they are downloaded on their own. A test without them is skipped, in CI it fails.
"""

from pathlib import Path
from typing import Final

import trioserve
from tests.helpers.system_programs import without

__all__ = ["DIRECTORY", "ROOT", "source_distribution"]

ROOT: Final = Path(trioserve.__file__).parents[1]
DIRECTORY: Final = ROOT / "tests" / "testing" / "documentation"
DOWNLOAD: Final = "python -m pip download --no-deps --dest {0}/sources --requirement {0}/requirements.txt".format(
    DIRECTORY.relative_to(ROOT).as_posix())


def source_distribution(name: str) -> Path:
    """The newest one that has been downloaded, an archive of tar."""
    found = sorted((DIRECTORY / "sources").glob(f"{name}-*.tar.gz"))
    if not found:
        without("the documentation of FastAPI and Starlette", DOWNLOAD)
    return found[-1]
