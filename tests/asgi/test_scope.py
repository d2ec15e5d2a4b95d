"""The connection scope of a request or WebSocket (ASGI core 3.0; HTTP and WebSocket specification 2.5)."""

from copy import deepcopy
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.responses import JSONResponse
from starlette.routing import Match, Mount, Route

from tests.helpers.response_reading import head_of
from trioserve._asgi import ASGI_VERSION, ProxyHeaders, ScopeFactory, tls_extension
from trioserve._trust import X_FORWARDED, TrustedPeers

MESSAGE_TYPES = (bytes, str, int, float, list, tuple, dict, bool, type(None))

FILES = ("http.response.pathsend", "http.response.zerocopysend")


def factory(**changes: Any) -> ScopeFactory:
    arguments: dict[str, Any] = {
        "scheme": "http", "client": ("192.0.2.1", 5000), "server": ("192.0.2.2", 80), "root_path": "", "state": None,
    }  # fmt: skip
    return ScopeFactory(**arguments | changes)


def test_every_key_of_the_specification() -> None:
    head = head_of(b"X-A: b", method="POST", target="/a%20b?c=%20d")
    assert factory().http(head) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x-a", b"b")],
        "client": ("192.0.2.1", 5000),
        "server": ("192.0.2.2", 80),
        "extensions": {name: {} for name in (*FILES, "http.response.trailers", "http.response.early_hint")},
    }
    assert ASGI_VERSION == "3.0"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_files_are_not_offered_where_they_are_switched_off(version: str) -> None:
    head = head_of(version=version)
    offered, not_offered = (factory(sends_files=sends).http(head)["extensions"] for sends in (True, False))
    assert offered.keys() - not_offered.keys() == set(FILES)


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_the_version_is_that_of_the_applications_interface(version: str) -> None:
    scopes = factory(asgi_version=version)
    for _ in range(3):
        for scope in (scopes.http(head_of()), scopes.websocket(head_of(), ())):
            assert scope["asgi"] == {"version": version, "spec_version": "2.5"}


@pytest.mark.parametrize("again", [False, True])
def test_a_deep_copy_is_equal_and_independent(again: bool) -> None:
    tls = tls_extension(0x0304, 0x1301, "PEM", ())
    scopes = factory(scheme="https", tls=tls, state={"a": ["b"]}, root_path="/api")
    head = head_of(b"X-A: b", target="/a?b")
    for _ in range(3 if again else 1):
        scope = scopes.http(head)
    for original in (scope, scopes.websocket(head, ("a",))):
        copied = deepcopy(original)
        assert copied == original
        spoil(copied)
        assert original["extensions"]["tls"] == tls
        assert original["state"] == {"a": ["b"]}


def test_it_is_a_plain_dict_of_plain_things() -> None:
    def check(value: Any) -> None:
        assert type(value) in MESSAGE_TYPES
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for item in value:
                check(item)

    scope = factory(state={"a": 1}).http(head_of(target="/?a"))
    assert type(scope) is dict
    check(scope)


@pytest.mark.parametrize(("sent", "seen"), [("1.0", "1.0"), ("1.1", "1.1"), ("1.2", "1.1")])
def test_http_version_is_1_0_or_1_1(sent: str, seen: str) -> None:
    assert factory().http(head_of(version=sent))["http_version"] == seen


def test_scheme_client_and_server_are_the_connections() -> None:
    scope = factory(scheme="https", client=None, server=("/run/a.sock", None)).http(head_of())
    assert (scope["scheme"], scope["client"], scope["server"]) == ("https", None, ("/run/a.sock", None))


def test_header_names_are_in_lower_case_and_keep_their_order() -> None:
    scope = factory().http(head_of(b"B: 1", b"A: 2", b"b: 3"))
    assert scope["headers"] == [(b"host", b"a"), (b"b", b"1"), (b"a", b"2"), (b"b", b"3")]


