"""Header fields of responses as HPACK writes them, without a table: the same fields are the same bytes on every
connection, so those of most responses are made once.

A field is an index into the static table where that has it, and otherwise a literal that is never indexed.
"""

from collections.abc import Iterable

from hpack.table import HeaderTable

_STATUS = {
    value: bytes((0x80 | index,))
    for index, (name, value) in enumerate(HeaderTable.STATIC_TABLE, start=1)
    if name == b":status"
}
# The first entry of each name.
_NAMES = {name: index for index, (name, _) in reversed(tuple(enumerate(HeaderTable.STATIC_TABLE, start=1)))}
_NEVER_INDEXED = 0x10
# A peer that shortens its table wants to be told so first: from then on it is empty.
EMPTY_TABLE = b"\x20"


def header_block(fields: Iterable[tuple[str, str]]) -> bytes:
    """The fields, names in lower case."""
    return b"".join(_field(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields)


def _field(name: bytes, value: bytes) -> bytes:
    if name == b":status" and (indexed := _STATUS.get(value)):
        return indexed
    index = _NAMES.get(name, 0)
    named = _integer(index, 4, _NEVER_INDEXED) + (b"" if index else _integer(len(name), 7) + name)
    return named + _integer(len(value), 7) + value


def _integer(number: int, bits: int, flags: int = 0) -> bytes:
    most = (1 << bits) - 1
    if number < most:
        return bytes((flags | number,))
    digits = bytearray((flags | most,))
    number -= most
    while number >= 128:
        digits.append(0x80 | number & 127)
        number >>= 7
    digits.append(number)
    return bytes(digits)
