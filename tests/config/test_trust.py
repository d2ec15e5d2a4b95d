"""Who is trusted: addresses, networks, unix sockets, everybody; and which fields are believed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioserve import Config, ConfigError
from trioserve._trust import TrustedPeers, believed_fields, read_ip

HERE = ("10.0.0.9", 8000)
UNIX = ("/run/app.sock", None)


@pytest.mark.parametrize(("allowed", "peer", "local", "trusted"), [
    ("127.0.0.1", ("127.0.0.1", 1), HERE, True),
    ("127.0.0.1", ("127.0.0.2", 1), HERE, False),
    ("127.0.0.1", ("::1", 1), HERE, False),
    ("127.0.0.1", ("::ffff:127.0.0.1", 1), HERE, True),  # a socket for both families
    ("::ffff:127.0.0.1", ("127.0.0.1", 1), HERE, True),
    ("::1", ("::1", 1), HERE, True),
    ("0:0::1", ("::1", 1), HERE, True),
    ("10.0.0.0/8", ("10.255.0.1", 1), HERE, True),
    ("10.0.0.0/8", ("11.0.0.1", 1), HERE, False),
    ("10.0.0.0/8", ("::ffff:10.0.0.1", 1), HERE, True),
    ("192.0.2.7/32", ("192.0.2.7", 1), HERE, True),
    ("0.0.0.0/0", ("192.0.2.7", 1), HERE, True),
    ("0.0.0.0/0", ("::1", 1), HERE, False),
    ("::/0", ("2001:db8::1", 1), HERE, True),
    ("2001:db8::/32", ("2001:db8:ffff::1", 1), HERE, True),
    ("fe80::/10", ("fe80::1%eth0", 1), HERE, True),
    ("fe80::1", ("fe80::1%eth0", 1), HERE, True),
    ("127.0.0.1, 10.0.0.0/8 ,unix", ("10.0.0.1", 1), HERE, True),
    ("127.0.0.1", None, UNIX, False),
    ("unix", None, UNIX, True),
    ("unix", None, HERE, False),  # no address, and not because it is a unix socket
    ("unix", None, None, False),
    ("unix", ("127.0.0.1", 1), HERE, False),
    ("/run/app.sock", None, UNIX, True),  # one socket, as uvicorn's list may name it
    ("unix:/run/app.sock", None, UNIX, True),
    ("/run/other.sock", None, UNIX, False),
    ("/run/app.sock", None, HERE, False),
    ("/run/app.sock", ("127.0.0.1", 1), HERE, False),
    ("/run/app.sock,127.0.0.1", ("127.0.0.1", 1), HERE, True),
    ("*", ("192.0.2.7", 1), HERE, True),
    ("*", None, UNIX, True),
    ("*", None, None, True),
    ("", ("127.0.0.1", 1), HERE, False),
    (" , ", None, UNIX, False),
])
def test_peers(allowed: str, peer: Any, local: Any, trusted: bool) -> None:
    assert TrustedPeers(allowed).peer(peer, local) is trusted


@pytest.mark.parametrize("host", ["", "unix", "*", "localhost", "127.0.0.1:80", "127.1", "0x7f.0.0.1", "[::1]", "\xe9"])
def test_hosts_that_are_no_addresses(host: str) -> None:
    assert not TrustedPeers("127.0.0.1,::1,unix,0.0.0.0/0,::/0").host(host)
    assert TrustedPeers("*").host(host)


def test_the_default() -> None:
    trusted = TrustedPeers(Config().forwarded_allow_ips)
    assert trusted.host("127.0.0.1") and trusted.host("::1") and trusted.peer(None, UNIX)
    assert not trusted.host("127.0.0.2") and not trusted.host("10.0.0.1")


@pytest.mark.parametrize(("allowed", "problem"), [
    ("localhost", "'localhost' is no IP address, network, unix, path or *"),
    ("127.0.0.1, proxy", "'proxy' is no IP address"),
    ("10.0.0.1/8", "'10.0.0.1/8' has host bits set"),
    ("10.0.0.0/33", "'10.0.0.0/33' is no IP address"),
    ("127.0.0.1 ::1", "'127.0.0.1 ::1' is no IP address"),
    ("10.*", "'10.*' is no IP address"),
    ("run/app.sock", "'run/app.sock' is no IP address"),
])
def test_what_is_no_list_of_proxies(allowed: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config(forwarded_allow_ips=allowed)
    assert error.value.option == "forwarded_allow_ips"
    assert problem in error.value.problem


@pytest.mark.parametrize(("text", "names"), [
    ("forwarded", {b"forwarded"}),
    ("X-Forwarded-For", {b"x-forwarded-for"}),
    (" x-forwarded-for , x-forwarded-prefix,", {b"x-forwarded-for", b"x-forwarded-prefix"}),
    (Config().forwarded_headers, {b"x-forwarded-for", b"x-forwarded-proto"}),  # what uvicorn believes
])
def test_believed_fields(text: str, names: set[bytes]) -> None:
    assert believed_fields(text) == names


@pytest.mark.parametrize(("text", "problem"), [
    ("", "no field is named"), (",", "no field is named"), ("via", "'via' is none of forwarded, x-forwarded-for"),
    ("x-forwarded", "'x-forwarded' is none of"), ("forwarded, x-forwarded-for", "forwarded cannot be combined"),
])
def test_what_is_no_list_of_fields(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config(forwarded_headers=text)
    assert error.value.option == "forwarded_headers"
    assert problem in error.value.problem


@given(st.text())
def test_any_text_is_a_list_or_a_mistake(text: str) -> None:
    for option in ("forwarded_allow_ips", "forwarded_headers"):
        try:
            Config(**{option: text})  # type: ignore[arg-type]
        except ConfigError as exc:
            assert "\n" not in exc.problem


@given(st.ip_addresses())
def test_addresses_in_text_and_in_bytes(address: Any) -> None:
    assert read_ip(str(address)) == read_ip(address.packed)
