"""The cluster secret: base64 of 32 bytes, with padding, in the standard alphabet.

Decoded it is the key of everything that the discovery service stores; as text it is the preshared key of every
WireGuard peer. It is never sent, and never quoted in an error.
"""

import base64
import binascii

KEY_SIZE = 32


class ClusterSecretError(ValueError):
    """The text is not a valid cluster secret; the error does not show it."""


def decode_secret(text: str) -> bytes:
    """The 32 bytes of the key. Raises ClusterSecretError."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # Without a cause: its text could quote the secret.
        raise ClusterSecretError("the cluster secret is not base64, copy it from another node") from None
    if len(key) != KEY_SIZE:
        raise ClusterSecretError(f"the cluster secret has {len(key)} bytes instead of {KEY_SIZE}, is it cut off?")
    return key
