"""WireGuard keys: 32 bytes, base64 wherever users see them. Private ones are clamped for X25519."""

from base64 import b64decode, b64encode

KEY_SIZE = 32
_NO_KEY = bytes(KEY_SIZE)


def parse_key(text: str) -> bytes:
    """The 32 bytes of a key. Raises ValueError, which does not quote the text."""
    try:
        key = b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("the key is not base64") from error
    if len(key) != KEY_SIZE:
        raise ValueError(f"the key has {len(key)} bytes, a WireGuard key has {KEY_SIZE}")
    return key


def parse_given_key(text: str) -> bytes:
    """The 32 bytes of a configured key. Raises ValueError also for zeros, which devices treat as no key."""
    key = parse_key(text)
    if key == _NO_KEY:
        raise ValueError("the key is all zeros")
    return key


def format_key(key: bytes) -> str:
    """A key as base64, "" for zeros, which mean none."""
    return "" if key == _NO_KEY else b64encode(key).decode()


def new_private_key(random_bytes: bytes) -> str:
    """A private key from 32 random bytes, clamped for X25519 (RFC 7748, section 5)."""
    key = bytearray(random_bytes)
    key[0] &= 0xF8
    key[31] = key[31] & 0x7F | 0x40
    return format_key(bytes(key))


def public_key_of(private_key: str) -> str:
    """The public half. Raises ValueError for an invalid key."""
    # Only who makes or checks a key pair pays for the library.
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return format_key(X25519PrivateKey.from_private_bytes(parse_given_key(private_key)).public_key().public_bytes_raw())
