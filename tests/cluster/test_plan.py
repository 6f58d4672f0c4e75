"""Names and addresses of a cluster on one machine."""

from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.cluster.plan import FEWEST_NODES, MOST_NODES, NameRefusedError, Plan, label_of

DOCUMENTATION = [ip_network("198.51.100.0/24"), ip_network("192.0.2.0/24")]
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True)
SIZES = st.integers(FEWEST_NODES, MOST_NODES)


@pytest.mark.parametrize(
    ("number", "label"), [(0, "a"), (1, "b"), (25, "z"), (26, "aa"), (27, "ab"), (51, "az"), (52, "ba"), (701, "zz")]
)
def test_nodes_are_named_by_letters(number: int, label: str) -> None:
    assert label_of(number) == label


@given(size=SIZES)
def test_addresses_are_distinct_and_from_documentation_ranges(size: int) -> None:
    addresses = [station.address for station in Plan(size=size).stations]
    assert len(set(addresses)) == len(addresses)
    assert all(any(ip_address(address) in network for network in DOCUMENTATION) for address in addresses)


@given(size=SIZES)
def test_only_the_last_node_is_behind_the_router(size: int) -> None:
    plan = Plan(size=size)
    behind = [node for node in plan.nodes if ip_address(node.address) in DOCUMENTATION[1]]
    assert behind == [plan.nodes[-1]]
    assert {node.gateway for node in plan.nodes[:-1]} == {"198.51.100.1"}
    assert behind[0].gateway == "192.0.2.1"


@given(names=st.lists(NAMES, min_size=2, max_size=5, unique=True), size=SIZES)
@pytest.mark.slow
def test_no_two_clusters_share_a_namespace_a_name_or_a_socket(names: list[str], size: int) -> None:
    plans = [Plan(name=name, size=size) for name in names]
    for one, other in pairwise(plans):
        assert not any(station.namespace.startswith(other.namespace_prefix) for station in one.stations)
        assert not {station.name for station in one.stations} & {station.name for station in other.stations}
        assert not {node.socket for node in one.nodes} & {node.socket for node in other.nodes}


def test_nodes_of_the_default_cluster_have_short_names() -> None:
    assert [node.name for node in Plan().nodes] == ["a", "b", "c"]
    assert str(Plan().nodes[0].socket) == "/run/nodespan/nodes/a.sock"
    assert Plan().nodes[0].namespace == "nodespan-demo-a"
    assert [node.name for node in Plan(name="lab").nodes] == ["lab-a", "lab-b", "lab-c"]


def test_each_node_is_paired_with_each_other_both_ways() -> None:
    pairs = [(node.name, peer.name) for node, peer in Plan().pairs]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]


@pytest.mark.parametrize("name", ["", "A", "a-b", "1a", "a" * 17, "../x", "a/b", "a b", "ä"])
def test_unsafe_names_are_rejected(name: str) -> None:
    with pytest.raises(NameRefusedError, match="is not a valid cluster name"):
        Plan(name=name)


@pytest.mark.parametrize("size", [-1, 0, 1, MOST_NODES + 1])
def test_unsupported_sizes_are_rejected(size: int) -> None:
    with pytest.raises(ValueError, match="between 2 and 200 nodes"):
        Plan(size=size)
