"""Cluster secrets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.cluster_secret import ClusterSecretError, decode_secret
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("cluster_secret"))
def test_known_secrets(case: dict[str, Any]) -> None:
    assert decode_secret(case["secret"]).hex() == case["key_hex"]


@pytest.mark.parametrize("case", cases("cluster_secret_validation"))
def test_valid_and_invalid_secrets(case: dict[str, Any]) -> None:
    if case["valid"]:
        assert len(decode_secret(case["secret"])) == 32
        return
    with pytest.raises(ClusterSecretError) as caught:
        decode_secret(case["secret"])
    assert not case["secret"] or case["secret"] not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text())
def test_any_text_is_a_secret_or_an_error(text: str) -> None:
    try:
        assert len(decode_secret(text)) == 32
    except ClusterSecretError:
        return
