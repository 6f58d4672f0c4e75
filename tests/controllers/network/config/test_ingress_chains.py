"""The chains of the ingress firewall: their rules in order, and what they do with packets."""

from ipaddress import ip_address
from typing import Any

import pytest

from nodespan.controllers.common.packet_verdict import Packet, verdict
from nodespan.controllers.config.loading import load
from nodespan.controllers.network.config.ingress_chains import ingress_chains
from nodespan.controllers.network.config.nftables_chain_config import NfTablesChainConfigController
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.network import (
    ROUTED_ADDRESSES_ID,
    ROUTED_NO_K8S_ID,
    NfTablesChain,
    NfTablesChainSpec,
    NodeAddress,
    NodeAddressSpec,
    Verdict,
)
from nodespan.runtime.codec.plain import spec_to_plain
from nodespan.runtime.testing.kit import running

OWN = ("10.3.4.5/24", "2001:db8::5/64")
BLOCK = "{apiVersion: v1alpha1, kind: NetworkDefaultActionConfig, ingress: block}"
ACCEPT = BLOCK.replace("block", "accept")
KUBELET = """
apiVersion: v1alpha1
kind: NetworkRuleConfig
name: kubelet-ingress
portSelector: {ports: [10250], protocol: tcp}
ingress:
  - {subnet: 10.0.0.0/8, except: 10.3.0.0/16}
  - {subnet: 192.168.0.0/16}
"""
APID = """
apiVersion: v1alpha1
kind: NetworkRuleConfig
name: apid-ingress
portSelector: {ports: [50000], protocol: tcp}
ingress: [{subnet: 0.0.0.0/0}]
"""
PODS = """
apiVersion: v1alpha1
kind: KubeNetworkConfig
podSubnets: [10.244.0.0/16, "fc00:db8:10::/56"]
serviceSubnets: [10.96.0.0/12, "fc00:db8:20::/112"]
"""
IPV4_PODS = PODS.replace(', "fc00:db8:10::/56"', "").replace(', "fc00:db8:20::/112"', "")
HOST_DNS = """
apiVersion: v1alpha1
kind: ResolverConfig
hostDNS: {enabled: true, forwardKubeDNSToHost: true}
"""


def config(*documents: str) -> MachineConfigSpec:
    loaded = load("\n---\n".join(documents))
    assert loaded.errors == ()
    return loaded.config


def chains(*documents: str, own: tuple[str, ...] = OWN) -> dict[str, NfTablesChainSpec]:
    return ingress_chains(config(*documents), own)


def rule(protocol: str, *ports: str, sources: str = "", name: str = "a") -> str:
    return (
        f"apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: {name}\n"
        f"portSelector: {{ports: [{', '.join(ports)}], protocol: {protocol}}}\ningress: [{sources}]\n"
    )


# In words, so that a table shows the order.


def words(chain: NfTablesChainSpec) -> list[str]:
    return [" ".join([*_words(spec_to_plain(rule)), rule.verdict or ""]) for rule in chain.rules]


def _words(plain: Any) -> list[str]:
    assert plain["anonymousCounter"] is True
    found: list[str] = []
    for key, value in plain.items():
        match key:
            case "matchIIfName":
                found.append(f"iif {value['operator']} {','.join(value['interfaceName'])}")
            case "matchConntrackState":
                found.append(",".join(value["states"]))
            case "matchSourceAddress" | "matchDestinationAddress":
                end = "src" if "Source" in key else "dst"
                text = ",".join(value["includeSubnets"])
                text += "".join(f" but {each}" for each in value["excludeSubnets"])
                found.append(f"{end} {'not ' if value['invert'] else ''}{text}")
            case "matchDestinationType":
                found.append(f"type {'not ' if value['invert'] else ''}{','.join(value['types'])}")
            case "matchLayer4":
                found.append(value["protocol"])
                found += [
                    f"{end} {each['lo']}-{each['hi']}"
                    for end, port in (("sport", "matchSourcePort"), ("dport", "matchDestinationPort"))
                    for each in value.get(port, {"ranges": ()})["ranges"]
                ]
                found += value.get("matchICMPType", {"types": ()})["types"]
            case "matchLimit":
                found.append(f"{value['packetRatePerSecond']}/s")
    return found


