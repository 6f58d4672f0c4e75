"""How the layers of names, resolvers and time servers are merged."""

import pytest

from nodespan.controllers.network.merge.host_rules import merge_hostnames, merge_resolvers, merge_time_servers
from nodespan.resources.network import ConfigLayer, HostnameSpecSpec, ResolverSpecSpec, TimeServerSpecSpec

DEFAULT, CMDLINE, PLATFORM, OPERATOR, CONFIGURATION = ConfigLayer


def hostname(layer: ConfigLayer, name: str) -> HostnameSpecSpec:
    return HostnameSpecSpec(hostname=name, layer=layer)


def resolvers(
    layer: ConfigLayer, *servers: str, domains: tuple[str, ...] = (), overridden: bool = False
) -> ResolverSpecSpec:
    return ResolverSpecSpec(
        dns_servers=servers, layer=layer, search_domains=domains, search_domains_overridden=overridden
    )


def times(layer: ConfigLayer, *servers: str, nts: bool = False) -> TimeServerSpecSpec:
    return TimeServerSpecSpec(time_servers=servers, use_nts=nts, layer=layer)


@pytest.mark.parametrize(
    ("specs", "name"),
    [
        ([hostname(DEFAULT, "a")], "a"),
        ([hostname(DEFAULT, "a"), hostname(OPERATOR, "b"), hostname(CONFIGURATION, "c")], "c"),
        ([hostname(DEFAULT, "a"), hostname(OPERATOR, "b"), hostname(OPERATOR, "c")], "b"),
    ],
)
def test_the_highest_name_wins_and_of_equal_ones_the_first(specs: list[HostnameSpecSpec], name: str) -> None:
    assert merge_hostnames(specs).hostname == name


@pytest.mark.parametrize(
    ("specs", "servers", "domains"),
    [
        ([resolvers(DEFAULT, "1.1.1.1", domains=("d",))], ["1.1.1.1"], ["d"]),
        # Equal layers add up.
        (
            [resolvers(OPERATOR, "10.0.0.1", domains=("a",)), resolvers(OPERATOR, "10.0.0.2", domains=("a", "b"))],
            ["10.0.0.1", "10.0.0.2"],
            ["a", "b"],
        ),
        # The configuration replaces what it has.
        (
            [resolvers(DEFAULT, "1.1.1.1", "2606::1", domains=("d",)), resolvers(CONFIGURATION, "10.0.0.1")],
            ["10.0.0.1"],
            ["d"],
        ),
        (
            [resolvers(OPERATOR, "10.0.0.1"), resolvers(CONFIGURATION, domains=("a",), overridden=True)],
            ["10.0.0.1"],
            ["a"],
        ),
        ([resolvers(OPERATOR, domains=("a",)), resolvers(CONFIGURATION, overridden=True)], [], []),
        # Others keep the family that they lack.
        (
            [resolvers(DEFAULT, "1.1.1.1", "2606::1", domains=("d",)), resolvers(OPERATOR, "10.0.0.1", domains=("o",))],
            ["10.0.0.1", "2606::1"],
            ["o", "d"],
        ),
        ([resolvers(CMDLINE, "10.0.0.1"), resolvers(OPERATOR, "fd00::1")], ["fd00::1", "10.0.0.1"], []),
        ([resolvers(CMDLINE, "10.0.0.1"), resolvers(OPERATOR)], ["10.0.0.1"], []),
    ],
)
def test_resolvers(specs: list[ResolverSpecSpec], servers: list[str], domains: list[str]) -> None:
    merged = merge_resolvers(specs)
    assert list(merged.dns_servers) == [server.addr for server in merged.name_servers] == servers
    assert list(merged.search_domains) == domains
    assert merged.layer is specs[-1].layer


@pytest.mark.parametrize(
    ("specs", "merged"),
    [
        ([times(DEFAULT, "a", nts=True), times(CONFIGURATION, "b")], times(CONFIGURATION, "b")),
        ([times(OPERATOR, "a"), times(OPERATOR, "b", "a")], times(OPERATOR, "a", "b")),
        ([times(OPERATOR, "a", nts=True), times(OPERATOR, "b")], times(OPERATOR, "a", "b")),
        ([times(OPERATOR, "a", nts=True), times(OPERATOR, "b", nts=True)], times(OPERATOR, "a", "b", nts=True)),
    ],
)
def test_time_servers(specs: list[TimeServerSpecSpec], merged: TimeServerSpecSpec) -> None:
    assert merge_time_servers(specs) == merged
