"""What travels hidden: affiliates and endpoints."""

import json
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.affiliate import AffiliateData, decode_affiliate
from nodespan.discovery.ciphers import OVERHEAD, BlobError, ClusterCipher
from nodespan.discovery.client import MOST_DATA, MOST_ENDPOINT
from nodespan.resources.addresses import format_address
from tests.discovery.samples import KEY, OTHER_KEY, affiliates, node
from tests.support.vectors import cases, load

CIPHER = ClusterCipher(KEY, os.urandom)


def cipher(case: dict[str, Any], nonce: bytes = b"") -> ClusterCipher:
    return ClusterCipher(bytes.fromhex(case["key_hex"]), lambda _size: nonce)


@pytest.mark.parametrize("case", cases("affiliate_gcm"))
def test_known_affiliate_blobs(case: dict[str, Any]) -> None:
    plain, blob = bytes.fromhex(case["plaintext_hex"]), bytes.fromhex(case["blob_hex"])
    data = decode_affiliate(plain)
    assert cipher(case).decrypt_affiliate(blob) == data
    assert cipher(case, bytes.fromhex(case["nonce_hex"])).encrypt_affiliate(data) == blob
    assert len(blob) - len(plain) == OVERHEAD == case.get("overhead", OVERHEAD)


@pytest.mark.parametrize("case", cases("affiliate_gcm_reject"))
def test_affiliate_blobs_to_be_skipped(case: dict[str, Any]) -> None:
    with pytest.raises(BlobError):
        cipher(case).decrypt_affiliate(bytes.fromhex(case["blob_hex"]))


def test_the_largest_affiliate_a_service_accepts() -> None:
    (limit,) = load("affiliate_gcm_size")
    assert (limit["max_blob"], limit["overhead"]) == (MOST_DATA, OVERHEAD)
    assert limit["max_plaintext"] == MOST_DATA - OVERHEAD


@pytest.mark.parametrize("case", cases("endpoint_ecb"))
def test_known_endpoint_blobs(case: dict[str, Any]) -> None:
    blob = bytes.fromhex(case["blob_hex"])
    assert cipher(case).encrypt_endpoint(case["endpoint"]) == blob
    assert cipher(case).decrypt_endpoint(blob) == case["endpoint"]
    assert len(blob) == case["blob_len"]
    assert (len(blob) <= MOST_ENDPOINT) == case["server_accepts"]


def test_two_nodes_encrypt_an_endpoint_identically() -> None:
    deterministic, _blockwise = load("endpoint_ecb_property")
    key = bytes.fromhex(load("endpoint_ecb")[0]["key_hex"])
    blobs = {ClusterCipher(key, os.urandom).encrypt_endpoint(deterministic["endpoint"]).hex() for _ in range(2)}
    assert blobs == {deterministic["blob_a_hex"]} == {deterministic["blob_b_hex"]}


def test_the_blocks_of_an_endpoint_do_not_depend_on_each_other() -> None:
    swapped = load("endpoint_ecb_property")[1]
    case = next(case for case in load("endpoint_ecb") if case["name"] == "ipv6")
    blob = bytes.fromhex(case["blob_hex"])
    assert blob[16:] + blob[:16] == bytes.fromhex(swapped["blob_hex"])
    assert bytes.fromhex(case["padded_hex"])[16:] + bytes.fromhex(case["padded_hex"])[:16] == bytes.fromhex(
        swapped["padded_hex"]
    )
    with pytest.raises(BlobError):
        cipher(case).decrypt_endpoint(blob[16:] + blob[:16])


@pytest.mark.parametrize("case", cases("endpoint_ecb_reject"))
def test_endpoint_blobs_to_be_skipped(case: dict[str, Any]) -> None:
    with pytest.raises(BlobError):
        cipher(case).decrypt_endpoint(bytes.fromhex(case["blob_hex"]))


@given(affiliates())
def test_only_the_own_cluster_can_decrypt_an_affiliate(data: AffiliateData) -> None:
    blob = CIPHER.encrypt_affiliate(data)
    assert CIPHER.decrypt_affiliate(blob) == data
    with pytest.raises(BlobError):
        ClusterCipher(OTHER_KEY, os.urandom).decrypt_affiliate(blob)


@given(st.ip_addresses().map(format_address), st.integers(0, 0xFFFF))
def test_the_own_cluster_can_decrypt_every_endpoint(address: str, port: int) -> None:
    endpoint = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    assert CIPHER.decrypt_endpoint(CIPHER.encrypt_endpoint(endpoint)) == endpoint


def test_every_encryption_of_an_affiliate_differs() -> None:
    assert CIPHER.encrypt_affiliate(node("a")) != CIPHER.encrypt_affiliate(node("a"))


@given(st.binary(max_size=200))
def test_garbage_is_skipped(blob: bytes) -> None:
    with pytest.raises(BlobError):
        CIPHER.decrypt_affiliate(blob)
    try:
        CIPHER.decrypt_endpoint(blob)
    except BlobError:
        return


@given(st.binary(max_size=100))
def test_garbage_under_the_right_key_is_an_affiliate_or_skipped(plain: bytes) -> None:
    try:
        CIPHER.decrypt_affiliate(bytes(12) + AESGCM(KEY).encrypt(bytes(12), plain, None))
    except BlobError:
        return


def test_errors_do_not_leak_plaintext() -> None:
    blob = CIPHER.encrypt_affiliate(node("secret-name", "10.1.2.3"))
    with pytest.raises(BlobError) as caught:
        ClusterCipher(OTHER_KEY, os.urandom).decrypt_affiliate(blob)
    assert "secret-name" not in json.dumps([str(caught.value), repr(caught.value.__cause__)])