ALWAYS = ["iif == lo,siderolink,kubespan accept", "established,related accept", "invalid drop"]
DISCOVERY = "icmpv6 nd-neighbor-solicit nd-neighbor-advert nd-router-solicit nd-router-advert accept"
DHCPV6 = "src fe80::/10 udp sport 547-547 dport 546-546 accept"
BLOCKING = [
    *ALWAYS,
    DISCOVERY,
    DHCPV6,
    "icmp timestamp-request timestamp-reply address-mask-request address-mask-reply drop",
    "icmp 5/s accept",
    "icmpv6 5/s accept",
]
INSIDE = "10.244.0.0/16,fc00:db8:10::/56,10.96.0.0/12,fc00:db8:20::/112"
IPV4_INSIDE = "10.244.0.0/16,10.96.0.0/12"
DNS = "169.254.116.108/32"
DNS6 = "fd54:616c:6f73::204f:5320:444e:531/128"
SOURCES = "10.0.0.0/8,192.168.0.0/16 but 10.3.0.0/16"


@pytest.mark.parametrize("documents", [(), (ACCEPT,), (PODS,)])
def test_without_rules_and_blocks_there_are_no_chains(documents: tuple[str, ...]) -> None:
    assert chains(*documents) == {}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (
            (KUBELET, APID),
            [*ALWAYS, f"src not {SOURCES} tcp dport 10250-10250 drop", "src not 0.0.0.0/0 tcp dport 50000-50000 drop"],
        ),
        (
            (BLOCK, KUBELET, APID),
            [*BLOCKING, f"src {SOURCES} tcp dport 10250-10250 accept", "src 0.0.0.0/0 tcp dport 50000-50000 accept"],
        ),
        ((BLOCK,), BLOCKING),
        ((BLOCK, PODS), [*BLOCKING, f"src {INSIDE} dst {INSIDE} accept"]),
        (
            (BLOCK, IPV4_PODS, HOST_DNS),
            [
                *BLOCKING,
                f"src {IPV4_INSIDE} dst {DNS} udp dport 53-53 accept",
                f"src {IPV4_INSIDE} dst {DNS} tcp dport 53-53 accept",
                f"src {IPV4_INSIDE} dst {IPV4_INSIDE} accept",
            ],
        ),
        (
            (BLOCK, PODS, HOST_DNS),
            [
                *BLOCKING,
                f"src {INSIDE} dst {DNS},{DNS6} udp dport 53-53 accept",
                f"src {INSIDE} dst {DNS},{DNS6} tcp dport 53-53 accept",
                f"src {INSIDE} dst {INSIDE} accept",
            ],
        ),
        # Without pods nobody asks the host's DNS; with rules only, pods need none.
        ((BLOCK, HOST_DNS), BLOCKING),
        ((PODS, HOST_DNS, APID), [*ALWAYS, "src not 0.0.0.0/0 tcp dport 50000-50000 drop"]),
        (
            (rule("udp", "1-2", "53", "8000-8100"),),
            [*ALWAYS, "src not  udp dport 1-2 dport 53-53 dport 8000-8100 drop"],
        ),
        (
            (rule("tcp", "443", "80", "8000-8100", sources="{subnet: 10.1.2.3/24}"),),
            [*ALWAYS, "src not 10.1.2.0/24 tcp dport 80-80 dport 443-443 dport 8000-8100 drop"],
        ),
        # The original compares ports with the checksum of ICMP.
        (
            (rule("icmp", "0-65535", sources="{subnet: 10.0.0.0/8}"),),
            [*ALWAYS, "src not 10.0.0.0/8 icmp drop"],
        ),
        (
            (rule("icmpv6", "1", sources="{subnet: 'fd00::/8'}"),),
            [*ALWAYS, DISCOVERY, "src not fd00::/8 icmpv6 drop"],
        ),
        (("apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: a\nportSelector: {ports: [1]}",), ALWAYS),
    ],
)
def test_the_rules_of_the_chain_of_incoming_packets(documents: tuple[str, ...], expected: list[str]) -> None:
    chain = chains(*documents)["ingress"]
    assert words(chain) == expected
    policy = Verdict.DROP if BLOCK in documents else Verdict.ACCEPT
    assert (chain.type, chain.hook, chain.priority.number, chain.policy) == ("filter", "input", -140, policy)
    assert str(chain.priority) == "NfTablesChainPriority(-140)"
    assert chain.guard


