"""What the documentation of Starlette shows works the same in memory and over a real socket, to the byte.

Its examples come from the pages in Starlette's source distribution. Each is asked for each of its paths, by GET, HEAD
and POST, and as a WebSocket.
"""

import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.helpers.documentation import source_distribution
from tests.helpers.places import PLACES, Place, Saying, talk
from tests.helpers.transcripts import get, post
from tests.helpers.ws_client import handshake
from tests.helpers.ws_frames import TEXT, close_frame, frame

pytestmark = [
    pytest.mark.real_clock,
    pytest.mark.filterwarnings("default"),  # what the examples are warned of is their affair
]

CODE: Final = re.compile(r"^```(?:python|py)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LAST: Final = "connection: close"
JSON: Final = b'{"username": "ann", "email": "ann@example.org"}'

COMPLETE: Final = {
    "authentication": (0,), "background": (0, 1), "early-hints": (0,), "endpoints": (1, 3), "exceptions": (6,),
    "index": (0, 1), "lifespan": (1, 2), "middleware": (6, 28, 29), "requests": (0, 1),
    "responses": (0, 2, 3, 4, 6, 8), "routing": (0, 20), "schemas": (0,), "testclient": (0, 3, 8, 9),
    "websockets": (0, 1, 2),
}  # fmt: skip
"""The examples of each page that are whole applications and wait for nothing, by their numbers."""


def examples() -> Iterator[tuple[str, str]]:
    """A name and the source of each."""
    with tarfile.open(source_distribution("starlette")) as archive:
        root = archive.getnames()[0].partition("/")[0]
        for page, numbers in COMPLETE.items():
            file = archive.extractfile(f"{root}/docs/{page}.md")
            assert file is not None
            blocks = CODE.findall(file.read().decode())
            for number in numbers:
                yield f"{page} {number}", blocks[number]


def run(source: str) -> Any:
    """The application of an example."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(source, names)
    return names["app"]


def sayings(app: Any) -> Iterator[Saying]:
    paths = {route.path for route in getattr(app, "routes", ()) if hasattr(route, "path")}
    for path in sorted({"/", "/nowhere", *(re.sub(r"\{.*?\}", "ann", path) or "/" for path in paths)}):
        yield Saying(get(f"{path}?search=tea", LAST))
        yield Saying(get(path, LAST, method="HEAD"))
        yield Saying(post(JSON, "content-type: application/json", LAST, target=path))
        yield Saying(handshake(target=path) + frame(TEXT, b"hello") + close_frame(1000))


async def answers_of(place: Place, app: Any) -> list[Any]:
    return [(saying.data, *await talk(place, saying)) for saying in sayings(app)]


async def test_memory_and_socket_answer_the_same() -> None:
    statuses: Counter[bytes] = Counter()
    for name, source in examples():
        found = []
        for serve in PLACES:
            app = run(source)
            async with serve(app) as place:
                answers = await answers_of(place, app)
            found.append((answers, place.lines))
        assert found[0] == found[1], name
        statuses.update(received[9:12] for _, received, _ in found[0][0])
    assert statuses[b"200"] > 40, statuses
    assert statuses[b"101"] > 5, statuses
