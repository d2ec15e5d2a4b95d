"""The prefix under which a proxy mounts the application: one form, whoever names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioserve import Config, ConfigError
from trioserve._root_path import decode_prefix, read_prefix


@pytest.mark.parametrize(("given", "kept", "decoded"), [
    ("", "", ""),
    ("/", "", ""),
    ("/api", "/api", "/api"),
    ("/api/", "/api", "/api"),
    ("api", "/api", "/api"),
    ("api/v1//", "/api/v1", "/api/v1"),
    ("/caf\xe9", "/caf%C3%A9", "/caf\xe9"),
    ("/caf%C3%A9", "/caf%C3%A9", "/caf\xe9"),
    ("/caf%c3%a9", "/caf%c3%a9", "/caf\xe9"),
    ("/a%20b", "/a%20b", "/a b"),
    ("/a%3Fb", "/a%3Fb", "/a?b"),
    ("/a%2Fb", "/a%2Fb", "/a/b"),
    ("/%2525", "/%2525", "/%25"),
    ('/a"<>[]^`{|}', "/a%22%3C%3E%5B%5D%5E%60%7B%7C%7D", '/a"<>[]^`{|}'),
    ("/-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@"),
    ("/\N{SNAKE}", "/%F0%9F%90%8D", "/\N{SNAKE}"),
])  # fmt: skip
def test_a_prefix_has_one_form(given: str, kept: str, decoded: str) -> None:
    config = Config(root_path=given)
    assert config.root_path == kept
    assert decode_prefix(kept) == (decoded, kept.encode())
    assert config.replace(port=1).root_path == kept  # it is not decoded twice


@pytest.mark.parametrize("text", [
    "/a?b", "/a#b", "/a b", " /a", "/a\t", "/a\n", "/a\0", "/\x7f", "/a\xa0b", "/\udc80", "http://a/b", "HTTPS://a",
    "x+y://a", "//a", "/a//b", "/a/../b", "/..", "..", ".", "/%2e%2e", "/a/%2Fb", "/a%2F", "/%", "/100%", "/%zz",
    "/%e9", "/%00", "/%0d%0aa", "/\\a", "/%5ca",
], ids=ascii)  # fmt: skip
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config(root_path=text)
    assert refused.value.option == "root_path"
    assert repr(text) in refused.value.problem


@given(st.text())
def test_a_prefix_that_is_read_stays_as_it_is(text: str) -> None:
    try:
        prefix = read_prefix(text)
    except ValueError:
        return
    assert read_prefix(prefix) == prefix
    assert prefix == "" or (prefix.isascii() and prefix[0] == "/" and prefix[-1] != "/" and prefix.isprintable())
