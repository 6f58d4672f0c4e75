"""How addresses, keys and URLs are written: one small test for each notation, and the hints that show it."""

import base64
import binascii
import re
import urllib.parse
from typing import Final

from nodespan.controllers.common.ip.notation import parse_cidr, parse_ip

CIDR_HINT: Final = "write it like 10.0.0.0/16 or fd00::/64"
IP_HINT: Final = "write it like 10.0.0.1 or fd00::1"
HOSTNAME_HINT: Final = "no blanks; the first label has 1 to 63 bytes, the whole name at most 253"
ENDPOINT_HINT: Final = "write it like 192.0.2.1:51820 or [2001:db8::1]:51820"
KEY_HINT: Final = "make one with `nodespan gen key`, and the public one from it with `nodespan gen key --public`"

_KEY_SIZE = 32
_HIGHEST_PORT = 65535
_MAC = re.compile(r"[0-9A-Fa-f]{2}((:[0-9A-Fa-f]{2}){5}|(:[0-9A-Fa-f]{2}){7}|(-[0-9A-Fa-f]{2}){5})")
_HEX_BYTES = re.compile("([0-9A-Fa-f]{2}:?)+")
_LABEL_LIMIT, _FQDN_LIMIT = 63, 253
# What begins a comment, or ends a word or a line, in a file of the system.
_WORD = re.compile(r"[^\s\x00-\x1f\x7f#]+")


def is_ip(text: str) -> bool:
    """Whether the text is an address."""
    return parse_ip(text) is not None


def is_unspecified(text: str) -> bool:
    """Whether the text is an address that stands for none, as 0.0.0.0."""
    parsed = parse_ip(text)
    return parsed is not None and parsed.is_unspecified


def is_multicast(text: str) -> bool:
    """Whether the text is the address of a multicast group."""
    parsed = parse_ip(text)
    return parsed is not None and parsed.is_multicast


def is_cidr(text: str) -> bool:
    """Whether the text is an address with a prefix length."""
    return parse_cidr(text) is not None


def is_ip_or_cidr(text: str) -> bool:
    """Whether the text is an address, with or without a prefix length."""
    return is_ip(text) or is_cidr(text)


def is_hex_bytes(text: str) -> bool:
    """Whether the text is bytes in hexadecimal, with or without colons between them."""
    return _HEX_BYTES.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Whether the text is 32 bytes in base64 of the standard alphabet, with padding."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False


def is_host_port(text: str) -> bool:
    """Whether the text is a name or an address, a colon, and a port; IPv6 addresses stand in brackets."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= _HIGHEST_PORT):
        return False
    if host.startswith("[") and host.endswith("]"):
        return is_ip(host[1:-1])
    return bool(host) and ":" not in host


def is_ip_port(text: str) -> bool:
    """Whether the text is `ip:port`, with IPv6 addresses in brackets."""
    host = text.rpartition(":")[0]
    return is_host_port(text) and is_ip(host.strip("[]"))


def is_mac(text: str) -> bool:
    """Whether the text is a hardware address of 6 or 8 bytes."""
    return _MAC.fullmatch(text) is not None


def is_url(text: str, *schemes: str) -> bool:
    """Whether the text is a URL of one of the schemes with a host."""
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError:
        return False
    return url.scheme in schemes and bool(url.hostname) and port != 0 and " " not in text


def url_path(text: str) -> str:
    """The path of a URL that `is_url` accepts."""
    return urllib.parse.urlsplit(text).path


def is_hostname(text: str) -> bool:
    """Whether it is one word of at most 253 bytes whose first label has 1 to 63."""
    label = text.partition(".")[0]
    return is_word(text) and 0 < len(label.encode()) <= _LABEL_LIMIT and len(text.encode()) <= _FQDN_LIMIT


def is_word(text: str) -> bool:
    """Whether the text is one word in every file of the system that it may be written to."""
    return _WORD.fullmatch(text) is not None


def is_pem_in_base64(text: str) -> bool:
    """Whether the text is base64 of something that looks like PEM."""
    try:
        return base64.b64decode(text, validate=True).lstrip().startswith(b"-----BEGIN ")
    except ValueError:
        return False
