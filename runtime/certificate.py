"""Reads X.509 certificates (RFC 5280), without a library for them: what a program that stays wants to know of one.

Only a reader: whether a certificate is genuine and valid is decided by OpenSSL, in the handshake. What is read says
who was let in, so a certificate is read as a whole or refused, and by the rules of DER alone (X.690): there is one
encoding of a value, and whoever signed it and whoever checks it here cannot see two different things in it. An element
has a tag of one byte, a definite length in as few bytes as that needs, and as much content; nothing follows the last
one. The tests compare it with the library `cryptography`, on genuine and on damaged certificates.
"""

import base64
import binascii
import datetime
import hashlib
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeVar

import attrs

from nodespan.runtime.pem import certificate_blocks

Address = IPv4Address | IPv6Address
_T = TypeVar("_T")

ORGANIZATION: Final = "2.5.4.10"
COMMON_NAME: Final = "2.5.4.3"
SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
# Of the largest known to be in use, a quarter.
_LARGEST = 1 << 16
_MOST_PARTS = 4096

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
_SEQUENCE, _SET, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x31, 0x17, 0x18
_VERSION, _ISSUER_ID, _SUBJECT_ID, _EXTENSIONS = 0xA0, 0x81, 0x82, 0xA3
_KEY_ID, _DNS_NAME, _IP_ADDRESS = 0x80, 0x82, 0x87
# UTF8String, NumericString, PrintableString, T61String, IA5String, VisibleString; BMPString; UniversalString.
_TEXTS: Final = {
    **dict.fromkeys((0x0C, 0x12, 0x13, 0x14, 0x16, 0x1A), "utf-8"),
    0x1E: "utf-16-be",
    0x1C: "utf-32-be",
}
_SUBJECT_KEY, _ALTERNATIVE_NAMES, _AUTHORITY_KEY, _EXTENDED_USAGE = (
    "2.5.29.14",
    "2.5.29.17",
    "2.5.29.35",
    "2.5.29.37",
)
_UTC_FORM = re.compile(rb"\d{12}Z")
_GENERALIZED_FORM = re.compile(rb"\d{14}Z")
# The names of attributes that RFC 4514 has.
_SHORT_NAMES: Final = {
    COMMON_NAME: "CN",
    ORGANIZATION: "O",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
_ESCAPED = re.compile(r'[\\"+,;<>\x00]')


class CertificateFormatError(ValueError):
    """The bytes are not a certificate, or not one in DER; the text says where."""


@attrs.frozen
class Name:
    """Who a certificate is for or by: relative names, from the root down, each of one or more attributes."""

    parts: tuple[tuple[tuple[str, str], ...], ...]

    def values(self, attribute: str) -> tuple[str, ...]:
        """All values of an attribute (an object identifier), in the order of the certificate."""
        return tuple(value for part in self.parts for kind, value in part if kind == attribute)

    def __str__(self) -> str:
        """The name as a text of RFC 4514: the last part first."""
        return ",".join("+".join(map(_shown, part)) for part in reversed(self.parts))


@attrs.frozen
class Certificate:
    """What is read of a certificate. `usages` are object identifiers, None if it does not restrict its use.

    `authority_key` is how the certificate identifies the key that it is signed with, and `subject_key` how its own one,
    None if it does not.
    """

    der: bytes = attrs.field(repr=False)
    issuer: Name
    subject: Name
    not_before: datetime.datetime
    not_after: datetime.datetime
    public_key: bytes = attrs.field(repr=False)
    usages: tuple[str, ...] | None
    dns_names: tuple[str, ...]
    addresses: tuple[Address, ...]
    authority_key: bytes | None
    subject_key: bytes | None

    @property
    def key_id(self) -> bytes:
        """How certificates that this key has signed identify it: as this one does, else by its SHA-1.

        What an authority makes its identifier of is up to it: RFC 5280 has two ways, Go a third one.
        """
        return self.subject_key or hashlib.sha1(self.public_key, usedforsecurity=False).digest()


def read_certificates(pem: bytes, *, most: int = 64) -> tuple[Certificate, ...]:
    """The certificates of a PEM text, from one to `most`; what is between them is skipped.

    Raises CertificateFormatError, or PEMError for a truncated text; both are ValueErrors.
    """
    blocks = certificate_blocks(pem.decode("utf-8", "replace"))
    if not blocks:
        raise CertificateFormatError("there is no certificate")
    if len(blocks) > most:
        raise CertificateFormatError(f"there are {len(blocks)} certificates, not {most}")
    return tuple(read_certificate(der_of_block(block)) for block in blocks)


def read_first(pem: bytes) -> Certificate:
    """The first certificate of a PEM text, which is the one that a chain is for. Raises as `read_certificates` does."""
    blocks = certificate_blocks(pem.decode("utf-8", "replace"))
    if not blocks:
        raise CertificateFormatError("there is no certificate")
    return read_certificate(der_of_block(blocks[0]))


def der_of_block(block: str) -> bytes:
    """The content of a certificate in PEM, from its BEGIN line to its END line. Raises CertificateFormatError."""
    try:
        return base64.b64decode("".join(block.splitlines()[1:-1]), validate=True)
    except binascii.Error as error:
        raise CertificateFormatError("the certificate is not in base64") from error


def pem_of(der: bytes) -> bytes:
    """A certificate in PEM."""
    text = base64.b64encode(der).decode()
    lines = (text[start : start + 64] for start in range(0, len(text), 64))
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")).encode()


def read_certificate(der: bytes) -> Certificate:
    """The certificate in DER form. Raises CertificateFormatError."""
    if len(der) > _LARGEST:
        raise CertificateFormatError(f"the certificate has more than {_LARGEST} bytes")
    outer = _Elements(der)
    signed = outer.inner(_SEQUENCE)
    outer.end()
    body = signed.inner(_SEQUENCE)
    algorithm = signed.take(_SEQUENCE)
    _bits(signed.take(_BIT_STRING))
    signed.end()

    version = 0
    if body.next_is(_VERSION):
        explicit = body.inner(_VERSION)
        version = int.from_bytes(_integer(explicit.take(_INTEGER)), "big")
        explicit.end()
        if version not in (1, 2):
            raise CertificateFormatError("the certificate has a version that does not exist")
    _integer(body.take(_INTEGER))
    if body.take(_SEQUENCE) != algorithm:
        raise CertificateFormatError("the certificate names two algorithms for its one signature")
    issuer = _name(body.inner(_SEQUENCE))
    validity = body.inner(_SEQUENCE)
    begins, ends = _time(validity), _time(validity)
    validity.end()
    subject = _name(body.inner(_SEQUENCE))
    key = body.inner(_SEQUENCE)
    key.take(_SEQUENCE)
    public_key = _bits(key.take(_BIT_STRING))
    key.end()
    for tag in (_ISSUER_ID, _SUBJECT_ID):
        if version and body.next_is(tag):
            body.take(tag)
    extensions: dict[str, bytes] = {}
    if version == 2 and body.next_is(_EXTENSIONS):
        explicit = body.inner(_EXTENSIONS)
        extensions = _extensions(explicit.inner(_SEQUENCE))
        explicit.end()
    body.end()
    dns_names, addresses = _alternative_names(extensions.get(_ALTERNATIVE_NAMES))
    return Certificate(
        der=der,
        issuer=issuer,
        subject=subject,
        not_before=begins,
        not_after=ends,
        public_key=public_key,
        usages=_usages(extensions.get(_EXTENDED_USAGE)),
        dns_names=dns_names,
        addresses=addresses,
        authority_key=_authority_key(extensions.get(_AUTHORITY_KEY)),
        subject_key=_subject_key(extensions.get(_SUBJECT_KEY)),
    )


def check_usable(certificate: Certificate) -> None:
    """Raise CertificateFormatError unless OpenSSL takes the certificate as an authority's.

    It also reads what is skipped here, such as the kinds of keys, and refuses a whole text for one that it cannot read.
    """
    import ssl  # most who read certificates have it do nothing else

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate.der)
    except ssl.SSLError as error:
        reason = (error.reason or "no certificate").lower().replace("_", " ")
        raise CertificateFormatError(f"OpenSSL does not take the certificate: {reason}") from error


