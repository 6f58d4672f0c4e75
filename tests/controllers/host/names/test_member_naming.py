"""Which names members have: tables, and properties of any set of claims."""

import random
from collections.abc import Collection, Mapping, Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespan.controllers.common.special_names import domain_fault
from nodespan.controllers.host.edits import Block
from nodespan.controllers.host.names import label_claims
from nodespan.controllers.host.names.hosts_file import changed_labels, foreign_names
from nodespan.controllers.host.names.label_claims import LabelClaims
from nodespan.controllers.host.names.member_naming import (
    MOST_ADDRESSES,
    TTL,
    Claim,
    Names,
    Policy,
    Taken,
    label_of,
    labels_of,
    may_stem_from,
    name_fault,
    names_of,
    policy_of,
    problem_of,
    usable_addresses,
)
from nodespan.resources.cluster import AffiliateSpec, KubeSpanAffiliate, MemberNameSpec
from nodespan.resources.config import Machine, MachineConfigSpec, MainDocument, NodespanConfig, ResolverConfig
from nodespan.resources.config.main import Features, HostDns
from nodespan.resources.config.nodespan import NameAddresses, NameMode, NameSettings

MESH = Policy(is_enabled=True, domain="mesh.internal")
ALONE = Policy(is_enabled=True)


@attrs.frozen
class Made:
    """What the claims to one label give."""

    specs: Mapping[str, MemberNameSpec] = attrs.field(factory=dict)
    problem: str = ""


def made(label: str, *claims: Claim, policy: Policy = MESH, taken: Taken | None = None, claimed: str = "") -> Made:
    all_claims, by_id = LabelClaims(label), {claim.node_id: claim for claim in claims}
    for claim in claims:
        all_claims.put(claim.node_id, claim.rank)
    return made_of(all_claims, by_id, policy, taken or {}, claimed.split())


def made_of(
    claims: LabelClaims, by_id: Mapping[str, Claim], policy: Policy, taken: Taken, claimed: Collection[str]
) -> Made:
    specs: dict[str, MemberNameSpec] = {}
    refused: list[str] = []
    for id in claims.with_alike(by_id):
        label, _ = claims.choose(id, claimed.__contains__)
        found = names_of(label, by_id[id], policy, taken) if label else Names()
        specs |= found.specs
        refused += found.refused
    problem = problem_of(claims.label, len(claims), claims.named(), refused) if policy.is_enabled else ""
    return Made(specs, problem)


def claim(node_id: str, *addresses: str, by_hostname: bool = True, is_own: bool = False) -> Claim:
    return Claim(node_id, addresses or ("10.0.0.1",), by_hostname=by_hostname, is_own=is_own)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("db", "db"),
        ("DB", "db"),
        ("db.corp.example", "db"),
        ("www.bank.example", "www"),
        ("a-b", "a-b"),
        ("xn--bcher-kva", "xn--bcher-kva"),
        ("a" * 63, "a" * 63),
        # No host names.
        ("", ""),
        (".db", ""),
        ("-db", ""),
        ("db-", ""),
        ("d_b", ""),
        ("d b", ""),
        ("db\n10.0.0.1 bank", ""),
        ("db\0", ""),
        ("d\u00df", ""),
        ("\u212a", ""),  # the Kelvin sign is a k in lower case
        ("a" * 64, ""),
        ("*", ""),
        # The C library takes these for addresses.
        ("127", ""),
        ("2130706433", ""),
        ("0x7f000001", ""),
        ("0x", ""),
        # Names that mean something else.
        ("localhost", ""),
        ("LocalHost.mesh.internal", ""),
        ("localhost.localdomain", ""),
        ("ip6-localhost", ""),
        ("wpad", ""),
        ("isatap", ""),
        ("_gateway", ""),
    ],
)
def test_a_member_claims_the_first_label_of_its_name_if_that_is_a_host_name(name: str, label: str) -> None:
    assert label_of(name) == label
    spec = AffiliateSpec(node_id="n", hostname=name, nodename=name or "-")
    assert labels_of(spec) == ((label,) if label else ())
    assert bool(name_fault(spec)) is not bool(label)


def test_the_message_about_a_name_shows_it_on_one_line() -> None:
    fault = name_fault(AffiliateSpec(node_id="n\n", hostname="d\x1b[31m\nb" + "x" * 500, nodename="d"))
    assert fault == ""
    fault = name_fault(AffiliateSpec(node_id="n\n", hostname="d\x1b[31m\nb" + "x" * 500, nodename="-"))
    assert fault.isprintable()
    assert len(fault) < 300


