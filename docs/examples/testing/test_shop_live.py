"""A test that is not async, and a real socket."""

import urllib.request


def test_a_request(live_server_url):
    with urllib.request.urlopen(f"{live_server_url}/price") as answer:
        assert answer.read() == b'{"cents":250}'
