"""Uploads reuse the memory of what has been received before (Linux with glibc)."""

import platform
from pathlib import Path

import pytest

from tests.helpers.raw_http import MEBIBYTE, RawClient
from tests.helpers.server_process import LOOPS, Flavour, serve

UPLOADS = 40
REQUEST = b"POST /digest HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % MEBIBYTE + bytes(MEBIBYTE)


def pages_taken(pid: int) -> int:
    """How often the process has touched memory that the system had to give it first (proc(5), minflt)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


@pytest.mark.parametrize("flavour", LOOPS, ids=str)
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other rules")
def test_an_upload_takes_no_memory_that_the_one_before_has_left(flavour: Flavour) -> None:
    with serve("probe:app", flavour, python_options=()) as server, RawClient(server.address) as client:
        def upload() -> None:
            client.send(REQUEST)
            assert client.receive_response().status == 200

        for _ in range(5):
            upload()
        before = pages_taken(server.pid)
        for _ in range(UPLOADS):
            upload()
        assert pages_taken(server.pid) - before < 16 * UPLOADS  # a mebibyte has 256
