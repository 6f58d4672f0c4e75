"""Certificates in PEM (RFC 7468), all of them or none.

Given a truncated text of certificates, OpenSSL loads those before the cut without an error, if the cut is within a
BEGIN line. The missing authority would show up much later, as one server that is refused.
"""

import re
from pathlib import Path

from nodespan.runtime.named_file import LARGEST_PEM, read_named

_BEGIN, _END = "-----BEGIN ", "-----END "
_MARK = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
_WHOLE_MARK = f"{_BEGIN}CERTIFICATE-----"
_CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})


class PEMError(ValueError):
    """A truncated or damaged text of certificates; the message names the line."""


def certificate_blocks(text: str) -> tuple[str, ...]:
    """The certificates of a text, each from its BEGIN line to its END line; other lines between them are skipped.

    Other PEM blocks, such as keys, are skipped too. Raises PEMError for a block without a beginning or an end, and for
    a truncated marker.
    """
    blocks: list[str] = []
    label, lines, started = "", list[str](), 0
    every = text.removeprefix("\ufeff").rstrip().splitlines()
    for number, line in enumerate(map(str.strip, every), start=1):
        if not line.startswith((_BEGIN, _END)):
            if label:
                lines.append(line)
            elif number == len(every) and line and _WHOLE_MARK.startswith(line):
                raise PEMError(f"line {number} is cut off")
            continue
        mark = _MARK.fullmatch(line)
        if mark is None:
            raise PEMError(f"line {number} is cut off or damaged")
        verb, name = mark.groups()
        if verb == "BEGIN":
            if label:
                raise PEMError(f"the {label.lower()} that begins in line {started} has no end")
            label, lines, started = name, [line], number
        elif name != label:
            raise PEMError(f"what ends in line {number} has no beginning")
        else:
            if label in _CERTIFICATES:
                blocks.append("\n".join([*lines, line, ""]))
            label = ""
    if label:
        raise PEMError(f"the {label.lower()} that begins in line {started} has no end")
    return tuple(blocks)


def check_certificate_file(path: Path) -> None:
    """Raise PEMError unless every certificate and key of the file is complete. Blocks; raises OSError.

    The contents of the blocks are left to OpenSSL, which refuses a damaged one and a file without any.
    """
    certificate_blocks(read_named(path, LARGEST_PEM).decode("utf-8", "replace"))


# How Go's programs label a PKCS#8 key of Ed25519; OpenSSL knows only the second (RFC 7468).
_GO_LABEL, _STANDARD_LABEL = b"ED25519 PRIVATE KEY", b"PRIVATE KEY"


def standard_key(pem: bytes) -> bytes:
    """A private key under the label that every reader knows."""
    return pem.replace(_GO_LABEL, _STANDARD_LABEL)


def go_key(pem: bytes) -> bytes:
    """A private key of Ed25519, which is under the standard label, as Go's programs label it."""
    return pem.replace(_STANDARD_LABEL, _GO_LABEL)
