"""Header fields of requests as HPACK writes them: what a block says, and the table that follows from it.

A table is a value. So what a block says after the same blocks is looked up, not read again: clients of the same program
say the same on every connection, and their connections share the tables too.
"""

import functools

import attrs
from hpack.exceptions import HPACKDecodingError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Headers = tuple[tuple[str, str], ...]
Field = tuple[bytes, bytes]

_STATIC: tuple[Field, ...] = HeaderTable.STATIC_TABLE
# What a table may hold, where nobody has agreed on something else, and what an entry counts beside its bytes.
_LARGEST = 4096
_ENTRY = 32
# Only small blocks are remembered, and so many.
_SMALL = 512
_REMEMBERED = 512
_MOST_DIGITS = 5
# How often a block may change the limit of the table: to the smallest since the block before, and to the last.
_MOST_CHANGES = 2
_PSEUDO = {":method", ":scheme", ":path", ":authority", ":protocol"}
_OF_CONNECTIONS = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"}


@attrs.frozen(eq=False)
class Table:
    """The entries that a peer may refer to, the latest first."""

    entries: tuple[Field, ...] = ()
    size: int = 0
    limit: int = _LARGEST

    def entry(self, index: int) -> Field:
        """The field at an index, of the static table before those of this one. Raises HPACKDecodingError."""
        if 0 < index <= len(_STATIC):
            return _STATIC[index - 1]
        place = index - len(_STATIC) - 1
        if not 0 <= place < len(self.entries):
            raise HPACKDecodingError(f"there is no entry {index}")
        return self.entries[place]

    def with_entry(self, field: Field) -> "Table":
        """With one entry more, and without those that it leaves no room for."""
        name, value = field
        return _fitting((field, *self.entries), self.size + _ENTRY + len(name) + len(value), self.limit)

    def with_limit(self, limit: int) -> "Table":
        """With another limit. Raises HPACKDecodingError for one that is not allowed."""
        if limit > _LARGEST:
            raise HPACKDecodingError(f"a table of {limit} bytes")
        return _fitting(self.entries, self.size, limit)


EMPTY = Table()


def _fitting(entries: tuple[Field, ...], size: int, limit: int) -> Table:
    count = len(entries)
    while size > limit:
        count -= 1
        name, value = entries[count]
        size -= _ENTRY + len(name) + len(value)
    return Table(entries[:count], size, limit)


class MalformedError(Exception):
    """The fields are no request; the text says why."""


def read_block(table: Table, block: bytes, most: int, *, is_request: bool) -> tuple[Headers, Table]:
    """What a block says after those that led to a table, and the table that it leads to.

    Raises HPACKDecodingError, of which OversizedHeaderListError is one for more than so many bytes, and MalformedError.
    """
    return (_remembered if len(block) <= _SMALL else _read)(table, block, most, is_request)


def _read(table: Table, block: bytes, most: int, is_request: bool) -> tuple[Headers, Table]:  # a key
    fields: list[Field] = []
    size = at = changes = 0
    while at < len(block):
        kind = block[at]
        if kind & 0x80:
            index, at = _integer(block, at, 7)
            field = table.entry(index)
        elif kind & 0x40:
            field, at = _literal(table, block, at, 6)
            table = table.with_entry(field)
        elif kind & 0x20:
            if fields:
                raise HPACKDecodingError("the limit of the table changes between fields")
            changes += 1
            if changes > _MOST_CHANGES:
                raise HPACKDecodingError("the limit of the table changes more than twice")
            limit, at = _integer(block, at, 5)
            table = table.with_limit(limit)
            continue
        else:
            field, at = _literal(table, block, at, 4)
        fields.append(field)
        size += _ENTRY + len(field[0]) + len(field[1])
        if size > most:
            raise OversizedHeaderListError(f"header fields of more than {most} bytes")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    if is_request:
        _check(headers)
    return headers, table


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_read)


def _literal(table: Table, block: bytes, at: int, bits: int) -> tuple[Field, int]:
    index, at = _integer(block, at, bits)
    if index:
        name = table.entry(index)[0]
    else:
        name, at = _string(block, at)
    value, at = _string(block, at)
    return (name, value), at


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    number = block[at] & most
    at += 1
    if number < most:
        return number, at
    for digit in range(_MOST_DIGITS):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << 7 * digit
        if byte < 0x80:
            return number, at
    raise HPACKDecodingError("a number that does not end")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise HPACKDecodingError("the block ends in the middle of a field")
    is_coded = block[at] & 0x80
    size, at = _integer(block, at, 7)
    text = block[at : at + size]
    if len(text) < size:
        raise HPACKDecodingError("the block ends in the middle of a field")
    return decode_huffman(text) if is_coded else text, at + size


def _check(headers: Headers) -> None:
    """Refuse what a proxy between us and the peer could read otherwise than we do."""
    seen: set[str] = set()
    is_regular = False
    for name, value in headers:
        if name[:1] == ":":
            if is_regular or name in seen or name not in _PSEUDO:
                raise MalformedError("pseudo fields out of order")
            seen.add(name)
        else:
            is_regular = True
            if not name or name != name.lower() or name in _OF_CONNECTIONS or name != name.strip():
                raise MalformedError("a field that HTTP/2 does not have")
            if name == "te" and value != "trailers":
                raise MalformedError("a field that HTTP/2 does not have")
    if not seen >= {":method", ":scheme", ":path"}:
        raise MalformedError("a request without method or path")
