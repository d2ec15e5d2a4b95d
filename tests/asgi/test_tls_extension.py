"""The TLS extension (ASGI TLS extension 0.2) and the names in it (RFC 4514)."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier

from trioserve._asgi import tls_extension
from trioserve._asgi.distinguished_name import subject_name

KEY = ec.generate_private_key(ec.SECP256R1())
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(subject: x509.Name, *, extended: bool = False) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(x509.Name([])).public_key(KEY.public_key())
        .serial_number(1).not_valid_before(WHEN).not_valid_after(WHEN))
    if extended:
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.sign(KEY, hashes.SHA256())


def der(*attributes: tuple[ObjectIdentifier, str]) -> bytes:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    return certificate(name).public_bytes(Encoding.DER)


C, ST, L, O, OU, CN = (  # noqa: E741  # their names
    NameOID.COUNTRY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.LOCALITY_NAME, NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.COMMON_NAME)


# -- RFC 4514 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attributes", "text"), [
    ([], ""),
    ([(CN, "Ann")], "CN=Ann"),
    ([(C, "DE"), (ST, "Hessen"), (L, "Kassel"), (O, "Example"), (OU, "R&D"), (CN, "Ann")],  # §2.1: last one first
     "CN=Ann,OU=R&D,O=Example,L=Kassel,ST=Hessen,C=DE"),
    ([(NameOID.DOMAIN_COMPONENT, "net"), (NameOID.DOMAIN_COMPONENT, "example"), (NameOID.USER_ID, "jsmith")],  # §4
     "UID=jsmith,DC=example,DC=net"),
    ([(NameOID.STREET_ADDRESS, "Long Way 1")], "STREET=Long Way 1"),
    ([(NameOID.EMAIL_ADDRESS, "ann@example.org")], "emailAddress=ann@example.org"),
    ([(NameOID.SERIAL_NUMBER, "42")], "serialNumber=42"),
    ([(O, "Example, Inc.")], "O=Example\\, Inc."),  # §2.4
    ([(CN, 'a"+;<>\\b')], 'CN=a\\"\\+\\;\\<\\>\\\\b'),
    ([(CN, "#hash # inside")], "CN=\\#hash # inside"),
    ([(CN, "  padded  ")], "CN=\\  padded \\ "),
    ([(CN, " ")], "CN=\\ "),
    ([(CN, "a=b")], "CN=a=b"),
    ([(CN, "nul\x00 and\r\nline")], "CN=nul\\00 and\\0d\\0aline"),
    ([(CN, "Lučić")], "CN=Lučić"),  # §4
    ([(CN, "x" * 64), (O, "y" * 64), (OU, "z" * 64)], f"OU={'z' * 64},O={'y' * 64},CN={'x' * 64}"),
    ([(ObjectIdentifier("1.3.6.1.4.1.1466.0"), "\x04\x02Hi")], "1.3.6.1.4.1.1466.0=#0c0404024869"),
    ([(ObjectIdentifier("2.999.16384"), "x")], "2.999.16384=#0c0178"),
])
def test_names(attributes: list[Any], text: str) -> None:
    assert subject_name(der(*attributes)) == text


def test_a_name_with_several_attributes_in_one_part() -> None:  # §2.2
    name = x509.Name([
        x509.RelativeDistinguishedName([x509.NameAttribute(O, "Example")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(OU, "Sales"), x509.NameAttribute(CN, "J. Smith")]),
    ])
    parts = subject_name(certificate(name).public_bytes(Encoding.DER)).split(",")
    assert (set(parts[0].split("+")), parts[1]) == ({"OU=Sales", "CN=J. Smith"}, "O=Example")


@pytest.mark.parametrize("kind", [
    _ASN1Type.UTF8String, _ASN1Type.T61String, _ASN1Type.BMPString, _ASN1Type.UniversalString,
    _ASN1Type.PrintableString, _ASN1Type.IA5String, _ASN1Type.VisibleString, _ASN1Type.NumericString,
])
def test_every_type_of_string(kind: Any) -> None:
    attribute = x509.NameAttribute(CN, "12 34", kind)
    assert subject_name(certificate(x509.Name([attribute])).public_bytes(Encoding.DER)) == "CN=12 34"


def test_text_that_is_none_is_written_as_bytes() -> None:
    data = der((CN, "\x11\x22\x33"))
    broken = data.replace(b"\x0c\x03\x11\x22\x33", b"\x0c\x03\xff\x22\x33")
    assert broken != data
    assert subject_name(broken) == "CN=#0c03ff2233"


def test_what_follows_the_subject_does_not_matter() -> None:
    name = x509.Name([x509.NameAttribute(CN, "Ann")])
    assert subject_name(certificate(name, extended=True).public_bytes(Encoding.DER)) == "CN=Ann"


@pytest.mark.parametrize("attributes", [
    [(C, "DE"), (O, "Example, Inc."), (CN, "a+b")],
    [(CN, "x" * 64), (NameOID.DOMAIN_COMPONENT, "net")],
])
def test_another_implementation_agrees(attributes: list[Any]) -> None:
    made = certificate(x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]))
    assert subject_name(made.public_bytes(Encoding.DER)) == made.subject.rfc4514_string()


def test_what_is_no_certificate() -> None:
    whole = der((CN, "Ann"))
    for length in range(0, whole.index(b"Ann") + 2):
        with pytest.raises(ValueError, match="DER"):
            subject_name(whole[:length])
    with pytest.raises(ValueError, match="DER"):
        subject_name(b"\x30\x80" + whole[2:])  # a length that only BER has
    with pytest.raises(ValueError, match="DER"):
        subject_name(b"\x3f" + whole[1:])


# -- the extension -----------------------------------------------------------------------------------------------------


def test_without_a_client_certificate() -> None:
    assert tls_extension(0x0304, 0x1301, "PEM", ()) == {
        "server_cert": "PEM",
        "client_cert_chain": (),
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1301,
    }


def test_with_a_chain() -> None:
    ann, authority = certificate(x509.Name([x509.NameAttribute(CN, "Ann")])), certificate(x509.Name([]))
    chain = [ann.public_bytes(Encoding.DER), authority.public_bytes(Encoding.DER)]
    extension = tls_extension(None, None, None, chain)
    assert extension["client_cert_name"] == "CN=Ann"
    assert extension["client_cert_chain"] == (
        ann.public_bytes(Encoding.PEM).decode(), authority.public_bytes(Encoding.PEM).decode())
    assert extension["client_cert_error"] is None
    assert base64.b64encode(chain[0])[:64].decode() in extension["client_cert_chain"][0]


def test_facts_that_are_not_known_are_none() -> None:
    extension = tls_extension(None, None, None, ())
    assert (extension["server_cert"], extension["tls_version"], extension["cipher_suite"]) == (None, None, None)
