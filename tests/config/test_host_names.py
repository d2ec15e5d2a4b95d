"""Names of hosts and patterns, as ``--server-name`` takes them."""

import pytest

from trioserve import Config, ConfigError
from trioserve._host_names import HostNames, parse_named_certificate


@pytest.mark.parametrize(("text", "host", "is_one"), [
    ("example.com", "example.com", True),
    ("example.com", "EXAMPLE.com", True),
    ("Example.COM.", "example.com", True),
    ("example.com", "example.com.", True),
    ("example.com", "www.example.com", False),
    ("example.com", "evil-example.com", False),
    ("*.example.com", "www.example.com", True),
    ("*.example.com", "a.b.EXAMPLE.com", True),
    ("*.example.com", "example.com", False),
    ("*.example.com", "evil-example.com", False),
    ("localhost", "localhost", True),
    ("192.0.2.1", "192.0.2.1", True),
    ("[::1]", "[::1]", True),
    ("::1", "[::1]", True),
    ("0:0::1", "[::1]", True),
    ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de", True),
    ("my_service", "my_service", True),
    ("example.com", "", False),
    ("*.example.com", "", False),
])
def test_which_hosts_are_meant(text: str, host: str, is_one: bool) -> None:
    assert (host in HostNames([text])) is is_one


def test_several_names() -> None:
    names = HostNames(["a.example", "b.example", "*.c.example"])
    hosts = ("a.example", "b.example", "x.c.example", "d.example")
    assert [host in names for host in hosts] == [True, True, True, False]


def test_no_name_at_all_is_nobody() -> None:
    assert "example.com" not in HostNames([])


@pytest.mark.parametrize("text", [
    "", "*", "https://example.com", "example.com:443", "example.com/path", "*.*.com", "a..b", "-a.example", "a b",
    "münchen.de", "www.*.com",
])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a host") as failure:
        Config(server_name=("a.example", text))
    assert failure.value.option == "server_name"
    assert repr(text) in failure.value.problem


@pytest.mark.parametrize(("text", "certfile", "keyfile"), [
    ("shop.example=shop.pem", "shop.pem", None),
    ("*.shop.example=/etc/shop.pem,/etc/shop.key", "/etc/shop.pem", "/etc/shop.key"),
    ("shop.example=C:\\shop=1.pem", "C:\\shop=1.pem", None),
])
def test_named_certificates(text: str, certfile: str, keyfile: str | None) -> None:
    named = parse_named_certificate(text)
    assert (named.certfile, named.keyfile) == (certfile, keyfile)
    assert ("shop.example" in named.hosts) is not text.startswith("*")


@pytest.mark.parametrize("text", ["", "shop.example", "shop.example=", "=shop.pem", "a b=s.pem", "a=s.pem,", "a=,k"])
def test_what_is_no_named_certificate(text: str) -> None:
    with pytest.raises(ConfigError) as failure:
        Config(ssl_sni=(text,))
    assert failure.value.option == "ssl_sni"
