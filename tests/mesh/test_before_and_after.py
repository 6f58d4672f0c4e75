"""The machine after an agent is the machine before it, whatever was configured and however the agent ended."""

import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import COMMAND, AgentProcess, agent, environment
from tests.support.netns import Namespace, connect, namespaces
from tests.support.process import eventually, running

pytestmark = [
    *(pytest.mark.needs_link(kind) for kind in ("veth", "bridge")),
    pytest.mark.needs_program("ethtool"),
]

# What another program has set up: an address and a default route, an address with a lifetime, one of IPv6 with what
# rests on it, a rule, an alias, a bridge with a port and options, a link with an MTU.
BEFORE = """\
ip address add 203.0.113.30/24 dev eth0
ip address add 203.0.113.31/24 dev eth0 valid_lft 7200 preferred_lft 3600
ip address add 198.51.100.9/24 dev eth0 scope link label eth0:old metric 7
ip -6 address add 2001:db8:1::5/64 dev eth0 nodad
ip route add default via 203.0.113.1 dev eth0 proto static
ip route add 10.1.0.0/16 via 198.51.100.1 dev eth0 proto static metric 1024 mtu 1300
ip route add 10.2.0.0/16 via 203.0.113.1 dev eth0 proto dhcp metric 1024 advmss 1200
ip -6 route add 2001:db8:99::/48 via 2001:db8:1::1 dev eth0 proto static metric 1024
ip rule add from 10.9.0.0/16 lookup 90 priority 9000 protocol static
ip link add br0 type bridge stp_state 0 forward_delay 300
ip link set port0 master br0 up
ip link set br0 mtu 1450 up
ip link set other0 alias uplink mtu 1400
ip address add 192.0.2.1/24 dev other0
ip link set other0 up
ip route add 10.3.0.0/16 via 192.0.2.9 dev other0
"""
CONFIG = """\
machine:
  type: worker
  network:
    interfaces:
      - interface: eth0
        mtu: 1400
        addresses: [203.0.113.30/24, 203.0.113.31/24, 198.51.100.9/24, 2001:db8:1::5/64]
        routes:
          - {network: 0.0.0.0/0, gateway: 203.0.113.1}
          - {network: 10.1.0.0/16, gateway: 198.51.100.1}
          - {network: "2001:db8:99::/48", gateway: "2001:db8:1::1"}
      - interface: br0
        bridge: {stp: {enabled: true}, interfaces: [other0]}
---
apiVersion: v1alpha1
kind: RoutingRuleConfig
name: "9000"
src: 10.9.0.0/16
table: "91"
---
apiVersion: v1alpha1
kind: EthernetConfig
name: eth0
features: {tx-tcp-segmentation: false, rx-gro: true}
---
apiVersion: v1alpha1
kind: MacVLANConfig
name: mv0
parent: eth0
addresses: [{address: 10.8.0.1/24}]
---
apiVersion: v1alpha1
kind: VXLANConfig
name: vx0
id: 5
local: 203.0.113.30
parent: eth0
"""
NOTHING = "# nothing\n"


def settled(inside: Namespace) -> bool:
    return not inside.run("ip", "-6", "address", "show", "tentative")


def reported(inside: Namespace) -> set[str]:
    """All that there is, without counters and what passes by itself."""
    found: set[str] = set(inside.run("ip", "rule").splitlines())
    found.update(f"eth0 {line.strip()}" for line in inside.run("ethtool", "-k", "eth0").splitlines())
    for link in json.loads(inside.run("ip", "-json", "-details", "address")):
        info = link.get("linkinfo", {})
        data = info.get("info_data", {}) if info.get("info_kind") == "bridge" else {}
        name = link["ifname"]
        found |= {f"{name} {key} {link.get(key)}" for key in ("mtu", "address", "master", "ifalias")}
        # Whether a port of a bridge carries anything takes a while to be found out.
        found.add(f"{name} {sorted(set(link['flags']) - {'NO-CARRIER', 'LOWER_UP'})}")
        found |= {f"{name} {key} {data.get(key)}" for key in ("stp_state", "forward_delay", "vlan_filtering")}
        found |= {f"{name} {address_told(each)}" for each in link["addr_info"]}
    for option in ("-4", "-6"):
        for route in json.loads(inside.run("ip", option, "-json", "-details", "route", "show", "table", "all") or "[]"):
            if route.get("type") != "multicast":
                route.pop("flags", None)
                found.add(" ".join(f"{key}={value}" for key, value in sorted(route.items())))
    return found


