"""The labels of client versions, against the original's."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nodespan.discovery.service.version_label import version_label
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("client_version_label"))
def test_a_version_is_counted_with_the_originals_label(case: dict[str, Any]) -> None:
    assert version_label(case["version"]) == case["label"]


@given(st.text(alphabet="v019.-x"))
def test_any_number_of_versions_has_a_limited_number_of_labels(version: str) -> None:
    assert len(version_label(version)) <= len("v99.99-pre")
