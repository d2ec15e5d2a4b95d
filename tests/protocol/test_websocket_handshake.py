"""The opening handshake (RFC 6455 §4.2, RFC 7692 §7.1), on heads that have been parsed already."""

import pytest

from tests.helpers.wire_feeding import ENGINES
from tests.helpers.ws_frames import KEY, handshake_head
from trioserve._errors import PeerError
from trioserve._protocol import Http1Codec, Http1Limits, ParseFields
from trioserve._protocol.websocket.handshake import CLIENT_WINDOW_BITS, read_handshake

EXTENSIONS = b"sec-websocket-extensions"
PROTOCOL = b"sec-websocket-protocol"


def refusal(**changes: object) -> PeerError:
    with pytest.raises(PeerError) as error:
        read_handshake(handshake_head(**changes), deflate=True)  # type: ignore[arg-type]  # whatever a case changes
    return error.value


# -- what offers WebSocket: RFC 9110 §7.8, RFC 6455 §4.2.1 -------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("version", "connection", "upgrade", "offers"),
    [
        ("1.1", "Upgrade", "websocket", True),
        ("1.1", "keep-alive, UPGRADE", "WebSocket", True),
        ("1.1", "upgrade", "h2c, websocket", True),
        ("1.0", "Upgrade", "websocket", False),  # RFC 9110 §7.8: ignored there
        ("1.1", "keep-alive", "websocket", False),
        ("1.1", "Upgrade", "h2c", False),
        ("1.1", "Upgrade", "websocket/13", False),
        ("1.1", "Upgrade", "websockets", False),
    ],
)
def test_which_requests_offer_websocket(
    engine: ParseFields, version: str, connection: str, upgrade: str, offers: bool
) -> None:
    codec = Http1Codec(engine, Http1Limits())
    codec.receive_data(
        f"GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\n\r\n".encode())
    head = codec.next_head()
    assert head is not None
    assert head.meaning.offers_websocket is offers


@pytest.mark.parametrize("engine", ENGINES)
def test_what_follows_the_head_belongs_to_the_next_protocol(engine: ParseFields) -> None:
    codec = Http1Codec(engine, Http1Limits())
    codec.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80abcd")
    assert codec.next_head() is not None
    assert codec.switch_protocols() == b"\x81\x80abcd"
    assert codec.trailing_data == b""


# -- §4.2.1, §4.2.2: key and version -----------------------------------------------------------------------------------


def test_the_key_of_the_specification() -> None:
    assert read_handshake(handshake_head(), deflate=True).accept_key == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", [None, b"", b"YWJj", KEY + b"A", KEY[:-2], KEY[:-2] + b"=A", b" " * 24, b"\xff" * 24])
def test_a_key_that_is_not_16_bytes(key: bytes | None) -> None:
    assert refusal(key=key).status == 400


def test_two_keys() -> None:
    with pytest.raises(PeerError) as error:
        read_handshake(handshake_head((b"sec-websocket-key", KEY)), deflate=True)
    assert error.value.status == 400


@pytest.mark.parametrize("version", [None, b"", b"8", b"12", b"14", b"13, 8", b"013"])
def test_another_version_is_told_ours(version: bytes | None) -> None:  # RFC 6455 §4.4, RFC 9110 §15.5.22
    error = refusal(version=version)
    assert error.status == 426
    assert dict(error.fields) == {b"upgrade": b"websocket", b"connection": b"upgrade", b"sec-websocket-version": b"13"}


@pytest.mark.parametrize("length", [1, None], ids=["content-length", "chunked"])
def test_a_body_could_be_taken_for_frames(length: int | None) -> None:
    assert refusal(length=length).status == 400


