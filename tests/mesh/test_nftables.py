"""The agent's table of the packet filter: what it does to packets, how it changes, is healed and goes."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from nodespan.cluster.station_processes import pids_in
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.nftables.chain import NfTablesChainController
from nodespan.kernel.packet_filter import connections, nft
from nodespan.kernel.packet_filter.connections import Tracked
from nodespan.resources.network import (
    AddressMatch,
    ChainHook,
    ChainPriority,
    ChainType,
    ClampMSS,
    ConntrackStateMatch,
    ICMPTypeMatch,
    IfNameMatch,
    Layer4Match,
    LimitMatch,
    Mark,
    MatchOperator,
    NetworkProblem,
    NfTablesChain,
    NfTablesChainSpec,
    NfTablesRule,
    NfTablesSetElements,
    NfTablesSetElementsSpec,
    PortMatch,
    PortRange,
    Verdict,
    nftables_set_elements_id,
)
from nodespan.runtime.testing.kit import Node, running
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, connect, entered, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("nft")]

ROUTED = AddressMatch(set_name="kubespan_routed")
OWN_PACKETS = NfTablesRule(match_mark=Mark(mask=0x60, value=0x20), verdict=Verdict.ACCEPT)
FORCE = NfTablesRule(match_destination_address=ROUTED, set_mark=Mark(mask=0xFFFFFF9F, xor=0x40), verdict=Verdict.ACCEPT)
PREROUTING = NfTablesChainSpec(rules=(OWN_PACKETS, FORCE))
OUTGOING = NfTablesChainSpec(
    type=ChainType.ROUTE,
    hook=ChainHook.OUTPUT,
    rules=(
        OWN_PACKETS,
        NfTablesRule(match_oif_name=IfNameMatch(interface_names=("lo",)), verdict=Verdict.ACCEPT),
        NfTablesRule(match_destination_address=ROUTED, clamp_mss=ClampMSS(mtu=1420)),
        FORCE,
    ),
)
V4, V6 = "kubespan_routed_ipv4", "kubespan_routed_ipv6"


@contextlib.asynccontextmanager
async def node(**settings: Any) -> AsyncIterator[tuple[Namespace, Node]]:
    with namespace() as inside:
        async with running(controller(inside, **settings)) as runtime:
            yield inside, runtime


def controller(inside: Namespace, **settings: Any) -> NfTablesChainController:
    return NfTablesChainController(netns=str(inside.path), **settings)


async def want_elements(runtime: Node, owner: str, *prefixes: str, set_name: str = "kubespan_routed") -> None:
    spec = NfTablesSetElementsSpec(set_name=set_name, prefixes=prefixes)
    await runtime.put(NfTablesSetElements, nftables_set_elements_id(set_name, owner), spec)


async def want_kubespan(runtime: Node) -> None:
    await runtime.put(NfTablesChain, "kubespan_prerouting", PREROUTING)
    await runtime.put(NfTablesChain, "kubespan_outgoing", OUTGOING)


def ruleset(inside: Namespace) -> list[dict[str, Any]]:
    # Table by table: nft 1.0.6 prints no JSON for an owned one.
    return [item for name in sorted(tables(inside) - {"nodespan_guard"}) for item in listed(inside, "table", name)]


def listed(inside: Namespace, kind: str, *place: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(inside.run("nft", "-j", "list", kind, "inet", *place))["nftables"]
    return [item for item in found if "metainfo" not in item]


def tables(inside: Namespace) -> set[str]:
    return {line.split()[-1] for line in inside.run("nft", "list", "tables").splitlines()}


def chains(inside: Namespace) -> dict[str, dict[str, Any]]:
    return {item["chain"]["name"]: item["chain"] for item in ruleset(inside) if "chain" in item}


def elements(inside: Namespace, name: str) -> set[str]:
    for item in ruleset(inside):
        if item.get("set", {}).get("name") == name:
            return {
                each if isinstance(each, str) else f"{each['prefix']['addr']}/{each['prefix']['len']}"
                for each in item["set"].get("elem", [])
            }
    return set()


def handles(inside: Namespace) -> list[tuple[str, int]]:
    return [(kind, value["handle"]) for item in ruleset(inside) for kind, value in item.items()]


async def test_chains_and_sets_are_added_changed_and_removed() -> None:
    async with node() as (inside, runtime):
        inside.run("nft", "add table inet other; add chain inet other c { type filter hook input priority 0; }")
        await want_kubespan(runtime)
        await want_elements(runtime, "a", "10.244.1.0/24", "192.0.2.7/32", "2001:db8::1/128", "fd00::/64")
        await eventually(lambda: elements(inside, V4) == {"10.244.1.0/24", "192.0.2.7"})
        assert elements(inside, V6) == {"2001:db8::1", "fd00::/64"}
        shown = chains(inside)["kubespan_outgoing"]
        assert (shown["type"], shown["hook"], shown["prio"], shown["policy"]) == ("route", "output", 0, "accept")
        await want_elements(runtime, "b", "10.244.2.0/24")
        await want_elements(runtime, "a", "192.0.2.7/32")
        await eventually(lambda: elements(inside, V4) == {"10.244.2.0/24", "192.0.2.7"})
        assert elements(inside, V6) == set()
        await runtime.put(
            NfTablesChain, "kubespan_outgoing", attrs.evolve(OUTGOING, hook=ChainHook.FORWARD, type=ChainType.FILTER)
        )
        await eventually(lambda: chains(inside)["kubespan_outgoing"]["hook"] == "forward")
        await runtime.put(NfTablesChain, "kubespan_prerouting", attrs.evolve(PREROUTING, priority=ChainPriority.MANGLE))
        await eventually(lambda: chains(inside)["kubespan_prerouting"]["prio"] == -150)
        await runtime.destroy(NfTablesChain, "kubespan_outgoing")
        await eventually(lambda: "kubespan_outgoing" not in chains(inside))
        await runtime.destroy(NfTablesChain, "kubespan_prerouting")
        for owner in ("a", "b"):
            await runtime.destroy(NfTablesSetElements, nftables_set_elements_id("kubespan_routed", owner))
        await eventually(lambda: tables(inside) == {"other"})
        assert not runtime.state.list(NetworkProblem)


async def test_a_join_adds_elements_and_touches_nothing_else() -> None:
    async with node() as (inside, runtime):
        await want_kubespan(runtime)
        await want_elements(runtime, "a", "10.244.1.0/24")
        await eventually(lambda: elements(inside, V4) == {"10.244.1.0/24"})
        before = handles(inside)
        await want_elements(runtime, "b", "10.244.2.0/24", "fd00::1/128")
        await eventually(lambda: elements(inside, V6) == {"fd00::1"})
        assert elements(inside, V4) == {"10.244.1.0/24", "10.244.2.0/24"}
        assert handles(inside) == before


async def test_owners_may_overlap() -> None:
    async with node() as (inside, runtime):
        await want_elements(runtime, "narrow", "10.1.0.0/16", "10.1.2.0/24", "2001:db8::/32")
        await eventually(lambda: elements(inside, V4) == {"10.1.0.0/16"})
        await want_elements(runtime, "wide", "10.0.0.0/8", "2001:db8::/32")
        await eventually(lambda: elements(inside, V4) == {"10.0.0.0/8"})
        await want_elements(runtime, "wide", "0.0.0.0/0", "::/0")
        await eventually(lambda: elements(inside, V4) == {"0.0.0.0/0"} and elements(inside, V6) == {"::/0"})
        await runtime.destroy(NfTablesSetElements, nftables_set_elements_id("kubespan_routed", "wide"))
        left = ({"10.1.0.0/16"}, {"2001:db8::/32"})
        await eventually(lambda: (elements(inside, V4), elements(inside, V6)) == left)
        assert not runtime.state.list(NetworkProblem)


async def test_foreign_changes_are_reverted() -> None:
    async with node(full_interval=0.2) as (inside, runtime):
        await want_kubespan(runtime)
        await want_elements(runtime, "a", "10.244.1.0/24")
        await eventually(lambda: elements(inside, V4) == {"10.244.1.0/24"})

        def content() -> list[Any]:
            return [
                {key: value for key, value in attributes.items() if key not in ("handle",)}
                for item in ruleset(inside)
                for attributes in item.values()
            ]

        def same() -> bool:
            return content() == wanted

        wanted = content()
        for command in (
            "flush chain inet nodespan kubespan_prerouting",
            "insert rule inet nodespan kubespan_outgoing drop",
            "flush set inet nodespan kubespan_routed_ipv4",
            "add element inet nodespan kubespan_routed_ipv4 { 192.0.2.0/24 }",
            "add chain inet nodespan mine",
            "delete table inet nodespan",
        ):
            inside.run("nft", command)
            assert content() != wanted
            await eventually(same)


async def test_a_restart_changes_nothing_and_keeps_elements_not_yet_desired_for_a_while() -> None:
    with namespace() as inside:
        async with running(controller(inside)) as runtime:
            await want_kubespan(runtime)
            await want_elements(runtime, "a", "10.244.1.0/24")
            await want_elements(runtime, "b", "10.244.2.0/24")
            await eventually(lambda: elements(inside, V4) == {"10.244.1.0/24", "10.244.2.0/24"})
        before = ruleset(inside)
        generation = inside.run("nft", "-j", "list", "ruleset")
        async with running(controller(inside, stale_after=0.5)) as again:
            await want_kubespan(again)
            await want_elements(again, "a", "10.244.1.0/24")
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.2)
            assert ruleset(inside) == before
            assert inside.run("nft", "-j", "list", "ruleset") == generation
            await eventually(lambda: elements(inside, V4) == {"10.244.1.0/24"})


async def test_an_invalid_chain_or_prefix_does_not_block_the_others() -> None:
    async with node() as (inside, runtime):
        both = attrs.evolve(ROUTED, include_subnets=("10.0.0.0/8",))
        await runtime.put(
            NfTablesChain, "bad", NfTablesChainSpec(rules=(NfTablesRule(match_destination_address=both),))
        )
        await want_elements(runtime, "a", "no prefix", "192.0.2.0/24")
        await want_kubespan(runtime)
        await eventually(lambda: elements(inside, V4) == {"192.0.2.0/24"})
        await eventually(lambda: chains(inside).keys() == {"kubespan_prerouting", "kubespan_outgoing"})
        problem = await runtime.eventually(NetworkProblem, "NfTablesChains/bad")
        assert "rule 1: an address is matched by the set" in problem.spec.message
        await runtime.eventually(NetworkProblem, "NfTablesSetElements/kubespan_routed/a")


async def test_all_kinds_of_packet_filter_rules_are_accepted() -> None:
    async with node() as (inside, runtime):
        subnets = AddressMatch(
            include_subnets=("192.0.2.0/24", "2001:db8::/32", "10.0.0.1"), exclude_subnets=("192.0.2.128/25",)
        )
        ports = PortMatch(ranges=(PortRange(lo=22, hi=22), PortRange(lo=8000, hi=8100)))
        rules = (
            NfTablesRule(match_source_address=subnets, match_destination_address=ROUTED, verdict=Verdict.DROP),
            NfTablesRule(match_source_address=attrs.evolve(subnets, invert=True), anonymous_counter=True),
            NfTablesRule(match_source_address=AddressMatch(include_subnets=("0.0.0.0/0",)), verdict=Verdict.ACCEPT),
            NfTablesRule(match_source_address=AddressMatch(), verdict=Verdict.DROP),
            NfTablesRule(match_layer4=Layer4Match(protocol="tcp", match_destination_port=ports)),
            NfTablesRule(match_layer4=Layer4Match(protocol="udp", match_source_port=ports)),
            NfTablesRule(
                match_layer4=Layer4Match(
                    protocol="icmp", match_icmp_type=ICMPTypeMatch(types=("echo-request", "timestamp-request"))
                ),
                match_limit=LimitMatch(packet_rate_per_second=5),
                verdict=Verdict.ACCEPT,
            ),
            NfTablesRule(match_conntrack_state=ConntrackStateMatch(states=("established", "related"))),
            NfTablesRule(match_iif_name=IfNameMatch(interface_names=("lo", "a0"), operator=MatchOperator.NOT_EQUAL)),
            NfTablesRule(match_mark=Mark(mask=0xFFFFFFFF, xor=1, value=2), set_mark=Mark(mask=0xFFFFFFFF, xor=4)),
            NfTablesRule(clamp_mss=ClampMSS(mtu=1280)),
        )
        await runtime.put(NfTablesChain, "sorts", NfTablesChainSpec(hook=ChainHook.INPUT, rules=rules))
        await eventually(lambda: "sorts" in chains(inside))
        assert not runtime.state.list(NetworkProblem)
        shown = inside.run("nft", "list", "chain", "inet", "nodespan", "sorts")
        for text in (
            "ip saddr { 10.0.0.1, 192.0.2.0/25 } ip daddr @kubespan_routed_ipv4",
            "meta nfproto ipv4",
            "tcp dport { 22, 8000-8100 }",
            "icmp type { echo-request, timestamp-request } limit rate 5/second accept",
            "ct state established,related",
            'iifname != { "a0", "lo" }',
            "tcp option maxseg size > 1208 tcp option maxseg size set 1208",
        ):
            assert text in shown.replace(" burst 5 packets", ""), shown


async def test_the_chains_of_the_mesh_do_not_wait_until_all_connections_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_asked, may_go_on = threading.Event(), threading.Event()

    def track(_netns: str | None) -> Tracked:
        is_asked.set()
        may_go_on.wait(PATIENCE)
        return Tracked()

    monkeypatch.setattr(connections, "track_connections", track)
    established = NfTablesRule(match_conntrack_state=ConntrackStateMatch(states=("established",)))
    ingress = NfTablesChainSpec(hook=ChainHook.INPUT, rules=(established,))
    try:
        async with node() as (inside, runtime):
            await runtime.put(NfTablesChain, "ingress", ingress)
            await eventually(is_asked.is_set)
            await want_kubespan(runtime)
            await want_elements(runtime, "peer", "10.0.0.0/8")
            await eventually(lambda: elements(inside, V4) == {"10.0.0.0/8"})
            assert chains(inside).keys() == {"kubespan_prerouting", "kubespan_outgoing"}
            may_go_on.set()
            await eventually(lambda: "ingress" in chains(inside))
            assert chains(inside).keys() == {"kubespan_prerouting", "kubespan_outgoing", "ingress"}
            assert not runtime.state.list(NetworkProblem)
    finally:
        may_go_on.set()


@pytest.mark.parametrize(
    ("family", "address", "mss"), [(socket.AF_INET, "192.0.2.2", 1368), (socket.AF_INET6, "2001:db8::2", 1348)]
)
async def test_packets_are_marked_and_their_mss_is_lowered(family: int, address: str, mss: int) -> None:
    async with node() as (inside, runtime):
        with namespace("far") as far:
            connect(inside, "eth0", far, "eth0")
            for end, number in ((inside, 1), (far, 2)):
                end.run("ip", "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
                end.run("ip", "addr", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
            inside.run(
                "nft",
                "add table inet watch; add chain inet watch c { type filter hook postrouting priority 0; };"
                "add rule inet watch c meta l4proto tcp meta mark and 0x60 == 0x40 counter",
            )

            def marked() -> int:
                rule = next(item["rule"] for item in ruleset(inside) if item.get("rule", {}).get("table") == "watch")
                (counter,) = [each["counter"]["packets"] for each in rule["expr"] if "counter" in each]
                return int(counter)

            def connected() -> socket.socket:
                with entered(far):
                    server = socket.create_server((address, 7), family=family)
                with server, entered(inside):
                    client = socket.create_connection((address, 7), timeout=PATIENCE)
                    accepted, _ = server.accept()
                client.close()
                return accepted

            def mss_seen_by_the_far_end() -> int:
                with connected() as accepted:
                    return accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

            assert mss_seen_by_the_far_end() > mss
            assert marked() == 0
            await want_kubespan(runtime)
            await want_elements(runtime, "far", f"{address}")
            name = V4 if family == socket.AF_INET else V6
            await eventually(lambda: elements(inside, name) == {address})
            # Timestamps take twelve bytes of each segment.
            assert mss_seen_by_the_far_end() in (mss, mss - 12)
            assert marked() > 0


async def test_many_elements_are_batched_into_few_documents() -> None:
    async with node() as (inside, runtime):
        await want_kubespan(runtime)
        for number in range(2000):
            await want_elements(runtime, str(number), f"10.{number // 256}.{number % 256}.0/24", f"fd00::{number:x}")
        await eventually(lambda: len(elements(inside, V4)) == 2000 and len(elements(inside, V6)) == 2000)
        await want_elements(runtime, "7", "192.0.2.7")
        await eventually(lambda: "192.0.2.7" in elements(inside, V4))
        assert "10.0.7.0/24" not in elements(inside, V4)


GUARD = NfTablesChainSpec(
    hook=ChainHook.POSTROUTING,
    rules=(NfTablesRule(match_destination_address=ROUTED, verdict=Verdict.DROP),),
    guard=True,
)


async def test_a_guard_chain_survives_a_flush_of_everything() -> None:
    async with node() as (inside, runtime):
        await runtime.put(NfTablesChain, "guard", GUARD)
        await want_elements(runtime, "a", "192.0.2.0/24", "2001:db8::/32")
        await eventually(lambda: tables(inside) == {"nodespan", "nodespan_guard"} and "192.0.2.0/24" in guarded(inside))
        inside.run("nft", "flush", "ruleset")
        # Immediately, before anything could have been repaired.
        assert "nodespan_guard" in tables(inside)
        await eventually(lambda: tables(inside) == {"nodespan", "nodespan_guard"})
        await want_elements(runtime, "b", "198.51.100.0/24")
        await eventually(lambda: guarded(inside) == {"192.0.2.0/24", "198.51.100.0/24"})
        await runtime.destroy(NfTablesSetElements, nftables_set_elements_id("kubespan_routed", "a"))
        await eventually(lambda: guarded(inside) == {"198.51.100.0/24"})
        await runtime.destroy(NfTablesChain, "guard")
        await eventually(lambda: "nodespan_guard" not in tables(inside))


async def test_small_changes_are_made_by_the_nft_that_is_kept_and_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own: list[str] = []
    apply = nft.apply

    def noted(text: str, *more: Any) -> None:
        own.append(text)
        apply(text, *more)

    monkeypatch.setattr(nft, "apply", noted)
    async with node() as (inside, runtime):
        await runtime.put(NfTablesChain, "guard", GUARD)
        await eventually(lambda: "nodespan_guard" in tables(inside) and "guard" in chains(inside))
        own.clear()
        for number in range(3):
            await want_elements(runtime, str(number), f"10.0.{number}.0/24")
            await eventually(lambda: len(elements(inside, V4)) == len(guarded(inside)) == number + 1)  # noqa: B023
        assert own == []
        # What this nft did is not taken for the doing of others.
        assert tuple(runtime.state.list(NetworkProblem)) == ()
        # Beside it there may be one that lists the table for a while.
        await eventually(lambda: len(pids_in(inside.name)) == 1)
        (kept,) = pids_in(inside.name)
        os.kill(kept, signal.SIGKILL)
        await want_elements(runtime, "last", "192.0.2.0/24")
        await eventually(lambda: len(elements(inside, V4)) == len(guarded(inside)) == 4)


async def test_no_other_process_can_change_the_guard() -> None:
    async with node() as (inside, runtime):
        await runtime.put(NfTablesChain, "guard", GUARD)
        await eventually(lambda: "nodespan_guard" in tables(inside))
        for command in ("delete table inet nodespan_guard", "flush chain inet nodespan_guard guard"):
            with pytest.raises(AssertionError, match="not permitted"):
                inside.run("nft", *command.split())


async def test_the_guard_ends_with_its_controller() -> None:
    with namespace() as inside:
        async with running(controller(inside)) as runtime:
            await runtime.put(NfTablesChain, "guard", GUARD)
            await eventually(lambda: "nodespan_guard" in tables(inside))
        await eventually(lambda: tables(inside) == {"nodespan"})


async def test_a_table_that_others_delete_is_back_at_once_and_a_problem_names_them() -> None:
    async with node() as (inside, runtime):
        await want_kubespan(runtime)
        await want_elements(runtime, "a", "192.0.2.0/24")
        await eventually(lambda: elements(inside, V4) == {"192.0.2.0/24"} and len(chains(inside)) == 2)
        inside.run("nft", "delete", "table", "inet", "nodespan")
        await eventually(lambda: tables(inside) == {"nodespan"} and elements(inside, V4) == {"192.0.2.0/24"})
        problem = await runtime.eventually(NetworkProblem, "NfTablesChains/nodespan")
        assert "was deleted by another program (nft, process " in problem.spec.message
        inside.run("nft", "flush", "chain", "inet", "nodespan", "kubespan_outgoing")
        await eventually(
            lambda: any(item.get("rule", {}).get("chain") == "kubespan_outgoing" for item in ruleset(inside))
        )
        await runtime.eventually(NetworkProblem, problem.id, lambda spec: "was changed by" in spec.spec.message)


async def test_tables_of_others_are_no_concern() -> None:
    async with node() as (inside, runtime):
        await want_kubespan(runtime)
        await eventually(lambda: len(chains(inside)) == 2)
        inside.run("nft", "add", "table", "inet", "theirs")
        inside.run("nft", "delete", "table", "inet", "theirs")
        await want_elements(runtime, "a", "192.0.2.0/24")
        await eventually(lambda: elements(inside, V4) == {"192.0.2.0/24"})
        assert not runtime.state.list(NetworkProblem)


async def test_a_table_of_others_with_our_name_is_never_touched_and_ours_has_another(tmp_path: Path) -> None:
    theirs = "table inet nodespan { chain theirs { type filter hook input priority 0; counter accept; }; }"
    with namespace() as inside:
        inside.run("nft", theirs)
        inside.run("nft", "add table inet nodespan_guard")
        before = inside.run("nft", "--handle", "list", "ruleset")

        async def kept(run: Node, *, is_first: bool) -> None:
            await want_kubespan(run)
            await run.put(NfTablesChain, "guard", GUARD)
            problem = await run.eventually(NetworkProblem, "NfTablesChains/nodespan")
            assert "another program has made a table inet nodespan: it is left alone, and" in problem.spec.message
            refused = await run.eventually(NetworkProblem, "NfTablesChains/nodespan_guard")
            assert "another program has made a table inet nodespan_guard" in refused.spec.message
            await eventually(
                lambda: "kubespan_outgoing" in inside.run("nft", "list", "table", "inet", "nodespan_agent")
            )
            if not is_first:
                return
            inside.run("nft", "delete", "table", "inet", "nodespan_agent")
            await eventually(lambda: "nodespan_agent" in tables(inside))

        for is_first in (True, False):
            # The second agent finds in the record which table is whose, and would know its own by its content, too.
            async with running(controller(inside, prior=PriorState(tmp_path / "before.jsonl"))) as runtime:
                await kept(runtime, is_first=is_first)
                if not is_first:
                    for chain in ("kubespan_prerouting", "kubespan_outgoing", "guard"):
                        await runtime.destroy(NfTablesChain, chain)
                    await eventually(lambda: "nodespan_agent" not in tables(inside))
        assert inside.run("nft", "--handle", "list", "ruleset") == before


async def test_a_table_of_an_agent_whose_record_is_lost_is_known_by_its_content(tmp_path: Path) -> None:
    with namespace() as inside:
        for directory in ("first", "second"):
            (tmp_path / directory).mkdir()
            prior = PriorState(tmp_path / directory / "before.jsonl")
            async with running(controller(inside, prior=prior)) as runtime:
                await want_kubespan(runtime)
                await runtime.settled()
                await eventually(lambda: len(chains(inside)) == 2)
                assert tables(inside) == {"nodespan"}
                assert not runtime.state.list(NetworkProblem)


def guarded(inside: Namespace) -> set[str]:
    if "nodespan_guard" not in tables(inside):
        return set()
    for item in listed(inside, "set", "nodespan_guard", V4):
        if "set" in item:
            return {f"{each['prefix']['addr']}/{each['prefix']['len']}" for each in item["set"].get("elem", [])}
    return set()
