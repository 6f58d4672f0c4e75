"""Names of members on a machine with systemd: what glibc and systemd-resolved say of them, in each mode.

The controllers run here, on the files and programs of the machine; its server for names of members is dnsmasq.
"""

from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.host.commands import SystemCommands
from nodespan.controllers.host.etc_file import EtcFileController
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.managed_files import ManagedFiles
from nodespan.controllers.host.names.member_name import MemberNameController
from nodespan.controllers.host.names.name_service import NameServiceController
from nodespan.controllers.host.network_etc_file import NetworkEtcFileController
from nodespan.resources.cluster import LOCAL, Affiliate, KubeSpanAffiliate
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    Machine,
    MachineConfig,
    MachineConfigSpec,
    MainDocument,
    NodespanConfig,
)
from nodespan.resources.config.nodespan import NameMode, NameSettings
from nodespan.resources.kubespan import KubeSpanIdentity, KubeSpanIdentitySpec
from nodespan.resources.network import (
    DNS_RUNNING,
    HOST_DNS_CONFIG_ID,
    DNSResolveCache,
    DNSResolveCacheSpec,
    HostDNSConfig,
    HostDNSConfigSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
)
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.cluster.samples import affiliate
from tests.support.process import eventually
from tests.support.process import running as program
from tests.support.systemd import Booted, booted, no_systemd

pytestmark = [
    pytest.mark.needs_program("unshare", "nsenter", "setpriv", "dpkg-deb", "dnsmasq"),
    pytest.mark.skipif(no_systemd() is not None, reason=no_systemd() or ""),
]

SERVER, OTHER_SERVER = "127.0.0.153", "127.0.0.155"
IN_MESH, OF_OTHERS = "fd12:3456:789a:bc02::5", "192.0.2.1"
DNSMASQ = ("dnsmasq", "--keep-in-foreground", "--pid-file", "--conf-file=/dev/null", "--no-resolv", "--no-hosts")


@attrs.frozen
class InMachine:
    """Commands run in the machine."""

    machine: Booted

    async def run(self, *command: str) -> str:
        return await SystemCommands().run(*self.machine.wrapper, *command)


def settings(mode: NameMode) -> MachineConfigSpec:
    names = NameSettings(mode=mode, domain="mesh.internal")
    return MachineConfigSpec(main=MainDocument(machine=Machine()), nodespan=NodespanConfig(names=names))


def said(machine: Booted, *question: str) -> list[str]:
    """What a program of the machine gets for a name or an address: address and names, nothing for none."""
    return machine.run("sh", "-c", 'getent hosts "$0" || true', *question).split()


def registered(machine: Booted) -> str:
    return machine.run("sh", "-c", "resolvectl dns kubespan; resolvectl domain kubespan")


async def join(node: Node, name: str, address: str) -> None:
    spec = attrs.evolve(affiliate(f"id-{name}"), kubespan=KubeSpanAffiliate(public_key=name, address=address))
    await node.put(Affiliate, f"id-{name}", attrs.evolve(spec, hostname=name, nodename=name))


async def test_programs_resolve_names_of_members_and_the_machine_is_as_before_in_the_end(tmp_path: Path) -> None:
    async with booted(tmp_path) as machine:
        network = machine.network
        network.run("ip", "link", "add", "kubespan", "type", "veth", "peer", "name", "other")
        network.run("ip", "address", "add", "fd12:3456:789a:bc02::1/128", "dev", "kubespan", "nodad")
        for link in ("kubespan", "other"):
            network.run("ip", "link", "set", link, "up")
        index = int(network.run("ip", "-oneline", "link", "show", "kubespan").partition(":")[0])
        machine.configure(
            "/etc/systemd/resolved.conf", f"[Resolve]\nLLMNR=no\nMulticastDNS=no\nDNS={OTHER_SERVER}\nDNSSEC=no\n"
        )
        machine.run("systemctl", "enable", "--quiet", "--now", "systemd-resolved")
        before = machine.tree()
        host = Host(root=Path(f"/proc/{machine.pid}/root"), commands=InMachine(machine))
        names = NameServiceController(host, tmp_path, look_interval=0.2, retry_interval=0.2)
        files = EtcFileController(
            ManagedFiles(host, tmp_path / "originals"), leaving=trio.Event(), poll_interval=0.2, grace=0.0
        )
        members = ("--address=/mesh.internal/", f"--host-record=db.mesh.internal,{IN_MESH}")
        async with (
            program(*DNSMASQ, "--bind-interfaces", f"--listen-address={SERVER}", *members, namespace=network),
            program(
                *(*DNSMASQ, "--bind-interfaces", f"--listen-address={OTHER_SERVER}"),
                *("--address=/corp.example/192.0.2.1", "--address=/mesh.internal/192.0.2.66"),
                namespace=network,
            ),
            running(names, files, MemberNameController(host), NetworkEtcFileController(host)) as node,
        ):
            # By /etc/hosts.
            await node.put(MachineConfig, MACHINE_CONFIG_ID, settings(NameMode.HOSTS))
            await join(node, "db", IN_MESH)
            await eventually(lambda: said(machine, "db") == [IN_MESH, "db.mesh.internal", "db"])
            assert said(machine, IN_MESH) == [IN_MESH, "db.mesh.internal", "db"]
            await join(node, "web", "fd12:3456:789a:bc02::6")
            await eventually(lambda: said(machine, "web")[:1] == ["fd12:3456:789a:bc02::6"])
            await node.destroy(Affiliate, "id-db")
            await eventually(lambda: "db" not in machine.read("/etc/hosts"))
            await node.put(MachineConfig, MACHINE_CONFIG_ID, settings(NameMode.OFF))
            await eventually(lambda: machine.tree() == before)
            # By systemd-resolved: its other server says something else of the domain, and is asked for all the rest.
            await eventually(lambda: said(machine, "www.corp.example")[:1] == [OF_OTHERS])
            await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(subnet="fd12:3456:789a:bc02::/64"))
            await node.put(LinkStatus, "kubespan", LinkStatusSpec(index=index))
            await node.put(
                HostDNSConfig,
                HOST_DNS_CONFIG_ID,
                HostDNSConfigSpec(enabled=True, listen_addresses=(f"{SERVER}:53",), resolve_member_names=True),
            )
            await node.put(DNSResolveCache, f"udp-{SERVER}:53", DNSResolveCacheSpec(status=DNS_RUNNING))
            await node.put(MachineConfig, MACHINE_CONFIG_ID, settings(NameMode.RESOLVED))
            await eventually(lambda: said(machine, "db.mesh.internal")[:1] == [IN_MESH])
            assert said(machine, "db")[:1] == [IN_MESH]
            assert said(machine, IN_MESH) == [IN_MESH, "db.mesh.internal"]
            assert said(machine, "www.corp.example")[:1] == [OF_OTHERS]
            # It is started again, or told otherwise by somebody.
            machine.run("systemctl", "restart", "systemd-resolved")
            await eventually(lambda: said(machine, "db.mesh.internal")[:1] == [IN_MESH])
            machine.run("resolvectl", "revert", "kubespan")
            await eventually(lambda: said(machine, "db.mesh.internal")[:1] == [IN_MESH])
            await eventually(lambda: node.state.list(NetworkProblem) == [])
        # The agent has ended.
        assert SERVER not in registered(machine)
        assert "mesh.internal" not in registered(machine)
        assert machine.tree() == before
