"""Nodes that a snapshot lacks, for how long they count, and what ends that."""

import attrs

from nodespan.controllers.cluster.missing_nodes import CONNECT_LIMIT, HELLO_LIMIT, PATIENCE, MissingNodes
from nodespan.discovery import client, transport
from nodespan.resources.cluster import KubeSpanAffiliate
from nodespan.runtime.backoff import RESTARTS
from tests.controllers.cluster.samples import affiliate


def test_a_node_is_missed_for_as_long_as_its_client_takes_to_come_back_at_most() -> None:
    assert (client.HELLO_LIMIT, transport.CONNECT_TIMEOUT) == (HELLO_LIMIT, CONNECT_LIMIT)
    attempt = client.HELLO_LIMIT + transport.CONNECT_TIMEOUT
    assert attempt + RESTARTS.cap * (1 + RESTARTS.jitter) + attempt < PATIENCE


def test_a_missing_node_counts_for_a_while() -> None:
    missing = MissingNodes()
    assert missing.due == float("inf")
    missing.add("a", affiliate("a", "10.0.0.1"), 100.0)
    missing.add("b", affiliate("b", "10.0.0.2"), 130.0)
    # It is not missed for longer because another snapshot lacks it too.
    missing.add("a", affiliate("a", "10.0.0.1"), 140.0)
    assert missing.due == 100.0 + PATIENCE
    assert missing.expired(99.0 + PATIENCE) == set()
    assert missing.expired(100.0 + PATIENCE) == {"a"}
    assert ("a" in missing, "b" in missing, missing.due) == (False, True, 130.0 + PATIENCE)


def test_one_that_is_reported_again_or_is_gone_is_not_missing() -> None:
    missing = MissingNodes()
    missing.add("a", affiliate("a", "10.0.0.1"), 0.0)
    missing.drop("a")
    missing.drop("a")
    assert ("a" in missing, missing.due) == (False, float("inf"))
    assert missing.replaced_by(affiliate("c", "10.0.0.1"), None) == set()
    missing.add("b", affiliate("b"), 0.0)
    assert missing.clear() == {"b"}
    assert missing.clear() == set()


def test_another_node_with_its_name_or_all_addresses_of_it_replaces_it() -> None:
    mesh = KubeSpanAffiliate(public_key="old", address="fd00::1")
    old = attrs.evolve(affiliate("old", "10.0.0.1", "fd00::1"), nodename="web", kubespan=mesh)
    others = {
        "its name": attrs.evolve(affiliate("new"), nodename="web"),
        "its addresses": affiliate("new", "fd00::1", "10.0.0.7", "10.0.0.1"),
        "its address in the mesh": attrs.evolve(affiliate("new"), kubespan=attrs.evolve(mesh, public_key="new")),
    }
    for what, other in others.items():
        missing = MissingNodes()
        missing.add("old", old, 0.0)
        missing.add("bystander", affiliate("bystander", "10.0.0.9"), 0.0)
        assert missing.replaced_by(affiliate("stranger", "10.0.0.2"), None) == set()
        # Itself, reported again.
        assert missing.replaced_by(old, None) == set()
        assert missing.replaced_by(other, None) == {"old"}, what
        assert ("old" in missing, "bystander" in missing) == (False, True)


def test_a_node_without_a_name_is_not_replaced_by_another_one_without() -> None:
    missing = MissingNodes()
    missing.add("a", attrs.evolve(affiliate("a"), nodename=""), 0.0)
    assert missing.replaced_by(attrs.evolve(affiliate("b"), nodename=""), None) == set()


def test_a_node_that_takes_over_a_virtual_address_of_a_missing_one_does_not_replace_it() -> None:
    missing = MissingNodes()
    missing.add("a", affiliate("a", "10.0.0.1", "10.0.0.100"), 0.0)
    moved = affiliate("b", "10.0.0.2", "10.0.0.100")
    assert missing.replaced_by(moved, affiliate("b", "10.0.0.2")) == set()
    assert missing.replaced_by(moved, None) == set()


def test_what_two_nodes_had_while_both_were_known_tells_nothing() -> None:
    missing = MissingNodes()
    clone, other = (attrs.evolve(affiliate(name, "192.168.1.10"), nodename="debian") for name in "ab")
    missing.add("a", clone, 0.0)
    changed = attrs.evolve(other, operating_system="another version")
    assert missing.replaced_by(changed, other) == set()
    # One that was not known before is taken for the same machine.
    assert missing.replaced_by(changed, None) == {"a"}
