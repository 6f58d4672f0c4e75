"""Whom a call comes from."""

from ipaddress import ip_address

import pytest

from nodespan.discovery.service.client_address import Trust, client_address

PEER = "192.0.2.1"
REAL = Trust(x_real_ip=True)
FORWARDED = Trust(first_x_forwarded_for=True)
BOTH = Trust(x_real_ip=True, first_x_forwarded_for=True)


@pytest.mark.parametrize(
    ("trust", "real", "forwarded", "expected"),
    [
        (Trust(), "1.1.1.1", "2.2.2.2", PEER),
        (REAL, "1.1.1.1", "2.2.2.2", "1.1.1.1"),
        (FORWARDED, "1.1.1.1", "2.2.2.2", "2.2.2.2"),
        (BOTH, "1.1.1.1", "2.2.2.2", "1.1.1.1"),
        (BOTH, "not an address", "2.2.2.2", "2.2.2.2"),
        (BOTH, None, " 2001:db8::1 , 3.3.3.3", "2001:db8::1"),
        (BOTH, None, "unknown, 3.3.3.3", PEER),
        (BOTH, "", "", PEER),
        (BOTH, None, None, PEER),
    ],
)
def test_trusted_fields_count_before_the_peer(
    trust: Trust, real: str | None, forwarded: str | None, expected: str
) -> None:
    fields = {"x-real-ip": real, "x-forwarded-for": forwarded}
    assert client_address(fields.get, ip_address(PEER), trust) == ip_address(expected)


def test_a_peer_on_a_local_socket_has_no_address() -> None:
    assert client_address(lambda name: None, None, BOTH) is None