def test_affiliates_without_a_node_name_claim_nothing() -> None:
    assert labels_of(AffiliateSpec(hostname="db")) == ()


@pytest.mark.parametrize(
    ("domain", "fault"),
    [
        ("mesh.internal", ""),
        ("internal", ""),
        ("lan", ""),
        ("nodes.corp.example", ""),
        ("corp.de", ""),
        ("com", "single label"),
        ("de", "single label"),
        ("co.uk", "public suffix"),
        ("com.au", "public suffix"),
        ("localhost", "other means"),
        ("my.local", "other means"),
        ("8.b.d.0.ip6.arpa", "other means"),
        ("x.onion", "other means"),
        ("10.0.0.1", "other means"),
        ("Mesh.internal", "lower case"),
        ("mesh.internal.", "lower case"),
        (".internal", "lower case"),
        ("a b.internal", "lower case"),
        (".".join(["a" * 63] * 3), "too long"),
    ],
)
def test_domains_that_belong_to_others_are_refused(domain: str, fault: str) -> None:
    assert (fault in domain_fault(domain)) is bool(fault) or domain_fault(domain) == fault


def test_a_member_answers_to_its_label_and_to_that_under_the_domain() -> None:
    found = made("db", Claim("n", ("fd00::1", "10.0.0.1"), ("fd00::1",)))
    assert found.problem == ""
    name = MemberNameSpec(addresses=("fd00::1", "10.0.0.1"), canonical_name="db.mesh.internal", node_id="n", ttl=TTL)
    assert found.specs == {"db": name, "db.mesh.internal": attrs.evolve(name, reverse_addresses=("fd00::1",))}
    assert made("db", claim("n"), policy=ALONE).specs["db"].canonical_name == "db"
    assert made("db", claim("n"), policy=Policy()) == Made()
    assert made("db", Claim("n", ())) == Made()


@pytest.mark.parametrize("label", ["com", "ai", "io", "local", "internal", "dev"])
def test_of_a_top_level_domain_only_the_name_under_the_domain_is_given(label: str) -> None:
    assert made(label, claim("n")).specs.keys() == {f"{label}.mesh.internal"}
    assert made(label, claim("n"), policy=ALONE).specs == {}


def test_a_taken_name_keeps_its_meaning() -> None:
    found = made("db", claim("n"), taken={"db": {"192.0.2.1"}})
    assert found.specs.keys() == {"db.mesh.internal"}
    assert found.problem == "db has another meaning on this machine, by /etc/hosts or its configuration"
    found = made("db", claim("n"), taken={"db": {"192.0.2.1"}, "db.mesh.internal": {"192.0.2.1"}})
    assert found.specs == {}
    # The operator wrote the same there, and this node is called so itself.
    assert made("db", claim("n"), taken={"db": {"10.0.0.1"}}).problem == ""
    assert made("db", claim("n", is_own=True), taken={"db": {"127.0.1.1"}}).problem == ""


def test_two_nodes_of_one_name_are_told_apart_whatever_their_order() -> None:
    first, second = claim("aaa", "10.0.0.1"), claim("bbb", "10.0.0.2")
    found = made("db", second, first)
    assert found == made("db", first, second)
    own = "db-3e744b9d"
    assert {name: spec.addresses for name, spec in found.specs.items()} == {
        "db": ("10.0.0.1",),
        "db.mesh.internal": ("10.0.0.1",),
        own: ("10.0.0.2",),
        f"{own}.mesh.internal": ("10.0.0.2",),
    }
    assert found.problem == f'2 nodes are called db: "aaa" has the name, "bbb" as {own}: rename all but one'
    assert may_stem_from(own, "db")
    # A node that is called so already keeps that.
    longer = made("db", first, second, claimed=own).specs.keys() - found.specs.keys()
    assert sorted(longer) == ["db-3e744b9dc393", "db-3e744b9dc393.mesh.internal"]
    assert may_stem_from("db-3e744b9dc393", "db")


def test_a_host_name_comes_before_a_node_name() -> None:
    found = made("db", claim("aaa", "10.0.0.1", by_hostname=False), claim("bbb", "10.0.0.2"))
    assert found.specs["db"].node_id == "bbb"


