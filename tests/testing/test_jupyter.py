"""Cells of a notebook, in a real kernel, whose event loop is running."""

from pathlib import Path

import nbclient
import nbformat

THREAD = """
import urllib.request
from trioserve.testing import serve_in_thread

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})

def get(url):
    return urllib.request.urlopen(url, timeout=30).read().decode()

server = serve_in_thread(app, lifespan="off").start()
"""


def output_of(*cells: str, directory: Path) -> list[str]:
    """What each cell prints."""
    notebook = nbformat.from_dict({  # type: ignore[no-untyped-call]
        "nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
            {"id": f"cell-{number}", "cell_type": "code", "source": cell, "metadata": {}, "outputs": [],
             "execution_count": None} for number, cell in enumerate(cells)]})
    nbclient.NotebookClient(
        notebook, timeout=50, kernel_name="python3", resources={"metadata": {"path": str(directory)}}).execute()
    return ["".join(output["text"] for output in cell.outputs) for cell in notebook.cells]


def test_cells(tmp_path: Path) -> None:
    printed = output_of(
        THREAD,
        'print(get(server.url))',
        'server.stop()',
        'with serve_in_thread(app, backend="asyncio", lifespan="off") as server: print(get(server.url))',
        """
import anyio.to_thread
from trioserve.testing import serve_background

async with serve_background(app, lifespan="off") as server:
    print(await anyio.to_thread.run_sync(get, server.url))
""", directory=tmp_path)
    assert printed == ["", "served\n", "", "served\n", "served\n"]