def address_told(address: dict[str, Any]) -> tuple[Any, ...]:
    marks = tuple(key for key in ("secondary", "noprefixroute") if key in address)
    return (
        *(address["local"], address["prefixlen"], address["scope"], address.get("label", "")),
        *(address.get("metric", 0), address["valid_life_time"] > 1 << 20, marks),
    )


@contextlib.contextmanager
def machine() -> Iterator[Namespace]:
    with namespaces("node", "far") as (node, far):
        connect(node, "eth0", far, "eth0")
        connect(node, "port0", far, "port0")
        connect(node, "other0", far, "other0")
        for line in BEFORE.splitlines():
            node.run(*line.split())
        yield node


def config(directory: Path, text: str) -> str:
    path = directory / "config.yaml"
    path.write_text(text)
    return str(path)


def is_applied(inside: Namespace) -> bool:
    is_set = "tx-tcp-segmentation: off" in inside.run("ethtool", "-k", "eth0")
    return is_set and "lookup 91" in inside.run("ip", "rule") and "mtu 1400" in inside.run("ip", "link", "show", "eth0")


async def begin(inside: Namespace) -> set[str]:
    await eventually(lambda: "fe80" in inside.run("ip", "address", "show", "br0") and settled(inside))
    return reported(inside)


async def is_as(inside: Namespace, before: set[str]) -> None:
    def check() -> bool:
        now = reported(inside)
        different = [f"- {each}" for each in sorted(before - now)] + [f"+ {each}" for each in sorted(now - before)]
        assert not different, "\n".join(different)
        return True

    await eventually(check)


async def test_an_applied_and_then_empty_configuration_leaves_the_machine_as_it_was(tmp_path: Path) -> None:
    with machine() as inside:
        before = await begin(inside)
        async with agent(tmp_path, namespace=inside) as served:
            served.run("apply", config(tmp_path, CONFIG), check=False)
            await eventually(lambda: is_applied(inside))
            served.run("apply", config(tmp_path, NOTHING))
            await is_as(inside, before)
            record = tmp_path / "state" / "before.jsonl"
            assert stat.S_IMODE(record.stat().st_mode) == 0o600


async def test_an_unconfirmed_trial_leaves_the_machine_as_it_was(tmp_path: Path) -> None:
    with machine() as inside:
        before = await begin(inside)
        async with agent(tmp_path, namespace=inside) as served:
            served.run("apply", "--mode", "try", "--timeout", "4s", config(tmp_path, CONFIG), check=False)
            await eventually(lambda: is_applied(inside))
            await is_as(inside, before)


async def test_a_killed_agent_and_one_that_cleans_up_leave_the_machine_as_it_was(tmp_path: Path) -> None:
    with machine() as inside:
        before = await begin(inside)
        async with agent(tmp_path, namespace=inside) as served:
            served.run("apply", config(tmp_path, CONFIG), check=False)
            await eventually(lambda: is_applied(inside))
            await killed(served)
        async with agent(tmp_path, "--cleanup", namespace=inside) as served:
            await eventually(lambda: "takingOver: true" not in served.run("get", "configstatus", "-o", "yaml"))
            assert is_applied(inside)
        await is_as(inside, before)


async def test_an_agent_that_is_stopped_while_it_starts_reverts_what_a_killed_one_has_left(tmp_path: Path) -> None:
    with machine() as inside:
        before = await begin(inside)
        async with agent(tmp_path, namespace=inside) as served:
            served.run("apply", config(tmp_path, CONFIG), check=False)
            await eventually(lambda: is_applied(inside))
            await killed(served)
            lock = tmp_path / "agent.sock.lock"
            old = lock.read_text()
            cleanup = (*COMMAND, "agent", "--cleanup")
            async with running(*cleanup, namespace=inside, environment=environment(tmp_path)) as starting:
                # From here on it knows what to do when it is told to stop, and nothing of the machine yet.
                await eventually(lambda: lock.read_text() not in (old, ""))
                starting.terminate()
                assert await starting.wait() == 0
        await is_as(inside, before)


async def killed(served: AgentProcess) -> None:
    served.process.kill()
    await served.process.wait()
