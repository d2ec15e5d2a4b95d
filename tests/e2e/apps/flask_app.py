"""Flask, the plain way: forms, a file, a stream, an error. A WSGI application."""

import asyncio
import threading
from collections.abc import Iterator

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)


@app.get("/")
def index() -> ResponseReturnValue:
    return {"word": request.args.get("word"), "scheme": request.scheme, "host": request.host,
            "client": request.remote_addr, "main_thread": threading.current_thread() is threading.main_thread()}


@app.post("/upload/")
def upload() -> ResponseReturnValue:
    return {"name": request.form["name"], "bytes": len(request.files["upload"].read())}


@app.post("/count/")
def count() -> ResponseReturnValue:
    return {"bytes": sum(len(line) for line in request.stream)}


@app.post("/async-count/")
async def async_count() -> ResponseReturnValue:
    await asyncio.sleep(0)
    return {"bytes": len(request.get_data())}


@app.get("/stream/")
def stream() -> ResponseReturnValue:
    def numbers() -> Iterator[str]:
        for number in range(100):
            yield f"{number}\n"

    return Response(numbers(), mimetype="text/plain")


@app.get("/fail/")
def fail() -> ResponseReturnValue:
    raise LookupError("on purpose")
