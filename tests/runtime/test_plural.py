"""Which names count as plurals, and the singular shown for each."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nodespan.runtime.resource.plural import is_plural, singular

TYPE_NAMES = {
    "AddressSpecs": "AddressSpec",
    "AddressStatuses": "AddressStatus",
    "DeviceConfigSpecs": "DeviceConfigSpec",
    "DNSUpstreams": "DNSUpstream",
    "Environments": "Environment",
    "EtcFileSpecs": "EtcFileSpec",
    "EtcFileStatuses": "EtcFileStatus",
    "HardwareAddresses": "HardwareAddress",
    "HostnameSpecs": "HostnameSpec",
    "HostnameStatuses": "HostnameStatus",
    "KernelCmdlines": "KernelCmdline",
    "LinkAliasSpecs": "LinkAliasSpec",
    "LinkRefreshes": "LinkRefresh",
    "LinkSpecs": "LinkSpec",
    "LinkStatuses": "LinkStatus",
    "MachineConfigs": "MachineConfig",
    "Namespaces": "Namespace",
    "NetworkStatuses": "NetworkStatus",
    "NfTablesChains": "NfTablesChain",
    "NodeAddressFilters": "NodeAddressFilter",
    "NodeAddressSortAlgorithms": "NodeAddressSortAlgorithm",
    "NodeAddresses": "NodeAddress",
    "OperatorSpecs": "OperatorSpec",
    "ResolverSpecs": "ResolverSpec",
    "ResolverStatuses": "ResolverStatus",
    "ResourceDefinitions": "ResourceDefinition",
    "RouteSpecs": "RouteSpec",
    "RouteStatuses": "RouteStatus",
    "RoutingRuleSpecs": "RoutingRuleSpec",
    "RoutingRuleStatuses": "RoutingRuleStatus",
    "StaticHosts": "StaticHost",
    "TimeServerSpecs": "TimeServerSpec",
    "TimeServerStatuses": "TimeServerStatus",
}

REGULAR = {
    "Affiliates": "Affiliate",
    "Addresses": "Address",
    "Aliases": "Alias",
    "Boxes": "Box",
    "Buses": "Bus",
    "Databases": "Database",
    "Devices": "Device",
    "Endpoints": "Endpoint",
    "Heroes": "Hero",
    "Identities": "Identity",
    "Interfaces": "Interface",
    "KubeSpanPeerStatuses": "KubeSpanPeerStatus",
    "Leases": "Lease",
    "Members": "Member",
    "Menus": "Menu",
    "Movies": "Movie",
    "Policies": "Policy",
    "Processes": "Process",
    "Proxies": "Proxy",
    "Statuses": "Status",
}

IRREGULAR = {
    "Alumni": "Alumnus",
    "Analyses": "Analysis",
    "Algae": "Alga",
    "Cherubim": "Cherub",
    "Children": "Child",
    "Cookies": "Cookie",
    "Criteria": "Criterion",
    "Curricula": "Curriculum",
    "Feet": "Foot",
    "Indices": "Index",
    "Knives": "Knife",
    "Leaves": "Leaf",
    "Lice": "Louse",
    "Lives": "Life",
    "Matrices": "Matrix",
    "Men": "Man",
    "Mice": "Mouse",
    "Monies": "Money",
    "NodeIndices": "NodeIndex",
    "People": "Person",
    "Plateaux": "Plateau",
    "Quizzes": "Quiz",
    "Radii": "Radius",
    "Theses": "Thesis",
    "Ties": "Tie",
    "Wives": "Wife",
}

QUIRKS = {"Caches": "Cach", "DNS": "DN", "Data": "Datum", "TimeSeries": "TimeSery", "MetaData": "MetaDatum"}

UNCHANGED = ["Hardware", "Software", "Firmware", "Information", "Media", "News", "Series", "Traffic", "Health"]
UNCHANGED_ENDINGS = ["Chassis", "BlueFish", "NodeSheep", "ChickenPox", "Famous", "Chinese", "Reindeer"]

SINGULARS = """
    Address Analysis Axis Box Bus Child Criterion Foot Gas Hero Index Knife Leaf Life Link LinkAlias LinkStatus
    Matrix Mouse NodeAddress NodeHardware NodeInformation Person Policy Process Quiz Status Switch Testis Atlas
    Thesis Vertex NodeFeet Iris Buzz Bush CPUs
""".split()  # noqa: SIM905


@pytest.mark.parametrize(("plural", "one"), (TYPE_NAMES | REGULAR | IRREGULAR | QUIRKS).items())
def test_a_plural_is_known_and_has_its_singular(plural: str, one: str) -> None:
    assert is_plural(plural)
    assert singular(plural) == one


@pytest.mark.parametrize("word", UNCHANGED + UNCHANGED_ENDINGS)
def test_a_word_without_a_plural_counts_as_one_and_stays_as_it_is(word: str) -> None:
    assert is_plural(word)
    assert singular(word) == word


@pytest.mark.parametrize("word", SINGULARS)
def test_a_singular_is_not_a_plural(word: str) -> None:
    assert not is_plural(word)


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("DATA", "DATUM"),
        ("data", "datum"),
        ("Data", "Datum"),
        ("FEET", "FOOT"),
        ("feet", "foot"),
        ("linkSTATUSES", "linkSTATUS"),
        ("POLICIES", "POLICY"),
    ],
)
def test_the_case_of_what_is_replaced_stays(plural: str, one: str) -> None:
    assert singular(plural) == one


@given(st.from_regex(re.compile(r"[A-Z][a-z0-9]{0,8}"), fullmatch=True), st.sampled_from(sorted(REGULAR)))
def test_a_compound_name_follows_its_last_word(prefix: str, plural: str) -> None:
    assume(prefix != "A")  # Abuses has a rule of its own, and so may other words that one letter makes
    assert is_plural(prefix + plural)
    assert singular(prefix + plural) == prefix + REGULAR[plural]


@given(st.from_regex(re.compile(r"[A-Z][A-Za-z0-9-]+"), fullmatch=True))
def test_case_does_not_decide_what_a_plural_is(word: str) -> None:
    assert is_plural(word) == is_plural(word.upper()) == is_plural(word.lower())
