from collections.abc import Iterator

from flask import Flask

app = Flask(__name__)


@app.get("/view")
async def view() -> str:
    return "hello"


@app.get("/thread")
def thread() -> str:
    return "hello"


@app.get("/stream")
def stream() -> Iterator[str]:
    yield from ("hel", "lo")