@pytest.mark.parametrize(
    ("root_path", "target", "path", "raw_path"),
    [
        pytest.param("", "/a", "/a", b"/a", id="none"),
        pytest.param("/api", "/a", "/api/a", b"/api/a", id="in front of the path"),
        pytest.param("/api", "/", "/api/", b"/api/", id="in front of the root"),
        pytest.param("/api", "/%2Fa", "/api//a", b"/api/%2Fa", id="raw path stays raw"),
        pytest.param("/api/v1", "/a?b", "/api/v1/a", b"/api/v1/a", id="without the query"),
        pytest.param("/api", "/api/a", "/api/api/a", b"/api/api/a", id="even if the path begins like it"),
        pytest.param("/a%20b/%C3%A9", "/%61", "/a b/\xe9/a", b"/a%20b/%C3%A9/%61", id="encoded only in the raw path"),
        pytest.param("/%2525", "/", "/%25/", b"/%2525/", id="decoded once"),
    ],
)
def test_root_path_is_part_of_the_path(root_path: str, target: str, path: str, raw_path: bytes) -> None:
    scope = factory(root_path=root_path).http(head_of(target=target))
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (unquote(root_path), path, raw_path)
    assert scope["path"].startswith(scope["root_path"])  # Starlette and FastAPI take it off again


@pytest.mark.parametrize("root_path", ["/api", "/a%20b/%C3%A9", "/a+b;c=d"])
def test_starlette_finds_its_route_below_root_path(root_path: str) -> None:
    scope = factory(root_path=root_path).http(head_of(target="/items/%C3%A9"))
    route = Route("/{name}", JSONResponse({}))
    match, found = Mount("/items", routes=[route]).matches(scope)
    scope.update(found)
    assert (match, scope["root_path"]) == (Match.FULL, f"{unquote(root_path)}/items")
    match, found = route.matches(scope)
    assert (match, found["path_params"]["name"]) == (Match.FULL, "\xe9")


def test_root_path_is_no_part_of_the_asterisk() -> None:
    scope = factory(root_path="/api").http(head_of(method="OPTIONS", target="*"))
    assert (scope["path"], scope["raw_path"]) == ("*", b"*")


def test_extensions_are_those_that_work_on_this_connection() -> None:
    offered = set(factory().http(head_of())["extensions"])
    assert offered == {*FILES, "http.response.trailers", "http.response.early_hint"}
    assert set(factory().http(head_of(version="1.0"))["extensions"]) == set(FILES)


# -- websocket ---------------------------------------------------------------------------------------------------------


def test_every_key_of_a_websocket() -> None:
    head = head_of(b"X-A: b", target="/a%20b?c=%20d")
    assert factory().websocket(head, ("a", "b")) == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=%20d",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x-a", b"b")],
        "client": ("192.0.2.1", 5000),
        "server": ("192.0.2.2", 80),
        "subprotocols": ["a", "b"],
        "extensions": {"websocket.http.response": {}},
    }


def test_a_websocket_over_tls_has_another_scheme() -> None:
    assert factory(scheme="https").websocket(head_of(), ())["scheme"] == "wss"


def test_a_websocket_has_root_path_and_state_like_a_request() -> None:
    scope = factory(root_path="/api", state={"a": 1}).websocket(head_of(target="/b"), ())
    assert (scope["root_path"], scope["path"], scope["state"]) == ("/api", "/api/b", {"a": 1})


# -- state -------------------------------------------------------------------------------------------------------------


def test_without_lifespan_state_there_is_no_key() -> None:
    assert "state" not in factory().http(head_of())


def test_headers_are_the_scopes_own() -> None:
    """A head may be used again for the client's next request."""
    head = head_of(b"X-A: b")
    factory().http(head)["headers"].clear()
    assert factory().http(head)["headers"] == [(b"host", b"a"), (b"x-a", b"b")]


def test_state_is_a_shallow_copy() -> None:
    shared: list[str] = []
    state = {"shared": shared}
    scope = factory(state=state).http(head_of())
    assert scope["state"] == state
    scope["state"]["own"] = 1
    scope["state"]["shared"].append("seen by all")
    assert state == {"shared": ["seen by all"]}


def test_what_the_lifespan_adds_later_is_seen() -> None:
    state: dict[str, Any] = {}
    scopes = factory(state=state)
    assert scopes.http(head_of())["state"] == {}
    state["late"] = 1
    assert scopes.http(head_of())["state"] == {"late": 1}