class _Elements:
    """The elements of some bytes in DER, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def is_over(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        """Raise CertificateFormatError if more follows."""
        if not self.is_over():
            raise CertificateFormatError("the certificate has more than belongs there")

    def next_is(self, tag: int) -> bool:
        return self._data[self._at : self._at + 1] == bytes((tag,))

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag."""
        found, content = self.take_any()
        if found != tag:
            raise CertificateFormatError(f"the certificate has an element of type {found:#04x}, not {tag:#04x}")
        return content

    def inner(self, tag: int) -> "_Elements":
        return _Elements(self.take(tag))

    def take_any(self) -> tuple[int, bytes]:
        """The tag and the content of the next element."""
        data, at = self._data, self._at
        if len(data) - at < 2:
            raise CertificateFormatError("the certificate is cut off")
        tag, length = data[at], data[at + 1]
        at += 2
        if tag & 0x1F == 0x1F:
            raise CertificateFormatError("the certificate has a tag of several bytes, which none has")
        if length >= 0x80:
            size = length & 0x7F
            octets = data[at : at + size]
            # No indefinite length, and none in more bytes than it needs.
            if not 1 <= size <= 4 or len(octets) < size or octets[0] == 0:
                raise CertificateFormatError("the certificate has a length that is not in DER")
            length = int.from_bytes(octets, "big")
            if length < 0x80:
                raise CertificateFormatError("the certificate has a length that is not in DER")
            at += size
        if len(data) - at < length:
            raise CertificateFormatError("the certificate is cut off")
        self._at = at + length
        return tag, data[at : self._at]


