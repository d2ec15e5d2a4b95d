"""Where to listen: how addresses are written, which options go together, and what is said about those that do not."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioserve import Config, ConfigError
from trioserve._config.addresses import BindSpec, Descriptor, HostPort, UnixPath, parse_bind, shown, shown_here


@pytest.mark.parametrize(("text", "spec"), [
    ("127.0.0.1:8000", HostPort("127.0.0.1", 8000)),
    ("localhost:0", HostPort("localhost", 0)),
    ("0.0.0.0:65535", HostPort("0.0.0.0", 65535)),
    ("*:80", HostPort("*", 80)),
    (":80", HostPort("", 80)),
    ("[::1]:8000", HostPort("::1", 8000)),
    ("[::]:0080", HostPort("::", 80)),
    ("[::ffff:192.0.2.1]:1", HostPort("::ffff:192.0.2.1", 1)),
    ("[fe80::1%eth0]:1", HostPort("fe80::1%eth0", 1)),
    ("unix:/run/app.sock", UnixPath("/run/app.sock")),
    ("unix:///run/app.sock", UnixPath("/run/app.sock")),
    ("unix:app.sock", UnixPath("app.sock")),
    ("unix:a b:c", UnixPath("a b:c")),
    ("fd://0", Descriptor(0)),
    ("fd://17", Descriptor(17)),
])
def test_addresses(text: str, spec: BindSpec) -> None:
    assert parse_bind(text) == spec
    assert parse_bind(str(spec)) == spec


@pytest.mark.parametrize("text", [
    "", "8000", "localhost", "::1", "::1:8000", "[::1]", "[::1]8000", "[localhost]:80", "[::1:80", "a:b", "a:-1",
    "a: 1", "a:1 ", "a:123456", "a:65536", "http://a:80", "tcp://a:80", "a:80/", "[::1]:80/", "unix:", "unix://",
    "unix:a\0b", "fd://", "fd://x", "fd://-1", "fd://3/", "fd://1234567890", "a:\u0661",
])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config(bind=("127.0.0.1:1", text))
    assert error.value.option == "bind"
    assert repr(text) in error.value.problem
    assert "\n" not in error.value.problem


def test_an_ipv6_address_without_brackets_gets_advice() -> None:
    with pytest.raises(ConfigError, match="in brackets"):
        Config(bind=("::1:8000",))


@given(st.text())
@example("unix:")
@example("fd://1")
@example("[::1]:1")
def test_any_text_is_an_address_or_a_mistake(text: str) -> None:
    try:
        spec = parse_bind(text)
    except ValueError as exc:
        assert repr(text) in str(exc)
    else:
        assert isinstance(spec, UnixPath) or parse_bind(str(spec)) == spec


@pytest.mark.parametrize(("address", "text"), [
    (("127.0.0.1", 80), "http://127.0.0.1:80"),
    (("::1", 80), "http://[::1]:80"),
    (("/run/app.sock", None), "unix:/run/app.sock"),
    (("\0abstract", None), "unix:@abstract"),
])
def test_addresses_for_people(address: tuple[str, int | None], text: str) -> None:
    assert shown(address) == text


# -- which options go together ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "specs"), [
    ({}, [HostPort("127.0.0.1", 8000)]),
    ({"host": "::", "port": 0}, [HostPort("::", 0)]),
    ({"uds": "/run/a"}, [UnixPath("/run/a")]),
    ({"fd": 3}, [Descriptor(3)]),
    ({"bind": ["a:1", "unix:b", "fd://3"]}, [HostPort("a", 1), UnixPath("b"), Descriptor(3)]),
    ({"bind": ["a:1"], "uds": "b", "fd": 0}, [HostPort("a", 1), UnixPath("b"), Descriptor(0)]),
    ({"bind": ["a:1"], "host": "127.0.0.1", "port": 8000}, [HostPort("a", 1)]),
    ({"uds": "//a"}, [UnixPath("//a")]),
])
def test_what_is_listened_on(options: dict[str, Any], specs: list[BindSpec]) -> None:
    assert Config(**options).bind_specs == specs


@pytest.mark.parametrize(("options", "main", "insecure"), [
    ({"port": 443}, [HostPort("127.0.0.1", 443)], []),
    ({"port": 443, "insecure_bind": ["a:80"]}, [HostPort("127.0.0.1", 443)], [HostPort("a", 80)]),
    ({"uds": "a", "insecure_bind": ["fd://3", "unix:b"]}, [UnixPath("a")], [Descriptor(3), UnixPath("b")]),
    ({"bind": ["a:0", "a:0"], "insecure_bind": ["a:0"]}, [HostPort("a", 0)] * 2, [HostPort("a", 0)]),
])
def test_what_is_listened_on_without_tls(
    options: dict[str, Any], main: list[BindSpec], insecure: list[BindSpec]
) -> None:
    config = Config(**options)
    assert (config.bind_specs, config.insecure_bind_specs) == (main, insecure)


@pytest.mark.parametrize(("options", "option", "problem"), [
    ({"uds": "a", "port": 80}, "port", "cannot be combined with bind, uds or fd"),
    ({"fd": 3, "host": "::"}, "host", "cannot be combined with bind, uds or fd"),
    ({"bind": ["a:1"], "port": 80}, "port", "cannot be combined with bind, uds or fd"),
    ({"bind": ["a:1", "a:1"]}, "bind", "'a:1' is there twice"),
    ({"bind": ["unix:a"], "uds": "a"}, "bind", "'unix:a' is there twice"),
    ({"bind": ["fd://3"], "fd": 3}, "bind", "'fd://3' is there twice"),
    ({"insecure_bind": ["a:1", "a:1"]}, "insecure_bind", "'a:1' is there twice"),
    ({"bind": ["a:1"], "insecure_bind": ["a:2", "a:1"]}, "insecure_bind", "'a:1' is there twice"),
    ({"uds": "a", "insecure_bind": ["unix:a"]}, "insecure_bind", "'unix:a' is there twice"),
    ({"insecure_bind": ["443"]}, "insecure_bind", "'443' is not of the form"),
    ({"uds": ""}, "uds", "'' is no path"),
    ({"uds": "a\0b"}, "uds", "is no path"),
    ({"fd": -1}, "fd", "out of range"),
])
def test_contradictions(options: dict[str, Any], option: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        Config(**options)
    assert error.value.option == option
    assert problem in error.value.problem


@pytest.mark.parametrize("mode", ["600", "0660", "0o777", "0"])
def test_permissions(mode: str) -> None:
    assert Config(uds_permissions=mode).uds_permissions == mode
    assert Config(umask=mode).umask == mode


@pytest.mark.parametrize("mode", ["", "rw", "8", "0x7", "1777", "-1", " 6", "0o", "6\n"])
def test_what_are_no_permissions(mode: str) -> None:
    with pytest.raises(ConfigError, match=r"uds_permissions: .*octal"):
        Config(uds_permissions=mode)
    with pytest.raises(ConfigError, match=r"umask: .*octal"):
        Config(umask=mode)


@pytest.mark.parametrize(("host", "port", "url"), [
    ("0.0.0.0", 80, "https://127.0.0.1:80"), ("::", 80, "https://[::1]:80"), ("127.0.0.1", 80, ""), ("/a", None, ""),
])
def test_where_this_machine_finds_a_server_on_all_addresses(host: str, port: int | None, url: str) -> None:
    assert shown_here((host, port), "https") == url
