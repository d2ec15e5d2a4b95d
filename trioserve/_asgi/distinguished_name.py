"""The name of a certificate's subject as a text (RFC 4514), from its DER.

Python's ssl shows attributes by OpenSSL's names and loses their types, and a name that is not exact is a way around an
access rule. So the few structures that lead to the subject are read here (RFC 5280 §4.1, X.690 §8).
"""

from collections.abc import Iterator
from typing import Final

__all__ = ["subject_name"]

# Attribute types with a registered short name; others are written as numbers (RFC 4514 §2.3, §3, RFC 4519, RFC 2985).
_SHORT_NAMES: Final = {
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "STREET", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
    "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "givenName",
    "2.5.4.43": "initials", "2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier",
    "2.5.4.97": "organizationIdentifier", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}  # fmt: skip

# The string types of X.680, by tag. Teletex is read as Latin-1, which is what is written there in practice.
_CHARSETS: Final = {
    0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1A: "ascii", 0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}  # fmt: skip

_VERSION_TAG: Final = 0xA0
_INDEFINITE: Final = 0x80  # a length that BER has and DER does not
_LONG_TAG: Final = 0x1F
_SPECIAL: Final = frozenset('"+,;<>\\')


def subject_name(certificate: bytes) -> str:
    """``CN=Ann,O=Example\\, Inc.,C=DE``: most specific first, empty for an empty subject.

    ``certificate`` is DER that has been parsed by somebody before: what is no certificate raises ValueError.
    """
    try:
        [(_, _, signed), *_] = _elements(_content(certificate))
        fields = [element for element in _elements(signed) if element[0] != _VERSION_TAG]
        _, _, subject = fields[4]  # after serial number, signature algorithm, issuer and validity
        return ",".join(reversed([_relative_name(content) for _, _, content in _elements(subject)]))
    except (IndexError, StopIteration) as exc:
        raise ValueError("not a certificate in DER") from exc


def _relative_name(content: bytes) -> str:
    return "+".join([_attribute(pair) for _, _, pair in _elements(content)])


def _attribute(content: bytes) -> str:
    """``type=value``; a value that is no text, or of a type without a name, in hexadecimal DER (RFC 4514 §2.4)."""
    (_, _, oid), (tag, whole, value) = _elements(content)
    number = _object_identifier(oid)
    name = _SHORT_NAMES.get(number)
    if name is not None and tag in _CHARSETS:
        try:
            return f"{name}={_escaped(value.decode(_CHARSETS[tag]))}"
        except UnicodeDecodeError:
            pass
    return f"{name or number}=#{whole.hex()}"


def _escaped(text: str) -> str:
    """RFC 4514 §2.4. Control characters are escaped as well, because names end up in logs and field lines."""
    out = []
    for position, char in enumerate(text):
        at_edge = (position == 0 and char in " #") or (position == len(text) - 1 and char == " ")
        if char < " " or char == "\x7f":
            out.append(f"\\{ord(char):02x}")
        else:
            out.append(f"\\{char}" if at_edge or char in _SPECIAL else char)
    return "".join(out)


def _object_identifier(content: bytes) -> str:
    """X.690 §8.19."""
    numbers, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def _content(element: bytes) -> bytes:
    return next(_elements(element))[2]


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements that ``data`` consists of: tag, the whole element, its content (X.690 §8.1, §10.1)."""
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        start = position + 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[start : start + size])
            start += size
        end = start + length
        if end > len(data) or data[position + 1] == _INDEFINITE or tag & _LONG_TAG == _LONG_TAG:
            raise ValueError("not DER")
        yield tag, data[position:end], data[start:end]
        position = end
