"""A configuration comes true in a namespace by a real agent, and leaves nothing when it goes."""

import base64
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.network.apply.link_alias_spec import LinkAliasSpecController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.resources.network import LinkAliasSpec, LinkAliasSpecSpec, LinkStatus
from nodespan.runtime.testing.kit import running
from tests.support.agent import AgentProcess, agent
from tests.support.ip_state import IpState
from tests.support.monitor import watching
from tests.support.netns import Namespace, connect, namespace
from tests.support.process import eventually
from tests.support.tunnels import key_pair, link_name, show

pytestmark = pytest.mark.needs_link("veth", "bridge")

EMPTY = "machine: {type: worker}\n"


@attrs.frozen
class House(IpState):
    """An agent with a configuration file, in a namespace with two cables to another one."""

    served: AgentProcess
    file: Path

    def configure(self, text: str) -> None:
        """Replace the configuration, at once."""
        replacement = self.file.with_suffix(".new")
        replacement.write_text(text)
        replacement.rename(self.file)

    def problems(self) -> dict[str, str]:
        """What is wrong, by what it is about."""
        return {id: spec["message"] for id, spec in self.served.specs("networkproblems").items()}


@contextlib.contextmanager
def cables() -> Iterator[Namespace]:
    with namespace() as inside, namespace("far") as far:
        connect(inside, "eth0", far, "eth0")
        connect(inside, "eth1", far, "eth1")
        inside.run("ip", "link", "set", "eth0", "address", "02:00:00:77:00:01")
        yield inside


@contextlib.asynccontextmanager
async def house(directory: Path, text: str = EMPTY) -> AsyncIterator[House]:
    file = directory / "config.yaml"
    file.write_text(text)
    with cables() as inside:
        async with agent(directory, "--config", str(file), namespace=inside) as served:
            yield House(inside, served, file)


DEVICES = """
machine:
  type: worker
  network:
    interfaces:
      - deviceSelector: {hardwareAddr: "02:00:00:77:*"}
        addresses: [10.77.0.5/24, "fd77::5/64", 10.77.0.9]
        routes:
          - {gateway: 10.77.0.1, metric: 2048}
          - {network: 10.8.0.0/16, source: 10.77.0.5}
          - {network: "fd78::/64", gateway: "fd77::1"}
      - interface: br0
        bridge: {interfaces: [eth1]}
        addresses: [10.78.0.1/24]
"""
DOCUMENTS = """
apiVersion: v1alpha1
kind: VethConfig
name: veth-a
addresses: [{address: 192.0.2.1/30, routePriority: 77}]
routes: [{destination: 10.9.0.0/16, gateway: 192.0.2.2, table: "180"}]
peer:
  name: veth-b
  mtu: 1400
---
{apiVersion: v1alpha1, kind: LinkConfig, name: eth0, addresses: [{address: 10.77.0.5/24}]}
---
{apiVersion: v1alpha1, kind: RoutingRuleConfig, name: "1000", src: 10.77.0.0/24, table: "180"}
---
{apiVersion: v1alpha1, kind: RoutingRuleConfig, name: "1001", action: prohibit, fwMark: 32, fwMask: 96}
---
{apiVersion: v1alpha1, kind: BlackholeRouteConfig, name: 10.255.0.0/16}
---
{apiVersion: v1alpha1, kind: BlackholeRouteConfig, name: "fd99::/32", metric: 50}
"""


async def test_configured_devices_are_applied_and_removed_completely(tmp_path: Path) -> None:
    async with house(tmp_path) as node:
        before = await node.rest()
        node.configure(DEVICES)

        def is_as_configured() -> bool:
            assert node.addresses("eth0") == {"10.77.0.5/24", "fd77::5/64", "10.77.0.9/32"}
            assert node.addresses("br0") == {"10.78.0.1/24"}
            assert node.routes() == {("default", "10.77.0.1", "eth0"), ("10.8.0.0/16", "", "eth0")}
            assert node.routes(family="-6") == {("fd78::/64", "fd77::1", "eth0")}
            (port,) = node.ip("link", "show", "eth1")
            assert port["master"] == "br0"
            return True

        await eventually(is_as_configured)
        await eventually(lambda: not node.problems())
        node.configure(EMPTY)

        def is_as_before() -> bool:
            assert node.everything() == before
            return True

        await eventually(is_as_before)


UNDONE = """
machine: {type: worker}
---
apiVersion: v1alpha1
kind: LinkConfig
name: eth0
mtu: 1400
addresses: [{address: 10.77.0.5/24}, {address: "fd77::5/64"}]
routes: [{destination: 10.8.0.0/16, gateway: 10.77.0.1}, {destination: "fd78::/64", gateway: "fd77::1"}]
---
{apiVersion: v1alpha1, kind: BridgeConfig, name: br0, links: [eth1], addresses: [{address: 10.78.0.1/24}]}
---
{apiVersion: v1alpha1, kind: RoutingRuleConfig, name: "1000", src: 10.77.0.0/24, table: "180"}
"""


