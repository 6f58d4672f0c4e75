"""What a small change of the packet filter costs, against `nft -f`: one prefix in a set, one rule of the firewall."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from bench.measure import Figure, compare
from nodespan.controllers.network.config.nftables_chain_config import NfTablesChainConfigController
from nodespan.controllers.network.nftables.chain import NfTablesChainController
from nodespan.kernel.packet_filter.nft_events import FilterEvents, open_filter_events
from nodespan.kernel.packet_filter.owned_table import OwnedTable
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    MachineConfig,
    MachineConfigSpec,
    NetworkDefaultActionConfig,
    NetworkRuleConfig,
)
from nodespan.resources.config.network import IngressAction, IngressSource, PortSelector, RuleProtocol
from nodespan.runtime.testing.kit import Node, running

CHANGES = 12
RULES = 1000
_SET = "table inet bench { set s { type ipv4_addr; flags interval; elements = { %s }; }; }"


def _prefix(number: int) -> str:
    return f"10.{number >> 8}.{number & 255}.0/25"


def _document(number: int) -> str:
    prefix = {"prefix": {"addr": f"172.16.{number}.0", "len": 24}}
    element = {"family": "inet", "table": "bench", "name": "s", "elem": [prefix]}
    return json.dumps({"nftables": [{"add": {"element": element}}]})


def _median(change: Callable[[int], object], first: int) -> float:
    seconds: list[float] = []
    for number in range(first, first + CHANGES):
        started = time.perf_counter()
        change(number)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[CHANGES // 2] * 1e3


@contextmanager
def _namespace(label: str) -> Iterator[str]:
    name = f"nodespan-bench-{label}-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def _nft(name: str, text: str, *options: str) -> str:
    command = ["ip", "netns", "exec", name, "nft", *options, "-f", "-"]
    return subprocess.run(command, input=text, text=True, check=True, capture_output=True).stdout


def _measure(elements: int) -> tuple[float, float]:
    with _namespace("set") as name:
        _nft(name, _SET % ", ".join(map(_prefix, range(elements))))
        kept = OwnedTable.open("guard", f"/run/netns/{name}")
        try:
            return compare(
                lambda: _median(lambda number: kept.apply(_document(number)), 0),
                lambda: _median(lambda number: _nft(name, f"add element inet bench s {{ 172.17.{number}.0/24 }}"), 0),
                repeats=3,
            )
        finally:
            kept.close()


def one_in_few() -> Figure:
    """One prefix added to a hundred."""
    return Figure("one prefix added to a set of 100, against nft -f", *_measure(100), 0.5, "ms")


def one_in_many() -> Figure:
    """One prefix added to ten thousand, which nft reads before it changes them."""
    return Figure("one prefix added to a set of 10,000, against nft -f", *_measure(10_000), 3, "ms")


def _rule(number: int, port: int) -> NetworkRuleConfig:
    return NetworkRuleConfig(
        name=f"r{number}",
        port_selector=PortSelector(ports=(str(port),), protocol=RuleProtocol.TCP),
        ingress=(IngressSource(subnet=_network(number), except_=_exception(number)),),
    )


def _network(number: int) -> str:
    return f"10.{number >> 8}.{number & 255}.0/24"


def _exception(number: int) -> str:
    return f"10.{number >> 8}.{number & 255}.128/26"


def _configuration(changed: int, port: int) -> MachineConfigSpec:
    """All rules, one of them with another port."""
    rules = (_rule(number, port if number == changed else 1000 + number) for number in range(RULES))
    return MachineConfigSpec(documents=(NetworkDefaultActionConfig(ingress=IngressAction.BLOCK), *rules))


async def _change(node: Node, events: FilterEvents, config: MachineConfigSpec) -> float:
    """Seconds until both tables of the kernel are as a changed configuration says."""
    started = time.perf_counter()
    await node.put(MachineConfig, MACHINE_CONFIG_ID, config)
    left = {"nodespan", "nodespan_guard"}
    while left:
        for commit in await events.receive() or ():
            left -= commit.touched
    return time.perf_counter() - started


async def _ours(name: str) -> float:
    path = f"/run/netns/{name}"
    with open_filter_events(path) as events:
        async with running(NfTablesChainConfigController(), NfTablesChainController(netns=path)) as node:
            await _change(node, events, _configuration(0, 1000))
            await node.settled()
            seconds = []
            for number in range(CHANGES):
                seconds.append(await _change(node, events, _configuration(RULES // 2, 2500 + number)))
                await node.settled()
            await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
            await node.settled()
    return sorted(seconds)[CHANGES // 2] * 1e3


_CHAINS = {"ingress": "input", "prerouting": "prerouting"}


def _line(number: int, port: int) -> str:
    first = f"10.{number >> 8}.{number & 255}"
    ranges = f"{{ {first}.0-{first}.127, {first}.192-{first}.255 }}"
    return f'ip saddr {ranges} tcp dport {{ {port} }} counter accept comment "r{number}"'


def _baseline(name: str) -> float:
    """The same with `nft -f`: the two chains, and the rule in both of them."""
    rules = "\n".join(_line(number, 1000 + number) for number in range(RULES))
    chains = "".join(
        f"chain {chain} {{ type filter hook {hook} priority 0;\n{rules}\n}}\n" for chain, hook in _CHAINS.items()
    )
    _nft(name, f"add table inet bench\ndelete table inet bench\ntable inet bench {{\n{chains}}}\n")
    seconds: list[float] = []
    for number in range(CHANGES):
        line = _line(RULES // 2, 2500 + number)
        listed = _nft(name, "list table inet bench", "-a")
        # nft 1.0.6 aborts at `replace` with a set of ranges, and the rule has another handle each time.
        handles = re.findall(rf'comment "r{RULES // 2}" # handle (\d+)', listed)
        text = "".join(
            f"add rule inet bench {chain} handle {handle} {line}\ndelete rule inet bench {chain} handle {handle}\n"
            for chain, handle in zip(_CHAINS, handles, strict=True)
        )
        started = time.perf_counter()
        _nft(name, text)
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[CHANGES // 2] * 1e3


def one_rule_of_many() -> Figure:
    """From a changed document to the kernel's two tables, by the rules of the configuration that there are."""
    with _namespace("ours") as ours, _namespace("theirs") as theirs:
        figures = compare(lambda: trio.run(_ours, ours), lambda: _baseline(theirs), repeats=3)
    return Figure("one of 1,000 firewall rules changed, against nft -f", *figures, 3, "ms")


FIGURES = (one_in_few, one_in_many, one_rule_of_many)
