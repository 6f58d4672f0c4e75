"""Node ids: 32 random bytes as letters and digits, 43 to 52 of them and nearly always 43 to 45.

There are 62 characters (A-Z a-z 0-9, values 0 to 61) for 64 values of six bits, so two values have none.
Bits are taken from the end of the bytes. Of the lowest six remaining bits,

    bits 1 to 4 all ones, and more follow or bit 5 is set    →    the low five are one character, and five are consumed
    otherwise                                                →    the six are one character, and six are consumed

so the values 62 and 63 never occur; a decoder sees from the character which case it was. The first
character holds the lowest bits.
"""

from collections.abc import Callable

SIZE = 32
_MACHINE_ID_SIZE = 16

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_WIDE, _NARROW = 6, 5
_NARROW_PATTERN = 0x1E
_HIGHEST_NARROW = 31


class NodeIdError(ValueError):
    """The text is not a valid node id."""


def new_node_id(random_bytes: Callable[[int], bytes]) -> str:
    """A new node id. `random_bytes(n)` returns n random bytes."""
    return encode_node_id(random_bytes(SIZE))


def encode_node_id(raw: bytes) -> str:
    """Encode bytes as a text."""
    left, bits = int.from_bytes(raw), len(raw) * 8
    characters = []
    while bits > 0:
        value = left & 0x3F
        width = _WIDE
        if value & _NARROW_PATTERN == _NARROW_PATTERN and (bits > _WIDE or value > _HIGHEST_NARROW):
            value &= 0x1F
            width = _NARROW
        characters.append(_ALPHABET[value])
        left >>= width
        bits -= width
    return "".join(characters)


def decode_node_id(text: str, size: int = SIZE) -> bytes:
    """Decode a text to `size` bytes. Raises NodeIdError."""
    number, bits = 0, 0
    for character in text:
        value = _VALUES.get(character)
        if value is None:
            raise NodeIdError(f"a node id is made of letters and digits, {character!r} is neither")
        number |= value << bits
        bits += _NARROW if value & _NARROW_PATTERN == _NARROW_PATTERN else _WIDE
        if bits > size * 8 + _WIDE:
            break
    # Not the encoding of any bytes: too short, too long, or with bits above the last byte.
    if number >> size * 8 or encode_node_id(number.to_bytes(size)) != text:
        raise NodeIdError(f"the node id does not stand for {size} bytes")
    return number.to_bytes(size)


def machine_id(node_id: str) -> str:
    """The machine id for this node id: lower-case hex of half of its bytes. Raises NodeIdError."""
    return decode_node_id(node_id)[:_MACHINE_ID_SIZE].hex()