async def test_what_others_undo_is_restored_within_a_second(tmp_path: Path) -> None:
    async with house(tmp_path, UNDONE) as node:

        def is_whole() -> None:
            assert node.addresses("eth0") == {"10.77.0.5/24", "fd77::5/64"}
            assert node.addresses("br0") == {"10.78.0.1/24"}
            assert node.routes() == {("10.8.0.0/16", "10.77.0.1", "eth0")}
            assert node.routes(family="-6") == {("fd78::/64", "fd77::1", "eth0")}
            assert node.rules() == {(1000, "10.77.0.0/24", "180")}
            assert node.link("eth0")["mtu"] == 1400
            assert {"UP", "LOWER_UP"} <= set(node.link("eth0")["flags"])
            assert node.link("eth1")["master"] == "br0"

        await node.shows(is_whole)
        for undo in (
            "addr del 10.77.0.5/24 dev eth0",
            "addr del fd77::5/64 dev eth0",
            "route del 10.8.0.0/16",
            "-6 route del fd78::/64",
            "rule del priority 1000",
            "link set eth0 mtu 1300",
            "link set eth0 down",
            "link set eth1 nomaster",
            "link del br0",
        ):
            node.inside.run("ip", *undo.split())
            await node.shows(is_whole)
        # What is still shown is what was done, which the kernel attributes to the program or leaves open.
        await eventually(lambda: all("has been restored" in text for text in node.problems().values()))


KEPT = """
machine:
  type: worker
  network:
    interfaces:
      - interface: eth0
        addresses: [10.77.0.5/24]
"""


async def test_after_a_kill_the_next_agent_removes_the_obsolete_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(DEVICES)
    with cables() as inside:
        reported = IpState(inside)

        def is_whole() -> None:
            assert reported.addresses("eth0") == {"10.77.0.5/24", "fd77::5/64", "10.77.0.9/32"}
            assert reported.addresses("br0") == {"10.78.0.1/24"}
            assert reported.routes() == {("default", "10.77.0.1", "eth0"), ("10.8.0.0/16", "", "eth0")}

        def is_smaller() -> None:
            assert reported.addresses("eth0") == {"10.77.0.5/24"}
            assert not reported.link("br0")
            assert reported.routes() == set()

        async with agent(tmp_path, "--config", str(file), namespace=inside) as served:
            await reported.shows(is_whole)
            os.kill(served.pid, signal.SIGKILL)
        for undo in ("addr del 10.77.0.9/32 dev eth0", "route del default", "link set eth1 nomaster down"):
            inside.run("ip", *undo.split())
        file.write_text(KEPT)
        async with (
            watching(inside, "address", "route") as seen,
            agent(tmp_path, "--config", str(file), namespace=inside),
        ):
            await reported.shows(is_smaller)
        happened = [line for line in seen().splitlines() if "Deleted" not in line]
        assert not [line for line in happened if any(part in line for part in ("10.77.0.", "default via", "eth1"))]


async def test_configuration_documents_are_applied_and_removed_completely(tmp_path: Path) -> None:
    async with house(tmp_path) as node:
        before = await node.rest()
        node.configure(DOCUMENTS)

        def is_as_configured() -> bool:
            assert node.addresses("eth0") == {"10.77.0.5/24"}
            assert node.addresses("veth-a") == {"192.0.2.1/30"}
            (peer,) = node.ip("link", "show", "veth-b")
            assert (peer["mtu"], "UP" in peer["flags"]) == (1400, True)
            assert node.routes("180") == {("10.9.0.0/16", "192.0.2.2", "veth-a")}
            assert ("10.255.0.0/16", "", "") in node.routes()
            assert "blackhole fd99::/32" in node.inside.run("ip", "-6", "route", "show", "metric", "50")
            assert {rule[0] for rule in node.rules()} == {1000, 1001}
            assert node.inside.run("ip", "-6", "rule", "show").count("prohibit") == 1
            return True

        await eventually(is_as_configured)
        node.configure(EMPTY)

        def is_as_before() -> bool:
            assert node.everything() == before
            return True

        await eventually(is_as_before)


async def test_an_invalid_entry_is_reported_and_the_others_apply(tmp_path: Path) -> None:
    text = """
machine:
  type: worker
  network:
    interfaces:
      - {deviceSelector: {hardwareAddr: "*"}, addresses: [10.76.0.5/24]}
      - {deviceSelector: {busPath: "0*"}, addresses: [10.75.0.5/24]}
      - {interface: eth0, addresses: [10.77.0.5/24], routes: [{network: 10.8.0.0/16, gateway: 192.0.2.200}]}
"""
    async with house(tmp_path, text) as node:

        def is_shown() -> bool:
            assert node.addresses("eth0") == {"10.77.0.5/24"}
            problems = node.problems()
            assert "eth0 (" in problems["DeviceConfigSpecs/000"]
            assert 'no link has busPath "0*"' in problems["DeviceConfigSpecs/001"]
            # The kernel knows no way to this gateway.
            assert "RouteSpecs/inet4/192.0.2.200/10.8.0.0/16/1024" in problems
            return True

        await eventually(is_shown)
        assert not node.addresses("eth1")