NOT_LOCAL = "type not local,anycast accept"
TO_OTHERS = f"dst not 10.3.4.5/32,2001:db8::5/128 {NOT_LOCAL}"


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        (
            (KUBELET, APID),
            [
                ALWAYS[0],
                TO_OTHERS,
                f"new src not {SOURCES} tcp dport 10250-10250 drop",
                "new src not 0.0.0.0/0 tcp dport 50000-50000 drop",
            ],
        ),
        (
            (BLOCK, KUBELET, APID),
            [
                ALWAYS[0],
                TO_OTHERS,
                DHCPV6,
                f"new src {SOURCES} tcp dport 10250-10250 accept",
                "new src 0.0.0.0/0 tcp dport 50000-50000 accept",
                "new tcp drop",
                "new udp drop",
            ],
        ),
        # Addresses of services, and of bridges of pods, can be the node's: pods may use them.
        (
            (BLOCK, PODS, HOST_DNS),
            [
                *(ALWAYS[0], TO_OTHERS, DHCPV6),
                *(f"src {INSIDE} dst {DNS},{DNS6} {protocol} dport 53-53 accept" for protocol in ("udp", "tcp")),
                *(f"src {INSIDE} dst {INSIDE} accept", "new tcp drop", "new udp drop"),
            ],
        ),
        ((PODS, APID), [ALWAYS[0], TO_OTHERS, "new src not 0.0.0.0/0 tcp dport 50000-50000 drop"]),
    ],
)
def test_the_rules_of_the_chain_before_addresses_are_translated(
    documents: tuple[str, ...], expected: list[str]
) -> None:
    chain = chains(*documents)["prerouting"]
    assert words(chain) == expected
    assert (chain.hook, chain.priority.number, chain.policy) == ("prerouting", -110, Verdict.ACCEPT)
    # The kernel's routes say which addresses are the node's; the list is for those in other tables.
    assert words(chains(*documents, own=())["prerouting"]) == [expected[0], NOT_LOCAL, *expected[2:]]


