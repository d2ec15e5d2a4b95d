"""Mutated conversations of HTTP/2, with a server in memory: both engines give the same answers, and break no rule.

Deterministic, and to be run for longer as ``test_http1_fuzz`` says. What it finds belongs into ``corpus/``.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.helpers.apps import read_body, reply
from tests.helpers.frame_mutator import mutate_frames
from tests.helpers.http2_transcript import Http2Transcript, split_frames
from tests.helpers.serving import Site, serving
from trioserve import ClientDisconnected
from trioserve._types import Receive, Scope, Send
from trioserve.testing import settled

pytestmark = pytest.mark.no_cover  # what they reach other tests reach, and tracing would triple their time

SEEDS: Final = sorted((Path(__file__).parent / "corpus").rglob("*.http2"))
WIRES: Final = {path: path.read_bytes() for path in SEEDS}
CORPUS: Final = [wire for path, wire in WIRES.items() for _ in range(4 if path.parent.name == "fine" else 1)]
ROUNDS: Final = int(os.environ.get("TRIOSERVE_FUZZ_ROUNDS", "3000"))
SEED: Final = int(os.environ.get("TRIOSERVE_FUZZ_SEED", "0"))
SHARES: Final = 4  # tests that divide the rounds, on each backend
PREFACE_BYTES: Final = 24
MOST_CUTS: Final = 300
MOST_SETTINGS, BYTES_PER_SETTING = 32, 6
RST_STREAM, SETTINGS, GOAWAY, ACK = 3, 4, 7, 1
ENGINES: Final = ("ngh2", "h2")
SENT_PER_BYTE, SENT_ANYWAY = 20, 2000  # no small request has a large answer


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with all that it knows of the request, when that is complete."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    try:
        body = await read_body(receive)
    except EOFError:
        return
    await reply(send, repr((scope["method"], scope["path"], list(scope["headers"]), body)).encode())


@asynccontextmanager
async def site_of(engine: str) -> AsyncIterator[Site]:
    async with serving(tell, http2=True, http2_engine=engine, limit_request_body=50_000) as site:
        yield site


async def conversation(site: Site, pieces: Sequence[bytes]) -> Http2Transcript:
    """What the server says when it is sent ``pieces``, each when it has done with the one before."""
    client = site.connect()
    received = b""
    with suppress(ClientDisconnected):  # the server has waited for the client's end, and not for long
        for piece in pieces:
            client.send_nowait(piece)
            await settled()
            while data := client.receive_nowait():
                received += data
    client.abort()
    await settled()
    assert site.connections == 0
    assert len(received) <= SENT_ANYWAY + SENT_PER_BYTE * sum(map(len, pieces))
    return Http2Transcript.of(received)


def leaves_a_choice(wire: bytes) -> bool:
    """What RFC 9113 does not say.

    A client that has said goodbye may be heard no more. Settings that nobody has sent may be acknowledged. And
    libnghttp2 takes 32 settings at a time.
    """
    acknowledged = 0
    for kind, flags, _, payload in split_frames(wire[PREFACE_BYTES:]):
        if kind == GOAWAY or (kind == SETTINGS and len(payload) > MOST_SETTINGS * BYTES_PER_SETTING):
            return True
        acknowledged += kind == SETTINGS and flags & ACK
    return acknowledged > 1


def assert_alike(wire: bytes, ngh2: Http2Transcript, h2: Http2Transcript) -> None:
    """Where RFC 9113 leaves no choice.

    An error of a stream may be taken for one of the connection (§5.4.1), and h2 looks closely at what libnghttp2
    ignores, because it comes on a closed stream or belongs to an extension.
    """
    if ngh2.code is None and h2.code is None:
        left = {stream_id for kind, _, stream_id, _ in split_frames(wire[PREFACE_BYTES:]) if kind == RST_STREAM}
        assert ngh2.broken - left <= h2.resets.keys()
        assert h2.broken - left <= ngh2.resets.keys()
        for stream_id in (ngh2.ended | h2.ended) - ngh2.resets.keys() - h2.resets.keys():
            assert (ngh2.statuses[stream_id], ngh2.bodies[stream_id]) == (
                h2.statuses[stream_id], h2.bodies[stream_id])
    elif h2.code is None:
        assert h2.resets


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name} {path.stem}")
async def test_each_seed_is_judged_as_its_folder_says(
    seed: Path, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = WIRES[seed]
    async with site_of(engine) as site:
        for cut in range(PREFACE_BYTES, min(len(wire), MOST_CUTS), 4):
            transcript = await conversation(site, [wire[:cut], wire[cut:]])
            assert (transcript.code is None) is (seed.parent.name == "fine"), (cut, transcript)
    assert caplog.text == ""


@pytest.mark.timeout(60 + ROUNDS / 20)
@pytest.mark.parametrize("share", range(SHARES))
async def test_mutations(share: int, caplog: pytest.LogCaptureFixture) -> None:
    random = Random(f"{SEED}, {share}")
    answered = refused = 0
    async with site_of("ngh2") as ngh2, site_of("h2") as h2:
        for _ in range(ROUNDS // SHARES):
            wire = mutate_frames(random, CORPUS)
            cuts = sorted(random.randint(0, len(wire)) for _ in range(random.randint(0, 3)))
            pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
            told = [await conversation(site, pieces) for site in (ngh2, h2)]
            try:
                if not leaves_a_choice(wire):
                    assert_alike(wire, *told)
            except AssertionError as exc:
                exc.add_note(f"pieces = {pieces}")
                raise
            answered += bool(told[0].ended)
            refused += told[0].code is not None
    assert caplog.text == ""
    assert min(answered, refused) >= ROUNDS // SHARES // 10  # both sides of the border are visited
