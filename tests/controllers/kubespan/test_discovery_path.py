"""The way to the discovery services never leads into the tunnel that they serve."""

from collections.abc import Iterable

import pytest

from nodespan.controllers.kubespan.data_path import DISCOVERY_SET
from nodespan.controllers.kubespan.discovery_path import (
    LOOK_UP_INTERVAL,
    DiscoveryPathController,
    ways,
    ways_to_etcd,
)
from nodespan.controllers.kubespan.manager import (
    ManagerController,
    discovery_rules,
    etcd_rules,
    guard_chain,
    outgoing_chain,
)
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    DiscoveryConfig,
    DiscoveryConfigSpec,
    DiscoveryService,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
)
from nodespan.resources.network import NfTablesChain, NfTablesSetElements, Verdict
from nodespan.resources.runtime import EnvironmentSpec
from nodespan.runtime.testing.kit import running
from tests.controllers.network.config.house import config

ID = "kubespan_discovery/discovery"
ON = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", mtu=1420)


def services(*endpoints: str) -> DiscoveryConfigSpec:
    return DiscoveryConfigSpec(service_endpoints=tuple(DiscoveryService(endpoint=each) for each in endpoints))


@pytest.mark.parametrize(
    ("endpoints", "variables", "found"),
    [
        ((), (), ()),
        (("203.0.113.10:3000",), (), (("203.0.113.10", 3000),)),
        (("[2001:db8::1]:443", "d.example.org:443"), (), (("2001:db8::1", 443), ("d.example.org", 443))),
        (
            ("d.example.org:443",),
            ("https_proxy=http://user:secret@proxy.example.org:3128",),
            (("d.example.org", 443), ("proxy.example.org", 3128)),
        ),
        (("d.example.org:443",), ("https_proxy=http://proxy", "no_proxy=example.org"), (("d.example.org", 443),)),
        (("d.example.org:443",), ("https_proxy=http://",), (("d.example.org", 443),)),
    ],
)
def test_the_ways_are_the_services_and_the_proxies(
    endpoints: tuple[str, ...], variables: tuple[str, ...], found: tuple[tuple[str, int], ...]
) -> None:
    assert ways(services(*endpoints), EnvironmentSpec(variables=variables)) == found


def test_a_relay_is_reached_outside_of_the_tunnel_too() -> None:
    relays = ("https://relay.example.org:3443", "not a URL", "http://203.0.113.10:3000")
    found = (("203.0.113.10", 3000), ("relay.example.org", 3443))
    assert ways(services("203.0.113.10:3000"), None, relays) == found
    assert ways(None, None, relays) == found[::-1]


def test_without_a_configuration_there_is_no_way() -> None:
    assert ways(None, None) == ()
    assert discovery_rules(()) == ()


def test_connections_to_a_service_and_its_answers_are_neither_marked_nor_held_back() -> None:
    rules = discovery_rules((443, 3000, 443))
    assert {rule.verdict for rule in rules} == {Verdict.ACCEPT}
    for chain in (outgoing_chain(1420, (443, 3000)), guard_chain("fd00::/64", (443, 3000))):
        place = chain.rules.index(rules[0])
        assert chain.rules[place + 1] == rules[1]
        matches = [rule.match_destination_address for rule in chain.rules]
        to_peers = [n for n, match in enumerate(matches) if match is not None and match.set_name != DISCOVERY_SET]
        assert place + 1 < min(to_peers)


def machine(*endpoints: str) -> MachineConfigSpec:
    text = ", ".join(f'"{each}"' for each in endpoints)
    return config(f"apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\netcd: {{endpoints: [{text}]}}\n")


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ("https://203.0.113.10:2379", (("203.0.113.10", 2379),)),
        ("https://etcd.example.org:2383", (("etcd.example.org", 2383),)),
        ("https://[2001:db8::1]:2379", (("2001:db8::1", 2379),)),
        # In clear text it stays in the tunnel.
        ("http://203.0.113.10:2379", ()),
        # Inside the mesh it is reached through the tunnel anyway.
        ("https://[fd00::7]:2379", ()),
    ],
)
def test_etcd_outside_of_the_mesh_is_reached_outside_of_the_tunnel_if_it_is_encrypted(
    endpoint: str, found: tuple[tuple[str, int], ...]
) -> None:
    identity = KubeSpanIdentitySpec(address="fd00::1/128", subnet="fd00::/64", private_key="p", public_key="q")
    assert ways_to_etcd(machine(endpoint), identity) == found
    assert ways_to_etcd(None, None) == ()


@pytest.mark.virtual_clock
async def test_the_way_to_etcd_is_in_the_set_and_in_the_chains_and_goes_with_the_mesh() -> None:
    id = "kubespan_etcd/etcd"
    async with running(DiscoveryPathController(), ManagerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ON)
        identity = KubeSpanIdentitySpec(address="fd00::1/128", subnet="fd00::/64", private_key="p", public_key="q")
        await node.put(KubeSpanIdentity, LOCAL, identity)
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine("https://203.0.113.11:2379", "http://192.0.2.1:2380"))
        await node.eventually(NfTablesSetElements, id, lambda found: found.spec.prefixes == ("203.0.113.11",))
        for name in ("kubespan_outgoing", "kubespan_guard"):
            await node.eventually(NfTablesChain, name, lambda found: set(etcd_rules((2379,))) <= set(found.spec.rules))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine())
        await node.gone(NfTablesSetElements, id)
        await node.eventually(NfTablesChain, "kubespan_guard", lambda found: "kubespan_etcd" not in str(found.spec))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine("https://203.0.113.11:2379"))
        await node.eventually(NfTablesSetElements, id)
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec())
        await node.gone(NfTablesSetElements, id)


@pytest.mark.virtual_clock
async def test_the_addresses_follow_the_configuration_and_the_names() -> None:
    answers: dict[str, list[str]] = {"d.example.org": ["192.0.2.1"]}

    async def look_up(host: str) -> Iterable[str]:
        if host not in answers:
            raise OSError("unknown")
        return answers[host]

    async with running(DiscoveryPathController(look_up=look_up)) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ON)
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, services("203.0.113.10:3000", "d.example.org:443"))
        both = ("192.0.2.1", "203.0.113.10")
        await node.eventually(NfTablesSetElements, ID, lambda found: found.spec.prefixes == both)
        # The service moves, and its name with it.
        answers["d.example.org"] = ["192.0.2.2"]
        moved = ("192.0.2.2", "203.0.113.10")
        await node.eventually(
            NfTablesSetElements, ID, lambda found: found.spec.prefixes == moved, within=2 * LOOK_UP_INTERVAL
        )
        # Without an answer the last one counts.
        del answers["d.example.org"]
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, services("d.example.org:443"))
        await node.eventually(NfTablesSetElements, ID, lambda found: found.spec.prefixes == ("192.0.2.2",))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec())
        await node.gone(NfTablesSetElements, ID)


async def test_the_chains_know_the_ports_of_the_services() -> None:
    async with running(ManagerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ON)
        identity = KubeSpanIdentitySpec(address="fd00::1/128", subnet="fd00::/64", private_key="p", public_key="q")
        await node.put(KubeSpanIdentity, LOCAL, identity)
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, services("203.0.113.10:3000"))
        for name in ("kubespan_outgoing", "kubespan_guard"):
            await node.eventually(
                NfTablesChain, name, lambda found: set(discovery_rules((3000,))) <= set(found.spec.rules)
            )