@pytest.mark.needs_program("wireguard-go", "wg")
async def test_an_invalid_wireguard_key_is_reported_and_the_rest_applies(tmp_path: Path) -> None:
    (private, public), other, zeros = key_pair(), key_pair()[1], base64.b64encode(bytes(32)).decode()
    without, good = link_name("a"), link_name("b")
    text = f"""
machine:
  type: worker
  network:
    interfaces:
      - interface: {without}
        wireguard: {{privateKey: {zeros}, peers: [{{publicKey: {other}, allowedIPs: [10.4.0.0/24]}}]}}
      - interface: {good}
        addresses: [10.3.0.5/24]
        wireguard:
          privateKey: {private}
          peers:
            - {{publicKey: {zeros}, allowedIPs: [10.5.0.0/24]}}
            - {{publicKey: {public}, allowedIPs: [10.6.0.0/24]}}
            - {{publicKey: {other}, allowedIPs: [10.7.0.0/24]}}
      - {{interface: eth0, addresses: [10.77.0.5/24]}}
"""
    async with house(tmp_path, text) as node:

        def is_shown() -> None:
            assert node.addresses("eth0") == {"10.77.0.5/24"}
            assert node.addresses(good) == {"10.3.0.5/24"}
            assert show(node.inside, good, "allowed-ips") == {other: "10.7.0.0/24"}

        await node.shows(is_shown)
        expected = {
            f"LinkSpecs/{without}": "private key: the key is all zeros: make one with `nodespan gen key`",
            f"WireguardPeerSpecs/{good}/{zeros}": "this peer is left out: the key is all zeros",
            f"WireguardPeerSpecs/{good}/{public}": "this peer is left out: the key is that of the link itself",
        }
        await eventually(lambda: _is(node.problems(), expected))
        assert not node.link(without)
        assert private not in node.served.log + node.served.run("get", "networkproblems", "-o", "yaml")


async def test_a_link_that_appears_later_gets_what_its_selector_configures(tmp_path: Path) -> None:
    text = DEVICES.replace("02:00:00:77:*", "02:00:00:79:*")
    async with house(tmp_path, text) as node:
        await eventually(lambda: _is(node.addresses("br0"), {"10.78.0.1/24"}))
        assert not node.addresses("eth0")
        node.inside.run("ip", "link", "set", "eth0", "address", "02:00:00:79:00:01")
        expected = {"10.77.0.5/24", "fd77::5/64", "10.77.0.9/32"}
        await eventually(lambda: _is(node.addresses("eth0"), expected))
        # Renamed, it is still the link that is meant.
        node.inside.run("ip", "link", "set", "eth0", "name", "uplink")
        await eventually(lambda: _is(node.addresses("uplink"), expected))


async def test_a_selector_must_match_exactly_one_link_as_links_come_and_go(tmp_path: Path) -> None:
    text = """
machine:
  network:
    interfaces: [{deviceSelector: {hardwareAddr: "02:00:00:77:*"}, addresses: [10.76.0.5/24]}]
"""
    async with house(tmp_path, text) as node:
        await eventually(lambda: _is(node.addresses("eth0"), {"10.76.0.5/24"}))
        node.inside.run("ip", "link", "set", "eth1", "address", "02:00:00:77:00:02")
        await eventually(lambda: _is(node.addresses("eth0"), set()))

        def both_are_named() -> None:
            problem = node.problems()["DeviceConfigSpecs/000"]
            assert "eth0 (hardwareAddr 02:00:00:77:00:01)" in problem
            assert "eth1 (hardwareAddr 02:00:00:77:00:02)" in problem

        await node.shows(both_are_named)
        assert not node.addresses("eth1")
        node.inside.run("ip", "link", "del", "eth0")
        await eventually(lambda: _is(node.addresses("eth1"), {"10.76.0.5/24"}))
        await eventually(lambda: not node.problems())


def _is(seen: object, expected: object) -> bool:
    assert seen == expected
    return True


async def test_a_link_alias_is_set_and_removed() -> None:
    with cables() as inside:
        netns = str(inside.path)
        async with running(LinkStatusController(netns=netns), LinkAliasSpecController(netns=netns)) as node:

            def alias() -> str:
                (link,) = json.loads(inside.run("ip", "-json", "link", "show", "eth0"))
                return str(link.get("ifalias", ""))

            await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net0"))
            await eventually(lambda: _is(alias(), "net0"))
            await node.eventually(LinkStatus, "eth0", lambda link: link.spec.alias == "net0")
            inside.run("ip", "link", "set", "eth0", "alias", "")
            await eventually(lambda: _is(alias(), "net0"))
            # The kernel does not notify of the alias of a link that is down.
            inside.run("ip", "link", "set", "eth0", "down")
            await node.put(LinkAliasSpec, "eth0", LinkAliasSpecSpec(alias="net1"))
            await node.eventually(LinkStatus, "eth0", lambda link: link.spec.alias == "net1")
            # At once: also before it shows what was done.
            await node.teardown(LinkAliasSpec, "eth0")
            await eventually(lambda: _is(alias(), ""))
            await eventually(lambda: _is((node.state.get(LinkAliasSpec, "eth0")).metadata.finalizers, ()))
