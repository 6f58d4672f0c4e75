"""What the node's own DNS server does, by the configuration and the address in the mesh."""

import attrs
import pytest

from nodespan.controllers.config.loading import load
from nodespan.controllers.dns.host_dns_config import HostDNSConfigController, host_dns_config
from nodespan.resources.cluster import LOCAL
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.kubespan import KubeSpanIdentity, KubeSpanIdentitySpec
from nodespan.resources.network import HOST_DNS_CONFIG_ID, HostDNSConfig, HostDNSConfigSpec
from nodespan.runtime.testing import running

IDENTITY = KubeSpanIdentitySpec(address="fd00:db8::1/128", subnet="fd00:db8::/64")
ENABLED = HostDNSConfigSpec(enabled=True, listen_addresses=("127.0.0.153:53",), mesh_subnet="fd00:db8::/64")
MAIN = "machine: {features: {hostDNS: {enabled: true, resolveMemberNames: true}}}\n"


def document(kind: str, body: str) -> str:
    return f"apiVersion: v1alpha1\nkind: {kind}\n{body}\n"


def config(text: str) -> MachineConfigSpec:
    loaded = load(text)
    assert loaded.problems == ()
    return loaded.config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("machine: {}\n", HostDNSConfigSpec()),
        ("machine: {features: {hostDNS: {enabled: false}}}\n", HostDNSConfigSpec()),
        ("machine: {features: {hostDNS: {enabled: true}}}\n", ENABLED),
        (MAIN, attrs.evolve(ENABLED, resolve_member_names=True)),
        (document("ResolverConfig", "hostDNS: {enabled: true}"), ENABLED),
        (
            MAIN + "---\n" + document("ResolverConfig", "searchDomains: {domains: [a.example]}"),
            attrs.evolve(ENABLED, resolve_member_names=True),
        ),
    ],
)
def test_the_document_counts_where_it_enables_and_else_the_main_one(text: str, expected: HostDNSConfigSpec) -> None:
    assert host_dns_config(config(text), IDENTITY) == expected


def test_the_mesh_is_answered_only_where_that_is_configured_and_there_is_one() -> None:
    own = "---\napiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\n"
    spec = config(MAIN + own + "hostDNS: {mesh: true, listen: ['127.0.0.53:53'], rebindingAllowed: [Corp.Example.]}\n")
    found = host_dns_config(spec, IDENTITY)
    assert found == HostDNSConfigSpec(
        enabled=True,
        listen_addresses=("127.0.0.53:53", "[fd00:db8::1]:53"),
        resolve_member_names=True,
        mesh_subnet="fd00:db8::/64",
        rebinding_allowed=("corp.example",),
    )
    assert host_dns_config(spec, None).listen_addresses == ("127.0.0.53:53",)
    assert host_dns_config(spec, None).mesh_subnet == ""
    assert host_dns_config(spec, KubeSpanIdentitySpec(subnet="fd00:db8::/64")).mesh_subnet == ""
    # What other servers may answer does not depend on who is answered.
    without = host_dns_config(config(MAIN), IDENTITY)
    assert (without.listen_addresses, without.mesh_subnet) == (("127.0.0.153:53",), "fd00:db8::/64")


async def test_the_resource_follows_the_configuration() -> None:
    async with running(HostDNSConfigController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config(MAIN))
        await node.eventually(HostDNSConfig, HOST_DNS_CONFIG_ID, lambda found: found.spec.enabled)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config("machine: {}\n"))
        await node.eventually(HostDNSConfig, HOST_DNS_CONFIG_ID, lambda found: not found.spec.enabled)
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(HostDNSConfig, HOST_DNS_CONFIG_ID)
