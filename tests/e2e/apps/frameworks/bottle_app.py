from collections.abc import Iterator

from bottle import Bottle

app = Bottle()


@app.get("/thread")
def thread() -> str:
    return "hello"


@app.get("/stream")
def stream() -> Iterator[str]:
    yield from ("hel", "lo")