@pytest.mark.parametrize(("label", "origin"), [("db-1", "db"), ("db-zzzzzzzz", "db"), ("-12345678", ""), ("db", "db")])
def test_labels_without_digits_stem_from_no_other(label: str, origin: str) -> None:
    assert not may_stem_from(label, origin)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("fd00:0::1", "fd00::1"),
        ("203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", ""),
        ("127.9.9.9", ""),
        ("::1", ""),
        ("0.0.0.0", ""),
        ("0.1.2.3", ""),
        ("::", ""),
        ("::ffff:127.0.0.1", ""),
        ("::127.0.0.1", ""),
        ("169.254.169.254", ""),
        ("fe80::1", ""),
        ("fe80::1%eth0", ""),
        ("224.0.0.251", ""),
        ("ff02::1", ""),
        ("255.255.255.255", ""),
        ("240.0.0.1", ""),
        ("10.0.0.1/24", ""),
        ("db", ""),
        ("10.0.0.1\n", ""),
        ("", ""),
        # Of this node.
        ("10.0.0.9", ""),
    ],
)
def test_a_name_stands_only_for_addresses_that_can_be_of_its_member(address: str, shown: str) -> None:
    spec = AffiliateSpec(addresses=(address,), kubespan=KubeSpanAffiliate(address=address))
    own = {"10.0.0.9"}
    assert usable_addresses(spec, own=own) == ((shown,) if shown else ())
    assert usable_addresses(spec, own=own, only_mesh=True) == ((shown,) if shown else ())


def test_the_address_in_the_mesh_comes_first_and_there_are_not_too_many() -> None:
    many = tuple(f"10.0.{number}.1" for number in range(200))
    spec = AffiliateSpec(addresses=many, kubespan=KubeSpanAffiliate(address="fd00::1"))
    assert usable_addresses(spec) == ("fd00::1", *many)[:MOST_ADDRESSES]
    assert usable_addresses(spec, only_mesh=True) == ("fd00::1",)


def config(names: NameSettings, *, by_main: HostDns | None = None, by_document: HostDns | None = None) -> Policy:
    documents = () if by_document is None else (ResolverConfig(host_dns=by_document),)
    main = MainDocument(machine=Machine(features=Features(host_dns=by_main)))
    return policy_of(MachineConfigSpec(main=main, documents=documents, nodespan=NodespanConfig(names=names)))


def test_names_are_made_for_a_mode_or_for_the_resolver() -> None:
    off, knows = NameSettings(), HostDns(enabled=True, resolve_member_names=True)
    assert not config(off).is_enabled
    assert config(NameSettings(mode=NameMode.HOSTS)).is_enabled
    assert config(off, by_main=knows).is_enabled
    assert config(off, by_document=knows).is_enabled
    # Which of the two counts is as in the originals.
    assert not config(off, by_main=knows, by_document=HostDns(enabled=True)).is_enabled
    assert config(off, by_main=knows, by_document=HostDns(resolve_member_names=True)).is_enabled
    assert not config(off, by_main=HostDns(resolve_member_names=True)).is_enabled
    assert config(NameSettings(domain="a.b", addresses=NameAddresses.MESH)) == Policy(domain="a.b", only_mesh=True)


HOSTS = b"""\
127.0.0.1 localhost
10.0.0.7\tWeb.corp.example web # not this
10.0.0.8 web
10.0.0.9
\xff\xfe \xff
# BEGIN nodespan: changes to these lines are overwritten
10.0.0.1 db
# END nodespan
fd00::7 last"""


def test_names_in_the_hosts_file_are_taken_except_for_our_own_lines() -> None:
    assert foreign_names(HOSTS).names == {
        "localhost": {"127.0.0.1"},
        "web.corp.example": {"10.0.0.7"},
        "web": {"10.0.0.7", "10.0.0.8"},
        "\\xff": {"\\xff\\xfe"},
        "last": {"fd00::7"},
    }


LABELS = st.sampled_from(("db", "db-3e744b9d", "com", "x" * 63, "x" * 55))
CLAIMS = st.lists(
    st.builds(claim, st.sampled_from(("aaa", "bbb", "ccc", "ddd")), st.just("10.0.0.1"), by_hostname=st.booleans()),
    unique_by=lambda found: found.node_id,
)


