"""Names as DHCP servers send them: on the wire (RFC 1035), and valid for files of this machine or refused.

A server is not trusted: a name may be written to resolv.conf or become the host's, so only letters, digits, hyphens
and underscores pass.
"""

import re

from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.options import Items

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_MAX_LENGTH = 253
_POINTER = 0xC0
_OFFSET = 0x3FFF
_SHOWN = 64


def checked_name(text: str) -> str:
    """A host or domain name without the dot at its end. Raises MalformedError."""
    name = text.removesuffix(".")
    if len(name) > _MAX_LENGTH or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise MalformedError(f"{text[:_SHOWN]!r} is not a valid name")
    return name


def text_of(data: bytes) -> str:
    """Text as servers send it, some with a zero byte at its end. Raises MalformedError."""
    try:
        return data.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{data[:32]!r} is not ASCII text") from error


def parse_names(data: bytes) -> Items[str]:
    """Names in wire format, one after the other, compressed or not.

    After one that is cut off or compressed wrongly it is not known where the next one begins: the rest is an error.
    """
    names: list[str] = []
    errors: list[str] = []
    at = 0
    while at < len(data):
        try:
            labels, at = _labels(data, at)
        except MalformedError as error:
            errors.append(f"{error}, at byte {at} of {len(data)}: the rest is left out")
            break
        try:
            names.append(checked_name(text_of(b".".join(labels))))
        except MalformedError as error:
            errors.append(str(error))
    return Items(tuple(names), tuple(errors))


def _labels(data: bytes, start: int) -> tuple[list[bytes], int]:
    """The labels of the name at `start`, and where the next name begins. Raises MalformedError."""
    labels: list[bytes] = []
    at, end = start, None
    while True:
        length = _byte(data, at)
        if length & _POINTER == _POINTER:
            target = (length << 8 | _byte(data, at + 1)) & _OFFSET
            end = at + 2 if end is None else end
            # Pointers go backwards only, so that they cannot go in circles.
            if target >= start:
                raise MalformedError("a compressed name points forward")
            at = start = target
        elif length & _POINTER:
            raise MalformedError("a name with an unknown kind of label")
        elif length == 0:
            return labels, at + 1 if end is None else end
        else:
            if at + 1 + length > len(data):
                raise MalformedError("a name is cut off")
            label = data[at + 1 : at + 1 + length]
            # A dot within a label would make two of it.
            labels.append(label if b"." not in label else label.replace(b".", b"\\."))
            at += 1 + length
            if len(labels) > _MAX_LENGTH // 2 + 1:
                raise MalformedError("a name is too long")


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise MalformedError("a name is cut off")
    return data[at]