# -- §4.2.1, §11.3.4: subprotocols -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "offered"),
    [
        ([], ()),
        ([b"chat"], ("chat",)),
        ([b"chat, superchat"], ("chat", "superchat")),
        ([b"a,b", b"c"], ("a", "b", "c")),
        ([b"v1.example \t,\t b"], ("v1.example", "b")),
        ([b"a,,b"], ("a", "b")),  # RFC 9110 §5.6.1.2: a recipient ignores empty elements
        ([b"a,"], ("a",)),
        ([b",a"], ("a",)),
        ([b", ,\t,a ,, b, "], ("a", "b")),
        ([b"", b"a", b","], ("a",)),
    ],
)
def test_subprotocols_are_those_of_all_fields(values: list[bytes], offered: tuple[str, ...]) -> None:
    handshake = read_handshake(handshake_head(*((PROTOCOL, value) for value in values)), deflate=True)
    assert handshake.subprotocols == offered


@pytest.mark.parametrize("value", [b"", b",", b" ,\t,", b"a b", b"a,b c", b"a;b", b"a,,\xe9"])
def test_malformed_subprotocols(value: bytes) -> None:
    with pytest.raises(PeerError) as error:
        read_handshake(handshake_head((PROTOCOL, value)), deflate=True)
    assert error.value.status == 400


# -- §9.1, RFC 7692 §7.1: permessage-deflate ---------------------------------------------------------------------------

BROWSER = b"permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (b"permessage-deflate", b"permessage-deflate"),
        (BROWSER, b"permessage-deflate; client_max_window_bits=12"),
        (b"permessage-deflate; client_max_window_bits=10", b"permessage-deflate; client_max_window_bits=10"),
        (b'permessage-deflate; client_max_window_bits="8"', b"permessage-deflate; client_max_window_bits=8"),
        (b"permessage-deflate; server_max_window_bits=9", b"permessage-deflate; server_max_window_bits=9"),
        (b"permessage-deflate;server_no_context_takeover", b"permessage-deflate; server_no_context_takeover"),
        (
            b"permessage-deflate; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=15",
            b"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
        ),
        (b"x-other; a=b, permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; server_max_window_bits=8, permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; unheard-of, " + BROWSER, b"permessage-deflate; client_max_window_bits=12"),
    ],
)
def test_the_first_offer_that_can_be_met_is_taken(offer: bytes, answer: bytes) -> None:
    terms = read_handshake(handshake_head((EXTENSIONS, offer)), deflate=True).deflate
    assert terms is not None
    assert terms.answer == answer


@pytest.mark.parametrize(
    "offer",
    [
        b"", b"x-webkit-deflate-frame", b"permessage-deflate; unheard-of", b"permessage-deflate;",
        b"permessage-deflate; server_max_window_bits", b"permessage-deflate; server_max_window_bits=",
        b"permessage-deflate; server_max_window_bits=8", b"permessage-deflate; server_max_window_bits=16",
        b"permessage-deflate; server_max_window_bits=09", b"permessage-deflate; server_max_window_bits=abc",
        b"permessage-deflate; client_max_window_bits=7", b"permessage-deflate; client_max_window_bits=",
        b"permessage-deflate; server_no_context_takeover=1", b"permessage-deflate; client_no_context_takeover=",
        b"permessage-deflate; client_max_window_bits; client_max_window_bits",
        b"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ],
)
def test_an_offer_that_cannot_be_met_is_declined(offer: bytes) -> None:  # RFC 7692 §7.1
    assert read_handshake(handshake_head((EXTENSIONS, offer)), deflate=True).deflate is None


def test_what_the_terms_mean() -> None:
    offer = b"permessage-deflate; client_max_window_bits; server_max_window_bits=10; server_no_context_takeover"
    terms = read_handshake(handshake_head((EXTENSIONS, offer)), deflate=True).deflate
    assert terms is not None
    assert (terms.server_window_bits, terms.client_window_bits) == (10, CLIENT_WINDOW_BITS)
    assert (terms.server_takeover, terms.client_takeover) == (False, True)


def test_several_fields_of_extensions_are_one_list() -> None:
    head = handshake_head((EXTENSIONS, b"x-other"), (EXTENSIONS, BROWSER))
    assert read_handshake(head, deflate=True).deflate is not None


def test_compression_can_be_switched_off() -> None:
    assert read_handshake(handshake_head((EXTENSIONS, BROWSER)), deflate=False).deflate is None
