"""Git over HTTP by dulwich, for the repository ``$GIT_REPOSITORY``. A WSGI application."""

import os
from collections.abc import Iterator
from typing import Any

from dulwich.repo import Repo
from dulwich.server import BackendRepo, DictBackend
from dulwich.web import make_wsgi_chain


def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    if environ["REQUEST_METHOD"] == "POST" and "CONTENT_LENGTH" in environ:
        raise ValueError("this push is not chunked")
    with Repo(os.environ["GIT_REPOSITORY"]) as repository:
        repositories: dict[str, BackendRepo] = {"/": repository}
        yield from make_wsgi_chain(DictBackend(repositories))(environ, start_response)