@pytest.mark.parametrize(
    ("packet", "accepts", "blocks"),
    [
        # Port 10250 for 10.0.0.0/8 without 10.3.0.0/16, and for 192.168.0.0/16; port 50000 for all of IPv4.
        ({"source": "10.1.2.3", "port": 10250}, True, True),
        ({"source": "10.3.2.3", "port": 10250}, False, False),
        ({"source": "192.168.7.7", "port": 10250}, True, True),
        ({"source": "203.0.113.7", "port": 10250}, False, False),
        ({"source": "2001:db8::9", "port": 10250}, False, False),
        ({"source": "203.0.113.7", "port": 50000}, True, True),
        ({"source": "2001:db8::9", "port": 50000}, False, False),
        ({"source": "203.0.113.7", "port": 22}, True, False),
        ({"source": "203.0.113.7", "port": 22, "state": "established"}, True, True),
        ({"source": "203.0.113.7", "port": 22, "state": "related"}, True, True),
        ({"source": "203.0.113.7", "port": 22, "state": "invalid"}, False, False),
        ({"source": "203.0.113.7", "port": 10250, "protocol": "udp"}, True, False),
        ({"source": "203.0.113.7", "protocol": "icmp", "icmp_type": "echo-request"}, True, True),
        ({"source": "203.0.113.7", "protocol": "icmp", "icmp_type": "timestamp-request"}, True, False),
        ({"source": "fe80::1", "protocol": "icmpv6", "icmp_type": "nd-router-advert"}, True, True),
        (
            {"source": "fe80::1", "protocol": "udp", "source_port": 547, "port": 546, "destination": "fe80::5"},
            True,
            True,
        ),
        ({"source": "2001:db8::1", "protocol": "udp", "source_port": 547, "port": 546}, True, False),
        ({"source": "203.0.113.7", "protocol": "47"}, True, False),
        # An address of the node that no list has.
        ({"source": "203.0.113.7", "port": 10250, "destination": "172.17.0.1"}, False, False),
        ({"source": "10.1.2.3", "port": 10250, "destination": "172.17.0.1"}, True, True),
        ({"source": "203.0.113.7", "port": 22, "link": "kubespan"}, True, True),
        ({"source": "127.0.0.1", "port": 22, "link": "lo"}, True, True),
    ],
)
def test_what_becomes_of_a_packet(packet: dict[str, Any], accepts: bool, blocks: bool) -> None:
    source = ip_address(packet.pop("source"))
    destination = packet.pop("destination", "10.3.4.5" if source.version == 4 else "2001:db8::5")
    given = Packet(source=source, destination=ip_address(destination), **packet)
    for documents, expected in (((KUBELET, APID), accepts), ((BLOCK, KUBELET, APID), blocks)):
        found = verdict(chains(*documents).values(), given)
        assert found is (Verdict.ACCEPT if expected else Verdict.DROP), documents[0]


def test_two_rules_that_close_a_port_leave_what_both_name() -> None:
    both = (
        rule("tcp", "80", sources="{subnet: 10.0.0.0/8}"),
        rule("tcp", "80", sources="{subnet: 10.1.0.0/16}", name="b"),
    )
    for source, expected in (("10.1.2.3", Verdict.ACCEPT), ("10.2.2.3", Verdict.DROP)):
        packet = Packet(source=ip_address(source), destination=ip_address("10.3.4.5"), port=80)
        assert verdict(chains(*both).values(), packet) is expected


def test_what_did_not_change_is_the_same_object() -> None:
    before, after = (chains(BLOCK, KUBELET, other)["ingress"] for other in (APID, rule("tcp", "1")))
    assert before.rules[-2] is after.rules[-2]


async def test_the_controller_follows_the_configuration_and_the_addresses() -> None:
    async with running(NfTablesChainConfigController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(BLOCK, APID))
        await node.eventually(NfTablesChain, "ingress", lambda chain: chain.spec.policy is Verdict.DROP)
        await node.eventually(NfTablesChain, "prerouting", lambda chain: words(chain.spec)[1] == NOT_LOCAL)
        await node.put(NodeAddress, ROUTED_ADDRESSES_ID, NodeAddressSpec(addresses=("10.244.0.1/24", "10.3.4.5/24")))
        await node.eventually(NfTablesChain, "prerouting", lambda chain: "10.244.0.1/32" in words(chain.spec)[1])
        # The list without addresses of pods counts, if there is one.
        await node.put(NodeAddress, ROUTED_NO_K8S_ID, NodeAddressSpec(addresses=("10.3.4.5/24",)))
        await node.eventually(NfTablesChain, "prerouting", lambda chain: "10.244.0.1/32" not in words(chain.spec)[1])
        # Networks of pods that hold all addresses do not open the chain.
        await node.put(NodeAddress, ROUTED_NO_K8S_ID, NodeAddressSpec(addresses=()))
        await node.eventually(NfTablesChain, "prerouting", lambda chain: "10.244.0.1/32" in words(chain.spec)[1])
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(APID))
        await node.eventually(NfTablesChain, "ingress", lambda chain: chain.spec.policy is Verdict.ACCEPT)
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(ACCEPT))
        await node.gone(NfTablesChain, "ingress")
        await node.gone(NfTablesChain, "prerouting")
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(BLOCK))
        await node.eventually(NfTablesChain, "prerouting")
