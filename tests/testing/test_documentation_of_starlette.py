"""What the documentation of Starlette shows works the same in memory and over a real socket, to the byte.

Its examples come from the pages in Starlette's source distribution. Each is asked for each of its paths, by GET, HEAD
and POST, and as a WebSocket.
"""

import re
import tarfile
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
    "authentication": (0,), "background": (0, 1), "endpoints": (1, 3), "index": (0, 1), "requests": (0, 1),
    "responses": (0, 2, 3, 4, 6, 8), "routing": (0, 20), "schemas": (0,), "testclient": (0, 3, 8, 9),
    "websockets": (0, 1, 2),
}  # fmt: skip
"""The examples of each page, by their numbers, that are whole applications, wait for nothing and have an answer."""


def examples(page: str) -> list[str]:
    """The source of each."""
    with tarfile.open(source_distribution("starlette")) as archive:
        root = archive.getnames()[0].partition("/")[0]
        file = archive.extractfile(f"{root}/docs/{page}.md")
        assert file is not None
        blocks = CODE.findall(file.read().decode())
    return [blocks[number] for number in COMPLETE[page]]


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


@pytest.mark.parametrize("page", COMPLETE)
async def test_memory_and_socket_answer_the_same(page: str) -> None:
    statuses = set()
    for source in examples(page):
        found = []
        for serve in PLACES:
            app = run(source)
            async with serve(app) as place:
                answers = await answers_of(place, app)
            found.append((answers, place.lines))
        assert found[0] == found[1], source
        statuses |= {received[9:12] for _, received, _ in found[0][0]}
    assert statuses & {b"200", b"101"}