def _integer(content: bytes) -> bytes:
    if not content:
        raise CertificateFormatError("the certificate has a number without digits")
    if len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xFF, 1)):
        raise CertificateFormatError("the certificate has a number that is not in DER")
    return content


def _bits(content: bytes) -> bytes:
    """Whole bytes, which is what keys and signatures are."""
    if not content or content[0] != 0:
        raise CertificateFormatError("the certificate has a key or a signature that is not of whole bytes")
    return content[1:]


def _identifier(content: bytes) -> str:
    """An object identifier as a text with dots."""
    if not content or content[-1] & 0x80 or len(content) > 64:
        raise CertificateFormatError("the certificate has an identifier that is none")
    numbers, value, begins = list[int](), 0, True
    for octet in content:
        if begins and octet == 0x80:
            raise CertificateFormatError("the certificate has an identifier that is not in DER")
        value = value << 7 | octet & 0x7F
        begins = not octet & 0x80
        if begins:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _name(elements: _Elements) -> Name:
    parts: list[tuple[tuple[str, str], ...]] = []
    while not elements.is_over():
        within = elements.inner(_SET)
        attributes: list[tuple[str, str]] = []
        while not attributes or not within.is_over():
            pair = within.inner(_SEQUENCE)
            kind = _identifier(pair.take(_OID))
            attributes.append((kind, _text(*pair.take_any())))
            pair.end()
        if len(set(attributes)) < len(attributes):
            raise CertificateFormatError("the certificate has a name that says the same twice")
        parts.append(tuple(attributes))
        if len(parts) > _MOST_PARTS:
            raise CertificateFormatError(f"the certificate has a name of more than {_MOST_PARTS} parts")
    return Name(tuple(parts))


