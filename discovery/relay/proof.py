"""The proof that a node has the private key of its WireGuard key. Pure rules.

The relay makes a key pair for the call. Both ends derive the same secret from their own private key and the other's
public one (X25519), and the proof is a MAC under that secret. It covers the name that the node has dialled: a relay
that passes a node's proof on to another one is refused there, as that one does not have this name (`names`).
"""

import hashlib
import hmac
import secrets

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from nodespan.discovery.relay.wire import NONCE_SIZE, Challenge, Hello

_PURPOSE = b"nodespan relay: possession of a key, version 1"


class ProofError(ValueError):
    """A proof cannot be made, or is not one."""


class Challenger:
    """The relay's side of one call."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.challenge = Challenge(self._private.public_key().public_bytes_raw(), secrets.token_bytes(NONCE_SIZE))

    def check(self, hello: Hello, proof: bytes) -> None:
        """Raises ProofError unless whoever made the proof has the private key of the hello's key."""
        if not hmac.compare_digest(_mac(self._private, hello.key, hello, self.challenge), proof):
            raise ProofError("the proof is wrong: the node does not have the private key")


def prove(private_key: bytes, hello: Hello, challenge: Challenge) -> bytes:
    """The node's answer to a challenge. Raises ProofError for an invalid key."""
    return _mac(X25519PrivateKey.from_private_bytes(private_key), challenge.key, hello, challenge)


def _mac(private: X25519PrivateKey, other: bytes, hello: Hello, challenge: Challenge) -> bytes:
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:
        # One of the few keys with which any other makes the same secret.
        raise ProofError("the key is not one") from error
    covered = (_PURPOSE, hello.key, hello.cluster, challenge.key, challenge.nonce, hello.name.encode())
    return hmac.new(secret, b"".join(len(part).to_bytes(2, "big") + part for part in covered), hashlib.sha256).digest()
