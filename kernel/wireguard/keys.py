"""Keys of WireGuard: 32 bytes, as base64 wherever people see them. Private ones are made as X25519 wants them."""

from base64 import b64decode, b64encode

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

KEY_SIZE = 32
_NO_KEY = bytes(KEY_SIZE)


def parse_key(text: str) -> bytes:
    """The 32 bytes of a key. Raises ValueError, which does not repeat the text."""
    try:
        key = b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("the key is not base64") from error
    if len(key) != KEY_SIZE:
        raise ValueError(f"the key has {len(key)} bytes, a WireGuard key has {KEY_SIZE}")
    return key


def parse_given_key(text: str) -> bytes:
    """The 32 bytes of a key that is meant to be one. Raises ValueError also for zeros, which no device takes as key."""
    key = parse_key(text)
    if key == _NO_KEY:
        raise ValueError("the key is all zeros")
    return key


def format_key(key: bytes) -> str:
    """A key as base64, "" for one of zeros, which stands for none."""
    return "" if key == _NO_KEY else b64encode(key).decode()


def new_private_key(random_bytes: bytes) -> str:
    """A private key from 32 random bytes: those bits are set that X25519 wants set (RFC 7748, section 5)."""
    key = bytearray(random_bytes)
    key[0] &= 0xF8
    key[31] = key[31] & 0x7F | 0x40
    return format_key(bytes(key))


def public_key_of(private_key: str) -> str:
    """The public half. Raises ValueError for what is no key."""
    return format_key(X25519PrivateKey.from_private_bytes(parse_given_key(private_key)).public_key().public_bytes_raw())
