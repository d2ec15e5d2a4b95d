"""A download that is counted down behind its last part, which a client that has left never asks for."""

from collections.abc import Iterator

from flask import Flask, abort

MOST_DOWNLOADS = 2

app = Flask(__name__)
mended = Flask(__name__)
running = {"downloads": 0}


@app.get("/")
def download() -> Iterator[bytes]:
    if running["downloads"] == MOST_DOWNLOADS:
        abort(503)
    return counted_down_at_the_end()


@mended.get("/")
def mended_download() -> Iterator[bytes]:
    if running["downloads"] == MOST_DOWNLOADS:
        abort(503)
    return counted_down_in_finally()


def counted_down_at_the_end() -> Iterator[bytes]:
    running["downloads"] += 1
    yield from parts()
    running["downloads"] -= 1


def counted_down_in_finally() -> Iterator[bytes]:
    running["downloads"] += 1
    try:
        yield from parts()
    finally:
        running["downloads"] -= 1


def parts() -> Iterator[bytes]:
    for _ in range(3):
        yield b"a part" * 20_000