@settings(max_examples=60, deadline=None)
@given(label=LABELS, claims=CLAIMS, taken=st.sets(LABELS), claimed=st.sets(LABELS))
def test_no_claim_takes_a_name_of_somebody_else(
    label: str, claims: Sequence[Claim], taken: set[str], claimed: set[str]
) -> None:
    meanings = {name: {"192.0.2.1"} for each in taken for name in (each, f"{each}.mesh.internal")}
    found = made(label, *claims, taken=meanings, claimed=" ".join(claimed - {label}))
    assert found == made(label, *reversed(claims), taken=meanings, claimed=" ".join(claimed - {label}))
    owners: dict[str, str] = {}
    for name, spec in found.specs.items():
        first, _, rest = name.partition(".")
        assert name not in meanings
        assert first not in claimed - {label}
        assert rest in ("", "mesh.internal")
        assert len(first) <= 63
        assert first == label or may_stem_from(first, label)
        assert owners.setdefault(first, spec.node_id) == spec.node_id
        assert spec.canonical_name in found.specs
    assert (len(claims) > 1) is ("are called" in found.problem)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=70), st.text(max_size=70))
def test_whatever_a_member_is_called_its_labels_are_host_names(hostname: str, nodename: str) -> None:
    for label in labels_of(AffiliateSpec(node_id="n", hostname=hostname, nodename=nodename)):
        assert label.isascii()
        assert label == label.lower()
        assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert not label.isdecimal()


def test_a_hosts_file_in_which_only_our_lines_changed_is_not_read_again() -> None:
    before = foreign_names(Block(b"10.0.0.1 db\n").apply(b"10.0.0.7 web\n10.0.0.8 other\n"))
    assert foreign_names(Block(b"10.0.0.1 db\n10.0.0.2 b\n").apply(b"10.0.0.7 web\n10.0.0.8 other\n"), before) is before
    now = foreign_names(Block(b"10.0.0.1 db\n").apply(b"10.0.0.9 Web.corp\n10.0.0.8 other\n"), before)
    assert changed_labels(before, now) == {"web"}


@pytest.mark.parametrize("seed", range(20))
def test_claims_that_come_and_go_give_the_labels_that_they_give_together(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """With digits that begin alike for a third of the nodes, as no test would find them otherwise."""
    alike = "3e744b9d"

    def told(label: str, node_id: str) -> Sequence[str]:
        return [f"{label}-{first_digits(node_id)}", f"{label}-{first_digits(node_id)}-{node_id}"]

    def first_digits(node_id: str) -> str:
        return alike if node_id < "g" else node_id

    monkeypatch.setattr(label_claims, "told_apart", told)
    monkeypatch.setattr(label_claims, "first_digits", first_digits)
    chance = random.Random(seed)
    nodes = "abcdefghijklmnopqr"
    claims, present, claimed = LabelClaims("db"), dict[str, Claim](), set[str]()
    labels: dict[str, str] = {}
    for _ in range(100):
        id = chance.choice(nodes)
        if id in present and chance.random() < 0.5:
            del present[id]
            affected = claims.put(id, None)
        else:
            present[id] = claim(id, by_hostname=chance.random() < 0.7)
            affected = claims.put(id, present[id].rank)
        # Whether the label of those that begin alike is free for the first of them changes now and then.
        claimed ^= {f"db-{alike}"} if chance.random() < 0.1 else set()
        affected |= {each for each in present if labels.get(each, "").startswith(f"db-{alike}")}
        labels = {each: label for each, label in labels.items() if each in present}
        labels |= {each: claims.choose(each, claimed.__contains__)[0] for each in claims.with_alike(affected)}
        whole = LabelClaims("db")
        for each in present.values():
            whole.put(each.node_id, each.rank)
        assert labels == {each: whole.choose(each, claimed.__contains__)[0] for each in whole.with_alike(present)}
        assert len(set(labels.values())) == len(labels)


def test_a_claim_among_many_touches_itself_and_the_holder_that_it_replaces() -> None:
    claims = LabelClaims("db")
    for number in range(500):
        claims.put(f"m{number:03}", (False, f"m{number:03}"))
    assert claims.put("z", (False, "z")) == {"z"}
    assert claims.put("a", (False, "a")) == {"a", "m000"}
    assert claims.put("a", None) == {"a", "m000"}
    assert claims.put("m250", None) == {"m250"}
    assert claims.holder == "m000"
