"""Which names the server knows, and that no member takes one of somebody else."""

import dns.message
import pytest

from nodespan.controllers.common.reverse_zones import reverse_zones
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.queries import Query, RCode, Type, reply
from nodespan.resources.cluster import MemberNameSpec
from nodespan.resources.network import StaticHostSpec

DB = MemberNameSpec(
    addresses=("fd00:db8::1", "192.0.2.1"), canonical_name="db.mesh.internal", node_id="n1", ttl=5,
    reverse_addresses=("fd00:db8::1", "192.0.2.1"),
)  # fmt: skip
REVERSE = "1.2.0.192.in-addr.arpa"


@pytest.fixture
def names() -> Names:
    names = Names("mesh.internal")
    names.set_host("printer", StaticHostSpec(addresses=("192.0.2.9", "192.0.2.9", "not an address")))
    names.set_host("taken", StaticHostSpec(addresses=("192.0.2.8",)))
    names.set_member("db", MemberNameSpec(addresses=DB.addresses, canonical_name=DB.canonical_name, ttl=5))
    names.set_member("db.mesh.internal", DB)
    for name in ("localhost", "taken", "a.localhost", "b.invalid"):
        names.set_member(name, MemberNameSpec(addresses=("198.51.100.66",), ttl=5))
    return names


def answer(names: Names, name: str, type: Type, *, members_only: bool = False) -> list[str] | None:
    """The values of the records, or None if others are asked; `gone` if there is no such name."""
    known = names.find(name, members_only=members_only)
    if known is None:
        return None
    if known.rcode == RCode.NXDOMAIN:
        return ["gone"]
    question = b"\0" + type.to_bytes(2) + b"\0\x01"
    query = Query(id=1, flags=0, question=question, name="", type=type)
    read = dns.message.from_wire(reply(query, known.rcode, known.records.get(type, ())))
    return [rdata.to_text() for rrset in read.answer for rdata in rrset]


@pytest.mark.parametrize(
    ("name", "type", "expected"),
    [
        ("db", Type.A, ["192.0.2.1"]),
        ("db", Type.AAAA, ["fd00:db8::1"]),
        ("db.mesh.internal", Type.A, ["192.0.2.1"]),
        ("printer", Type.A, ["192.0.2.9"]),
        # A type that a known name has not got is not asked of others.
        ("printer", Type.AAAA, []),
        ("db", Type.ANY, []),
        # What is fixed, and what is configured, stays whatever a member is called.
        ("localhost", Type.A, ["127.0.0.1"]),
        ("localhost", Type.AAAA, ["::1"]),
        ("a.localhost", Type.A, ["127.0.0.1"]),
        ("taken", Type.A, ["192.0.2.8"]),
        ("b.invalid", Type.A, ["gone"]),
        ("hidden.onion", Type.A, ["gone"]),
        # Below the domain a name is a member's, or nobody's.
        ("web.mesh.internal", Type.A, ["gone"]),
        ("mesh.internal", Type.A, []),
        ("x.db.mesh.internal", Type.A, ["gone"]),
        ("notmesh.internal", Type.A, None),
        ("example.org", Type.A, None),
        ("", Type.A, None),
        # Addresses lead back, to the name with its domain.
        (REVERSE, Type.PTR, ["db.mesh.internal."]),
        ("1." + 24 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", Type.PTR, None),
        ("9.2.0.192.in-addr.arpa", Type.PTR, ["printer."]),
        ("7.2.0.192.in-addr.arpa", Type.PTR, None),
    ],
)
def test_what_is_known_of_a_name(names: Names, name: str, type: Type, expected: list[str] | None) -> None:
    assert answer(names, name, type) == expected


def test_the_mesh_gets_the_names_of_members_only(names: Names) -> None:
    assert answer(names, "db", Type.A, members_only=True) == ["192.0.2.1"]
    assert answer(names, REVERSE, Type.PTR, members_only=True) == ["db.mesh.internal."]
    assert answer(names, "web.mesh.internal", Type.A, members_only=True) == ["gone"]
    for name in ("printer", "9.2.0.192.in-addr.arpa", "example.org"):
        assert answer(names, name, Type.A, members_only=True) is None


def test_nothing_remains_of_what_is_gone_or_changed(names: Names) -> None:
    names.set_member("db.mesh.internal", MemberNameSpec(addresses=("192.0.2.2",), ttl=5))
    assert answer(names, "db.mesh.internal", Type.A) == ["192.0.2.2"]
    assert answer(names, REVERSE, Type.PTR) is None
    for name in ("db", "db.mesh.internal"):
        names.set_member(name, None)
        names.set_member(name, None)
    names.set_host("printer", None)
    assert answer(names, "db", Type.A) is None
    assert answer(names, "db.mesh.internal", Type.A) == ["gone"]
    assert answer(names, "printer", Type.A) is None
    assert answer(names, "9.2.0.192.in-addr.arpa", Type.PTR) is None


def test_an_address_of_several_leads_to_each_until_it_is_gone() -> None:
    names = Names()
    for name in ("b", "a", "a.example"):
        names.set_host(name, StaticHostSpec(addresses=("192.0.2.1",)))
    assert answer(names, REVERSE, Type.PTR) == ["a.example.", "a.", "b."]
    names.set_host("a", None)
    assert answer(names, REVERSE, Type.PTR) == ["a.example.", "b."]
    # A name that DNS does not have leads nowhere, and is in nobody's way.
    names.set_host(64 * "x", StaticHostSpec(addresses=("192.0.2.1",)))
    assert answer(names, REVERSE, Type.PTR) == ["a.example.", "b."]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1." + 15 * "0." + 8 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", ["db.mesh.internal."]),
        ("2." + 15 * "0." + 8 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", ["gone"]),
        ("0.0." + 8 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", []),
        (8 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", []),
        (7 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", None),
        ("2." + 15 * "0." + "1." + 7 * "0." + "8.b.d.0.0.0.d.f.ip6.arpa", None),
    ],
)
def test_an_address_of_the_mesh_is_a_members_or_nobodys(names: Names, name: str, expected: list[str] | None) -> None:
    names.reverse = reverse_zones("fd00:db8::/64")
    assert answer(names, name, Type.PTR) == expected
    assert answer(names, name, Type.PTR, members_only=True) == expected
