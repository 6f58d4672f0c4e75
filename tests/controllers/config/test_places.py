"""A key that stands where nobody knows it is told its place."""

import pytest

from nodespan.controllers.config.fields import places_of
from nodespan.controllers.config.loading import load
from nodespan.resources.config import MainDocument


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("machine: {kubespan: {enabled: true}}", "did you mean machine.network.kubespan?"),
        ("machine: {KubeSpan: {}}", "did you mean machine.network.kubespan?"),
        ("machine: {hostname: a}", "did you mean machine.network.hostname?"),
        ("machine: {network: {discovery: {}}}", "did you mean cluster.discovery?"),
        ("machine: {network: {vip: {}}}", "did you mean machine.network.interfaces[].vip?"),
        (
            "machine: {network: {mtu: 9000}}",
            "did you mean machine.network.interfaces[].mtu or machine.network.kubespan.mtu?",
        ),
        (
            "machine: {network: {interfaces: [{interface: a, gateway: 10.0.0.1}]}}",
            "did you mean machine.network.interfaces[].routes[].gateway?",
        ),
        (
            "machine: {network: {kubespan: {endpoints: []}}}",
            "did you mean machine.network.kubespan.filters.endpoints?",
        ),
        ("machine: {podNetworks: []}", "did you mean podNetworks of a NodespanConfig document?"),
        ("cluster: {leaseTTL: 5s}", "did you mean vip.leaseTTL of a NodespanConfig document?"),
        (
            "apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\nleaseTTL: 5s",
            "did you mean vip.leaseTTL?",
        ),
        # A misspelling is nearer than a place.
        ("machine: {network: {interfaces: [{interface: a, address: []}]}}", 'did you mean "addresses"?'),
        # In too many places to name them.
        ("machine: {time: {enabled: true}}", "known here: disabled, servers, bootTimeout"),
    ],
)
def test_a_misplaced_key_is_an_error_that_names_its_place(text: str, hint: str) -> None:
    (problem,) = load(text).errors
    assert problem.message.startswith("unknown key")
    assert problem.hint == hint


def test_keys_of_other_systems_are_ignored_wherever_they_are() -> None:
    loaded = load("cluster: {network: {cni: {}}, etcd: {}}\nmachine: {controlPlane: {}}\n")
    assert loaded.problems == ()
    assert [ignored.path for ignored in loaded.ignored] == [
        "cluster.network.cni",
        "cluster.etcd",
        "machine.controlPlane",
    ]


def test_every_key_of_the_main_document_has_a_place() -> None:
    places = places_of(MainDocument)
    assert places["vlanid"] == ("machine.network.interfaces[].vlans[].vlanId",)
    assert places["machine"] == ("machine",)
