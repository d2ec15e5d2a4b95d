"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt, sections 2.1 and 2.2), whole and byte by byte."""

import os
import socket
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioserve._protocol.proxy_line import SIGNATURE, ProxyLine, read_proxy_line

CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.7", 443)
CLIENT_6, SERVER_6 = ("2001:db8::1", 56324), ("2001:db8::7", 443)
ROUNDS: Final = int(os.environ.get("TRIOSERVE_FUZZ_ROUNDS", "10000"))
SEED: Final = int(os.environ.get("TRIOSERVE_FUZZ_SEED", "0"))


def v2(family: int, block: bytes, *, command: int = 0x21, size: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(block) if size is None else size).to_bytes(2, "big") + block


def tcp4(client: tuple[str, int] = CLIENT, server: tuple[str, int] = SERVER) -> bytes:
    hosts = socket.inet_pton(socket.AF_INET, client[0]) + socket.inet_pton(socket.AF_INET, server[0])
    return hosts + client[1].to_bytes(2, "big") + server[1].to_bytes(2, "big")


def tcp6(client: tuple[str, int] = CLIENT_6, server: tuple[str, int] = SERVER_6) -> bytes:
    hosts = socket.inet_pton(socket.AF_INET6, client[0]) + socket.inet_pton(socket.AF_INET6, server[0])
    return hosts + client[1].to_bytes(2, "big") + server[1].to_bytes(2, "big")


def unix(client: bytes = b"", server: bytes = b"/run/app.sock") -> bytes:
    return client.ljust(108, b"\0") + server.ljust(108, b"\0")


def tlv(kind: int, value: bytes, *, size: int | None = None) -> bytes:
    return bytes([kind]) + (len(value) if size is None else size).to_bytes(2, "big") + value


def read(wire: bytes) -> ProxyLine | None:
    """What the header says, the same whole, with something behind it, and as long as it grows."""
    try:
        line = read_proxy_line(wire)
    except ValueError as exc:
        assert str(exc).startswith("it")
        with pytest.raises(ValueError, match=r"^it"):
            read_proxy_line(wire + b"GET / HTTP/1.1\r\n\r\n")
        raise
    if line is not None:
        assert line.size <= len(wire)
        for end in range(line.size):
            assert read_proxy_line(wire[:end]) is None
        assert read_proxy_line(wire + b"GET / HTTP/1.1\r\n\r\n") == line
    return line


# -- version 1 (section 2.1) -------------------------------------------------------------------------------------------

LONGEST: Final = b"PROXY UNKNOWN %b %b 65535 65535\r\n" % (b"f:" * 19 + b"f", b"f:" * 19 + b"f")  # of the specification


@pytest.mark.parametrize(("wire", "endpoints"), [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", (CLIENT, SERVER)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", (("255.255.255.255", 65535),) * 2),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", (("0.0.0.0", 0),) * 2),
    (b"PROXY TCP6 2001:db8::1 2001:db8::7 56324 443\r\n", (CLIENT_6, SERVER_6)),
    (b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 2001:0db8::7 56324 443\r\n", (CLIENT_6, SERVER_6)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 443\r\n", (CLIENT, SERVER)),
    (b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
     (("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),) * 2),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever it is\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (LONGEST, None),
    (b"PROXY UNKNOWN " + b"x" * (107 - 16) + b"\r\n", None),
])
def test_v1(wire: bytes, endpoints: Any) -> None:
    assert read(wire) == ProxyLine(len(wire), endpoints)


@pytest.mark.parametrize("wire", [
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
    b"PROXY TCP4\t192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 a.example 198.51.100.7 56324 443\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::7 56324 443\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY TCP6 2001:db8::1 198.51.100.7 56324 443\r\n",
    b"PROXY TCP6 2001:db8::1%eth0 2001:db8::7 56324 443\r\n",
    b"PROXY TCP6 [2001:db8::1] 2001:db8::7 56324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 1 443\n\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 \xb2 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY tcp4 192.0.2.1 198.51.100.7 56324 443\r\n",
    b"PROXY UNKNOWNx\r\n",
    b"PROXY UNKNOWN\n\r\n",
    b"PROXY TCP\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * (108 - 16) + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 200,
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n" + b"x" * 80,
])
def test_malformed_v1(wire: bytes) -> None:
    with pytest.raises(ValueError, match=r"its PROXY line (is malformed|has a malformed address|does not end)"):
        read(wire)


# -- version 2 (section 2.2) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wire", "endpoints"), [
    (v2(0x11, tcp4()), (CLIENT, SERVER)),
    (v2(0x21, tcp6()), (CLIENT_6, SERVER_6)),
    (v2(0x21, tcp6(("::ffff:192.0.2.1", 56324), ("::ffff:198.51.100.7", 443))), (CLIENT, SERVER)),
    (v2(0x31, unix()), (None, None)),
    (v2(0x31, unix(b"/client")), (None, None)),
    (v2(0x00, b""), None),
    (v2(0x00, b"whatever it is"), None),
    (v2(0x00, b"", command=0x20), None),  # LOCAL: everything is ignored
    (v2(0x11, tcp4(), command=0x20), None),
    (v2(0xFF, b"junk", command=0x20), None),
    # extensions
    (v2(0x11, tcp4() + tlv(0x01, b"h2") + tlv(0x04, b"") + tlv(0xEA, b"\x01vpce-1")), (CLIENT, SERVER)),
    (v2(0x21, tcp6() + tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))), (CLIENT_6, SERVER_6)),
    (v2(0x31, unix() + tlv(0x05, b"id")), (None, None)),
    (v2(0x11, tcp4() + tlv(0x04, b"\0" * (0xFFFF - 15))), (CLIENT, SERVER)),  # the largest
], ids=str)
def test_v2(wire: bytes, endpoints: Any) -> None:
    if len(wire) > 1000:
        assert read_proxy_line(wire[:-1]) is None
        assert read_proxy_line(wire) == ProxyLine(len(wire), endpoints)
    else:
        assert read(wire) == ProxyLine(len(wire), endpoints)


