"""Where a request came from, in its scope (ASGI HTTP 2.5: client, server, scheme, root_path, path, headers)."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.helpers.response_reading import head_of
from trioserve._asgi import ProxyHeaders, ScopeFactory
from trioserve._asgi.origin import apply_origin
from trioserve._protocol.forwarded import Origin
from trioserve._trust import X_FORWARDED, TrustedPeers


def scopes(trusted: str = "192.0.2.1", **changes: Any) -> ScopeFactory:
    arguments: dict[str, Any] = {
        "scheme": "http", "client": ("192.0.2.1", 5000), "server": ("192.0.2.2", 8000), "root_path": "", "state": None,
        "proxies": ProxyHeaders(TrustedPeers(trusted), changes.pop("believed", X_FORWARDED)),
    }  # fmt: skip
    return ScopeFactory(**arguments | changes)


def scope_of(*lines: bytes, **changes: Any) -> dict[str, Any]:
    target, version = changes.pop("target", "/a"), changes.pop("version", "1.1")
    return scopes(**changes).http(head_of(*lines, target=target, version=version))


def test_without_fields_nothing_changes() -> None:
    assert scope_of() == scope_of(proxies=None)


@pytest.mark.parametrize("changes", [{"trusted": "192.0.2.7"}, {"proxies": None}])
def test_without_trust_nothing_changes(changes: dict[str, Any]) -> None:
    said = {b"For": b"1.1.1.1", b"Proto": b"https", b"Host": b"b", b"Prefix": b"/p"}
    lines = [b"X-Forwarded-%b: %b" % line for line in said.items()]
    believed, unbelieved = scope_of(*lines), scope_of(*lines, **changes)
    assert unbelieved["client"] == ("192.0.2.1", 5000)
    assert unbelieved == scope_of(*lines, **changes, believed=frozenset())
    for key in ("client", "scheme", "server", "root_path", "path", "raw_path", "headers"):
        assert believed[key] != unbelieved[key]


def test_client_and_scheme() -> None:
    scope = scope_of(b"X-Forwarded-For: 198.51.100.7:99", b"X-Forwarded-Proto: https")
    assert scope["client"] == ("198.51.100.7", 99)
    assert scope["scheme"] == "https"
    assert scope["server"] == ("192.0.2.2", 8000)
    assert (b"host", b"a") in scope["headers"]


def test_a_hidden_client_is_none() -> None:
    assert scope_of(b"X-Forwarded-For: unknown")["client"] is None


def test_rfc_7239() -> None:
    line = b'Forwarded: for="[2001:db8::1]:99";proto=https;host="example.com:8443"'
    scope = scope_of(line, believed=frozenset({b"forwarded"}))
    assert scope["client"] == ("2001:db8::1", 99)
    assert (scope["scheme"], scope["server"]) == ("https", ("example.com", 8443))
    assert scope["headers"] == [(b"host", b"example.com:8443"), (b"forwarded", line.partition(b": ")[2])]


@pytest.mark.parametrize(("lines", "host", "server"), [
    ([b"X-Forwarded-Host: b"], b"b", ("b", 80)),
    ([b"X-Forwarded-Host: b", b"X-Forwarded-Proto: https"], b"b", ("b", 443)),
    ([b"X-Forwarded-Host: b:443", b"X-Forwarded-Proto: https"], b"b", ("b", 443)),
    ([b"X-Forwarded-Host: b:80", b"X-Forwarded-Proto: https"], b"b:80", ("b", 80)),
    ([b"X-Forwarded-Host: b", b"X-Forwarded-Port: 8443"], b"b:8443", ("b", 8443)),
    ([b"X-Forwarded-Port: 8443"], b"a:8443", ("a", 8443)),
    ([b"X-Forwarded-Port: 80"], b"a", ("a", 80)),
    ([b"X-Forwarded-Host: [::1]:81"], b"[::1]:81", ("::1", 81)),
    ([b"X-Forwarded-Host: [::1]"], b"[::1]", ("::1", 80)),
    ([b"X-Forwarded-Host: a b"], b"a", ("192.0.2.2", 8000)),
])
def test_host_and_port(lines: list[bytes], host: bytes, server: tuple[str, int]) -> None:
    scope = scope_of(*lines)
    assert [value for name, value in scope["headers"] if name == b"host"] == [host]
    assert scope["server"] == server


def test_the_port_of_a_request_without_host() -> None:
    head = head_of(b"X-Forwarded-Port: 99")
    head.headers[:] = [line for line in head.headers if line[0] != b"host"]
    scope = scopes().http(head)
    assert scope["server"] == ("192.0.2.2", 99)
    assert scopes(client=None, server=None, trusted="*").http(head)["server"] is None


@pytest.mark.parametrize(("configured", "line", "root_path", "path"), [
    ("", b"X-Forwarded-Prefix: /api/", "/api", "/api/a"),
    ("/old", b"X-Forwarded-Prefix: /api", "/api", "/api/a"),
    ("/old", b"X-Forwarded-Prefix: /", "", "/a"),
    ("/caf%C3%A9", b"X-Forwarded-For: 1.1.1.1", "/caf\xe9", "/caf\xe9/a"),
    ("", b"X-Forwarded-Prefix: /caf%C3%A9", "/caf\xe9", "/caf\xe9/a"),
    ("", b"X-Forwarded-Prefix: /caf\xc3\xa9/", "/caf\xe9", "/caf\xe9/a"),
    ("/old", b"X-Forwarded-Prefix: //evil.example", "/old", "/old/a"),
    ("/old", b"X-Forwarded-For: 1.1.1.1", "/old", "/old/a"),
])
def test_the_prefix_takes_the_place_of_root_path(configured: str, line: bytes, root_path: str, path: str) -> None:
    scope = scope_of(line, root_path=configured)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (root_path, path, quote(path).encode())


@pytest.mark.parametrize(("kind", "said", "scheme", "port"), [
    ("http", "https", "https", 443), ("http", "http", "http", 80), ("websocket", "https", "wss", 443),
    ("websocket", "http", "ws", 80)])
def test_schemes_of_websockets(kind: str, said: str, scheme: str, port: int) -> None:
    scope: dict[str, Any] = {"type": kind, "scheme": "?", "client": None, "server": None, "headers": []}
    apply_origin(Origin(None, said, "a"), scope)
    assert (scope["scheme"], scope["server"]) == (scheme, ("a", port))


def test_the_applications_changes_do_not_reach_the_next_request() -> None:
    factory, head = scopes(), head_of(b"X-Forwarded-Host: b")
    factory.http(head)["headers"].clear()
    assert factory.http(head)["headers"][0] == (b"host", b"b")


def test_trust_is_decided_once_for_a_connection() -> None:
    class Counting(TrustedPeers):
        asked = 0

        def peer(self, *args: Any) -> bool:
            self.asked += 1
            return super().peer(*args)

    for allowed in ("192.0.2.1", "192.0.2.7"):
        counting = Counting(allowed)
        factory = scopes(proxies=ProxyHeaders(counting, X_FORWARDED))
        factory.http(head_of())
        assert counting.asked == 0
        for client in (b"1.1.1.1", b"1.1.1.2"):
            scope = factory.http(head_of(b"X-Forwarded-For: " + client))
            assert (scope["client"] == (client.decode(), 0)) is (allowed == "192.0.2.1")
        assert counting.asked == 1


def test_who_asks_is_the_same_for_the_log() -> None:
    factory = scopes()
    assert factory.client(head_of()) == ("192.0.2.1", 5000)
    assert factory.client(head_of(b"X-Forwarded-For: 1.1.1.1")) == ("1.1.1.1", 0)
    assert factory.client(head_of(b"X-Forwarded-For: 1.1.1.2")) == ("1.1.1.2", 0)
