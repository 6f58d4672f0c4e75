"""Encryption of affiliates and endpoints, which hides them from the service. One key, the cluster's, for both.

    affiliate      nonce (12, random) | AES-256-GCM of the serialized affiliate | tag (16)         28 bytes more
    endpoint       AES-256-ECB of: length (1) | the serialized endpoint | zeros up to a multiple of 16

ECB is intended: an endpoint has the same ciphertext from every reporter, so the service can deduplicate it
without being able to read it. So short a plaintext has no repeated blocks that could leak anything.

Any invalid blob (key, length, tag or content) raises BlobError and nothing else.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from nodespan.discovery.affiliate import (
    AffiliateData,
    AffiliateError,
    decode_affiliate,
    decode_endpoint,
    encode_affiliate,
    encode_endpoint,
)
from nodespan.resources.addresses import AddressError

NONCE_SIZE, TAG_SIZE = 12, 16
OVERHEAD = NONCE_SIZE + TAG_SIZE
_BLOCK = 16


class BlobError(ValueError):
    """A blob cannot be decrypted or decoded. The text has the reason and none of the content."""


class ClusterCipher:
    """Encrypts and decrypts the records of one cluster.

    `key` is 32 bytes; `random_bytes` generates the nonces, which must never repeat.
    """

    def __init__(self, key: bytes, random_bytes: Callable[[int], bytes]) -> None:
        self._gcm = AESGCM(key)
        self._ecb = Cipher(AES256(key), ECB())  # noqa: S305  # see above: it has to be deterministic
        self._random_bytes = random_bytes

    def encrypt_affiliate(self, data: AffiliateData) -> bytes:
        """The blob of an affiliate. Raises AddressError for an invalid address."""
        nonce = self._random_bytes(NONCE_SIZE)
        return nonce + self._gcm.encrypt(nonce, encode_affiliate(data), None)

    def decrypt_affiliate(self, blob: bytes) -> AffiliateData:
        """Decrypt an affiliate. Raises BlobError."""
        if len(blob) < OVERHEAD:
            raise BlobError(f"it has {len(blob)} bytes, which is too few for a nonce and a tag")
        try:
            serialized = self._gcm.decrypt(blob[:NONCE_SIZE], blob[NONCE_SIZE:], None)
        except InvalidTag as error:
            raise BlobError("it was modified, or encrypted with another cluster's secret") from error
        try:
            return decode_affiliate(serialized)
        except AffiliateError as error:
            raise BlobError(str(error)) from error

    def encrypt_endpoint(self, endpoint: str) -> bytes:
        """The blob of `ip:port`. Raises AddressError for an invalid endpoint."""
        serialized = encode_endpoint(endpoint)
        if len(serialized) > 0xFF:
            raise AddressError(f"the zone of {endpoint!r} is too long to be announced")
        plain = bytes([len(serialized)]) + serialized
        encryptor = self._ecb.encryptor()
        return encryptor.update(plain + bytes(-len(plain) % _BLOCK)) + encryptor.finalize()

    def decrypt_endpoint(self, blob: bytes) -> str:
        """Decrypt an endpoint. Raises BlobError."""
        if not blob or len(blob) % _BLOCK:
            raise BlobError(f"it has {len(blob)} bytes, which is not a number of blocks of {_BLOCK}")
        decryptor = self._ecb.decryptor()
        plain = decryptor.update(blob) + decryptor.finalize()
        length = plain[0]
        if length > len(plain) - 1:
            raise BlobError(f"it says that {length} bytes follow, but there are {len(plain) - 1}")
        try:
            return decode_endpoint(plain[1 : 1 + length])
        except (AffiliateError, AddressError) as error:
            raise BlobError(str(error)) from error
