"""A Git repository behind dulwich's WSGI application: what is pushed in chunks arrives, on each event loop."""

from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.refs import Ref
from dulwich.repo import Repo

from tests.helpers.server_process import Flavour, serve


def test_a_push_in_chunks(loop: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everybodys, mine = tmp_path / "everybodys", tmp_path / "mine"
    monkeypatch.setenv("GIT_REPOSITORY", str(everybodys))
    Repo.init_bare(str(everybodys), mkdir=True).close()
    with Repo.init(str(mine), mkdir=True) as repository:
        config = repository.get_config()
        config.set(b"http", b"postBuffer", b"1")  # bytes; what is longer is sent in chunks
        config.write_to_path()
        (mine / "readme").write_text("hello")
        porcelain.add(repository, [str(mine / "readme")])
        commit = porcelain.commit(repository, message=b"first", author=b"a <a@b>", committer=b"a <a@b>")

    with serve("git_app:app", loop) as server:
        porcelain.push(str(mine), server.url, b"HEAD:refs/heads/main")
    with Repo(str(everybodys)) as repository:
        assert repository.refs[Ref(b"refs/heads/main")] == commit
