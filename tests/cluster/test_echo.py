"""The checksum of pings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.cluster.echo import checksum


@pytest.mark.parametrize(
    ("data", "sum"), [(b"", 0xFFFF), (b"\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 0x220D), (b"\x08\x00", 0xF7FF)]
)
def test_the_checksum_matches_known_values(data: bytes, sum: int) -> None:
    assert checksum(data) == sum


@given(st.binary(min_size=2, max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_data_including_its_checksum_sums_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2)) == 0
