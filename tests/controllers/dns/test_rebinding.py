"""Which addresses other servers may answer with."""

import ipaddress

import pytest

from nodespan.controllers.dns.rebinding import Rebinding, is_inside, networks

RULES = Rebinding(mesh=networks(("fd00:db8::/64", "")), allowed=frozenset({"corp.example"}))
PUBLIC, NEVER, INSIDE = "public", "never", "inside"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.215.14", PUBLIC),
        ("2606:2800::1", PUBLIC),
        ("127.0.0.1", NEVER),
        ("0.0.0.0", NEVER),
        ("0.1.2.3", NEVER),
        ("169.254.169.254", NEVER),
        ("224.0.0.1", NEVER),
        ("::1", NEVER),
        ("::", NEVER),
        ("fe80::1", NEVER),
        ("ff02::1", NEVER),
        # An IPv4 address within one of IPv6 counts as what it leads to.
        ("::ffff:127.0.0.1", NEVER),
        ("::ffff:10.0.0.1", INSIDE),
        ("::127.0.0.1", NEVER),
        ("64:ff9b::7f00:1", NEVER),
        ("64:ff9b::a00:1", INSIDE),
        ("2002:7f00:1::1", NEVER),
        ("2002:c0a8:101::1", INSIDE),
        # The mesh is the cluster's own.
        ("fd00:db8::1", NEVER),
        ("10.0.0.1", INSIDE),
        ("172.16.0.1", INSIDE),
        ("192.168.1.1", INSIDE),
        ("100.64.0.1", INSIDE),
        ("fd12::1", INSIDE),
        ("fec0::1", INSIDE),
    ],
)
def test_what_is_inside_comes_from_inside_only(address: str, kind: str) -> None:
    parsed = ipaddress.ip_address(address)

    def permits(name: str, *, asked_inside: bool) -> bool:
        return RULES.permits(parsed, name=name, asked_inside=asked_inside)

    assert permits("evil.example", asked_inside=False) is (kind == PUBLIC)
    assert permits("evil.example", asked_inside=True) is (kind != NEVER)
    for name in ("corp.example", "a.corp.example"):
        assert permits(name, asked_inside=False) is (kind != NEVER)
    assert permits("notcorp.example", asked_inside=False) is (kind == PUBLIC)


@pytest.mark.parametrize(
    ("server", "inside"),
    [
        ("1.1.1.1", False),
        ("2606:4700::1111", False),
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("fe80::1%eth0", True),
        ("none", False),
    ],
)
def test_a_server_is_inside_by_its_address(server: str, *, inside: bool) -> None:
    assert is_inside(server) is inside