@pytest.mark.parametrize("wire", [
    v2(0x11, tcp4(), command=0x11), v2(0x11, tcp4(), command=0x31), v2(0x11, tcp4(), command=0x22),
    v2(0x11, tcp4(), command=0x01),
    v2(0x12, tcp4()), v2(0x22, tcp6()), v2(0x32, unix()), v2(0x10, tcp4()), v2(0x01, b""), v2(0x41, tcp4()),
    v2(0x11, tcp4()[:-1]), v2(0x11, b""), v2(0x21, tcp4()), v2(0x31, unix()[:-1]),
    v2(0x11, tcp4() + b"\x04"), v2(0x11, tcp4() + b"\x04\0"), v2(0x11, tcp4() + tlv(0x04, b"a", size=2)),
    v2(0x11, tcp4() + tlv(0x04, b"ab", size=1)), v2(0x11, tcp4() + b"\xff\xff\xff"),
], ids=bytes.hex)
def test_malformed_v2(wire: bytes) -> None:
    with pytest.raises(ValueError, match="its PROXY header "):
        read(wire)


# -- neither -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [
    b"GET / HTTP/1.1\r\n", b"P ", b"POST / ", b"PROXY\r\n", b"proxy TCP4 ", b" PROXY", b"\r\nGET",
    b"\r\n\r\n\0\r\nQUIT\r", b"\x16\x03\x01\x02\0\x01", b"\0", b"\r\r", SIGNATURE[:-1] + b"\r",
])
def test_what_is_no_header_is_seen_at_the_first_byte_that_is_wrong(wire: bytes) -> None:
    with pytest.raises(ValueError, match="it does not begin with a PROXY header"):
        read(wire)


@pytest.mark.parametrize("wire", [
    b"", b"PROXY ", b"PROXY UNKNOWN\r", SIGNATURE, SIGNATURE + b"\x21", v2(0x11, b"", size=12)])
def test_more_is_awaited(wire: bytes) -> None:
    for end in range(len(wire) + 1):
        assert read_proxy_line(wire[:end]) is None


# -- whatever is sent --------------------------------------------------------------------------------------------------

PORTS: Final = st.integers(0, 65535)


@given(client=st.tuples(st.ip_addresses(v=4).map(str), PORTS), server=st.tuples(st.ip_addresses(v=4).map(str), PORTS))
def test_any_addresses_of_ipv4(client: Any, server: Any) -> None:
    text = f"PROXY TCP4 {client[0]} {server[0]} {client[1]} {server[1]}\r\n".encode()
    assert read(text) == ProxyLine(len(text), (client, server))
    assert read(v2(0x11, tcp4(client, server))) == ProxyLine(28, (client, server))


@given(client=st.tuples(st.ip_addresses(v=6), PORTS), server=st.tuples(st.ip_addresses(v=6), PORTS))
def test_any_addresses_of_ipv6(client: Any, server: Any) -> None:
    text = f"PROXY TCP6 {client[0]} {server[0]} {client[1]} {server[1]}\r\n".encode()
    line = read(text)
    assert line is not None and line.endpoints is not None
    binary = read(v2(0x21, tcp6((str(client[0]), client[1]), (str(server[0]), server[1]))))
    assert binary is not None and binary.endpoints == line.endpoints


@given(st.binary(max_size=300) | st.binary(max_size=300).map(SIGNATURE.__add__)
       | st.binary(max_size=120).map(b"PROXY TCP4 ".__add__))
def test_any_bytes_are_a_header_or_none(wire: bytes) -> None:
    assert_judged_the_same_in_pieces(wire)


def assert_judged_the_same_in_pieces(wire: bytes) -> bool:
    """True when it is a header. Only ValueError is raised, and at the latest with the last byte."""
    verdicts: list[ProxyLine | str | None] = []
    for end in range(len(wire) + 1):
        try:
            line = read_proxy_line(wire[:end])
        except ValueError:
            verdicts.append("refused")
        else:
            if line is not None:
                verdicts.append(line)
        if verdicts:
            break
    try:
        whole: ProxyLine | str | None = read_proxy_line(wire)
    except ValueError:
        whole = "refused"
    assert [whole] == (verdicts or [None])
    return isinstance(whole, ProxyLine)


@pytest.mark.timeout(60 + ROUNDS / 50)
def test_mutations() -> None:
    random = Random(SEED)
    corpus = [
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", b"PROXY TCP6 2001:db8::1 2001:db8::7 1 2\r\n",
        b"PROXY UNKNOWN\r\n", v2(0x11, tcp4() + tlv(1, b"h2")), v2(0x21, tcp6()), v2(0x00, b"", command=0x20),
    ]  # fmt: skip
    accepted = 0
    for _ in range(ROUNDS // 10):
        wire = bytearray(random.choice(corpus))
        for _ in range(random.choice((1, 1, 2, 3))):
            at = random.randrange(len(wire))
            change = random.choice(("set", "cut", "double"))
            if change == "set":
                wire[at] = random.choice((random.randrange(256), 0x30, 0x20, 0x0D, 0x0A, 0xFF, 0))
            elif change == "cut" and len(wire) > 4:
                del wire[at : at + random.choice((1, 2, 4))]
            else:
                wire[at:at] = wire[at : at + random.choice((1, 2, 4))]
        accepted += assert_judged_the_same_in_pieces(bytes(wire))
    assert ROUNDS // 100 <= accepted <= ROUNDS // 10 * 0.9  # both sides of the border are visited