def _text(tag: int, content: bytes) -> str:
    encoding = _TEXTS.get(tag)
    if encoding is None:
        raise CertificateFormatError(f"the certificate has a name of type {tag:#04x}, which is no text")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise CertificateFormatError("the certificate has a name that is no text") from error


def _time(elements: _Elements) -> datetime.datetime:
    tag, content = elements.take_any()
    if tag == _UTC_TIME and _UTC_FORM.fullmatch(content):
        # Two digits stand for 1950 to 2049 (RFC 5280, 4.1.2.5.1).
        digits = ("20" if content < b"50" else "19") + content[:-1].decode()
    elif tag == _GENERALIZED_TIME and _GENERALIZED_FORM.fullmatch(content):
        digits = content[:-1].decode()
    else:
        raise CertificateFormatError("the certificate has a time that is none")
    try:
        month, day, hour, minute, second = (int(digits[start : start + 2]) for start in range(4, 14, 2))
        return datetime.datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError as error:
        raise CertificateFormatError("the certificate has a time that does not exist") from error


def _extensions(elements: _Elements) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while not found or not elements.is_over():
        extension = elements.inner(_SEQUENCE)
        kind = _identifier(extension.take(_OID))
        # In DER false, which is the default, is left out.
        if extension.next_is(_BOOLEAN) and extension.take(_BOOLEAN) != b"\xff":
            raise CertificateFormatError("the certificate has a truth that is not in DER")
        content = extension.take(_OCTET_STRING)
        extension.end()
        if kind in found:
            raise CertificateFormatError(f"the certificate has the extension {kind} twice")
        found[kind] = content
    return found


def _listed(content: bytes, read: Callable[[_Elements], _T]) -> tuple[_T, ...]:
    """What a sequence that is a whole extension has: at least one."""
    outer = _Elements(content)
    elements = outer.inner(_SEQUENCE)
    outer.end()
    found = [read(elements)]
    while not elements.is_over():
        found.append(read(elements))
    return tuple(found)


def _usages(content: bytes | None) -> tuple[str, ...] | None:
    return None if content is None else _listed(content, lambda elements: _identifier(elements.take(_OID)))


def _alternative_names(content: bytes | None) -> tuple[tuple[str, ...], tuple[Address, ...]]:
    if content is None:
        return (), ()
    names, addresses = list[str](), list[Address]()
    for tag, value in _listed(content, _Elements.take_any):
        if tag == _DNS_NAME:
            if not value.isascii():
                raise CertificateFormatError("the certificate has a DNS name with other characters than ASCII has")
            names.append(value.decode("ascii"))
        elif tag == _IP_ADDRESS:
            if len(value) not in (4, 16):
                raise CertificateFormatError("the certificate has an address that is none")
            addresses.append(ip_address(value))
    return tuple(names), tuple(addresses)


def _authority_key(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    outer = _Elements(content)
    elements = outer.inner(_SEQUENCE)
    outer.end()
    return elements.take(_KEY_ID) if elements.next_is(_KEY_ID) else None


def _subject_key(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    outer = _Elements(content)
    found = outer.take(_OCTET_STRING)
    outer.end()
    return found


def _shown(attribute: tuple[str, str]) -> str:
    kind, value = attribute
    text = _ESCAPED.sub(lambda found: "\\00" if found[0] == "\0" else "\\" + found[0], value)
    if text.startswith("#") or (text.startswith(" ") and len(text) > 1):
        text = "\\" + text
    if text.endswith(" "):
        text = f"{text[:-1]}\\ "
    return f"{_SHORT_NAMES.get(kind, kind)}={text}"


__all__ = [
    "CLIENT_AUTH",
    "COMMON_NAME",
    "ORGANIZATION",
    "SERVER_AUTH",
    "Certificate",
    "CertificateFormatError",
    "Name",
    "check_usable",
    "der_of_block",
    "pem_of",
    "read_certificate",
    "read_certificates",
    "read_first",
]