# -- a scope is the request's own --------------------------------------------------------------------------------------


def test_each_request_has_its_own_scope() -> None:
    scopes, head = factory(state={}), head_of()
    first = scopes.http(head)
    first.clear()
    assert scopes.http(head)["type"] == "http"


@pytest.mark.parametrize("key", ["asgi", "extensions", "state"])
def test_changes_to_a_scope_stay_in_it(key: str) -> None:
    scopes, head = factory(state={}), head_of()
    scopes.http(head)[key]["mine"] = 1
    assert "mine" not in scopes.http(head)[key]


def test_changes_to_the_headers_of_one_request_stay_in_it() -> None:
    scopes = factory()
    scopes.http(head_of())["headers"].append((b"mine", b"1"))
    assert scopes.http(head_of())["headers"] == [(b"host", b"a")]


def test_changes_inside_an_extension_stay_in_it() -> None:
    scopes, head = factory(), head_of()
    scopes.http(head)["extensions"]["http.response.trailers"]["mine"] = 1
    assert scopes.http(head)["extensions"]["http.response.trailers"] == {}


# -- heads that come again and again -----------------------------------------------------------------------------------

FORWARDED = [b"X-Forwarded-For: 198.51.100.7", b"X-Forwarded-Proto: https", b"X-Forwarded-Prefix: /there"]
CIRCUMSTANCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "root_path": {"root_path": "/api"},
    "state": {"state": {"shared": 1}},
    "tls": {"scheme": "https", "tls": {"tls_version": 0x0304, "client_cert_chain": ()}},
    "all": {"root_path": "/api", "state": {"shared": 1}, "scheme": "https", "tls": {"tls_version": 0x0304}},
}


def spoil(value: Any) -> None:
    """Change all of ``value`` that can be changed, from the inside out."""
    if isinstance(value, dict):
        for each in value.values():
            spoil(each)
        value.clear()
        value["spoilt"] = True
    elif isinstance(value, list):
        value[:] = [("spoilt", True)]


@pytest.mark.parametrize("circumstances", CIRCUMSTANCES.values(), ids=CIRCUMSTANCES)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("forwarded", [False, True], ids=["direct", "forwarded"])
def test_scopes_of_one_head_are_equal_and_independent(
    circumstances: dict[str, Any], version: str, forwarded: bool
) -> None:
    if forwarded:
        circumstances = circumstances | {"proxies": ProxyHeaders(TrustedPeers("*"), X_FORWARDED)}
    head = head_of(b"X-A: b", *FORWARDED, target="/a?b", version=version)
    expected = factory(**circumstances).http(head)
    assert (expected["scheme"] == "https") == (forwarded or "scheme" in circumstances)
    scopes = factory(**circumstances)
    for _ in range(5):
        scope = scopes.http(head)
        assert scope == expected
        assert scope["headers"][:2] == [(b"host", b"a"), (b"x-a", b"b")]
        spoil(scope)


@pytest.mark.parametrize("circumstances", CIRCUMSTANCES.values(), ids=CIRCUMSTANCES)
def test_heads_that_alternate_do_not_mix(circumstances: dict[str, Any]) -> None:
    heads = [head_of(b"X-A: b", target="/a?b"), head_of(method="POST", target="/c"), head_of(version="1.0")]
    expected = [factory(**circumstances).http(head) for head in heads]
    scopes = factory(**circumstances)
    for index in (0, 1, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 2, 1, 0, 0):
        scope = scopes.http(heads[index])
        assert scope == expected[index]
        spoil(scope)


def test_what_the_lifespan_adds_later_is_seen_by_a_head_that_comes_again() -> None:
    state: dict[str, Any] = {}
    scopes, head = factory(state=state), head_of()
    for number in range(4):
        state["number"] = number
        assert scopes.http(head)["state"] == {"number": number}


def test_a_handshake_between_equal_requests_changes_nothing() -> None:
    scopes, head = factory(), head_of()
    expected = scopes.http(head)
    for _ in range(3):
        spoil(scopes.websocket(head, ("a",)))
        assert scopes.http(head) == expected
