"""Bonds: their options, members that come and go, their address, and what is reported to operators."""

import subprocess
from typing import Any

import attrs
import pytest
import trio

from nodespan.resources.network import VLAN, BondMaster, LinkSpec, NetworkProblem, Severity
from nodespan.resources.network.enums import (
    ADLACPActive,
    ADSelect,
    ARPAllTargets,
    ARPValidate,
    BondMode,
    FailOverMAC,
    LACPRate,
    PrimaryReselect,
    XmitHashPolicy,
)
from tests.mesh.bond_scenarios import (
    MEMBERS,
    Bench,
    address,
    bench,
    bond,
    cables,
    controllers,
    member,
    ping,
    plug,
    pull,
    received,
    recorded,
    rename,
    until,
)
from tests.mesh.link_scenarios import BASE, links, unwant
from tests.support.netns import execute

MODES = {
    "balance-rr": (
        {"mode": BondMode.ROUND_ROBIN, "packets_per_slave": 3, "resend_igmp": 2, "min_links": 1},
        {"packets_per_slave": 3, "resend_igmp": 2, "min_links": 1, "arp_missed_max": 2},
    ),
    "active-backup": (
        {
            "primary": "e1",
            "primary_reselect": PrimaryReselect.BETTER,
            "fail_over_mac": FailOverMAC.ACTIVE,
            "updelay": 100,
            "downdelay": 150,
            "peer_notify_delay": 50,
            "num_peer_notif": 3,
        },
        {
            "primary": "e1",
            "primary_reselect": "better",
            "fail_over_mac": "active",
            "updelay": 100,
            "downdelay": 150,
            "peer_notify_delay": 50,
            "num_peer_notif": 3,
        },
    ),
    "active-backup with targets": (
        {
            "miimon": 0,
            "arp_interval": 200,
            "arp_ip_targets": ("192.0.2.9", "192.0.2.8"),
            "ns_ip6_targets": ("2001:db8:0::9",),
            "arp_validate": ARPValidate.ACTIVE,
            "arp_all_targets": ARPAllTargets.ALL,
            "missed_max": 5,
        },
        {
            "arp_interval": 200,
            "arp_ip_target": ["192.0.2.9", "192.0.2.8"],
            "ns_ip6_target": ["2001:db8::9"],
            "arp_validate": "active",
            "arp_all_targets": "all",
            "arp_missed_max": 5,
        },
    ),
    "balance-xor": (
        {"mode": BondMode.XOR, "xmit_hash_policy": XmitHashPolicy.LAYER34, "all_slaves_active": 1},
        {"xmit_hash_policy": "layer3+4", "all_slaves_active": 1},
    ),
    "802.3ad": (
        {
            "mode": BondMode.IEEE8023AD,
            "lacp_rate": LACPRate.FAST,
            "ad_select": ADSelect.COUNT,
            "ad_actor_sys_prio": 1000,
            "ad_user_port_key": 77,
        },
        {"ad_lacp_rate": "fast", "ad_select": "count", "ad_actor_sys_prio": 1000, "ad_user_port_key": 77},
    ),
    "balance-tlb": ({"mode": BondMode.TLB, "tlb_logical_lb": 1, "lp_interval": 5}, {"lp_interval": 5}),
    "balance-alb": ({"mode": BondMode.ALB, "primary": "e0"}, {"primary": "e0"}),
}

# What these have of their own the others have too.
_ALIKE = ("balance-xor", "balance-tlb", "balance-alb")


@pytest.mark.parametrize(
    ("options", "reported"),
    [pytest.param(*each, id=mode, marks=[pytest.mark.soak] if mode in _ALIKE else []) for mode, each in MODES.items()],
)
async def test_a_bond_is_created_with_its_options_in_one_step(
    options: dict[str, Any], reported: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with cables() as places:
        async with controllers(*places) as made:
            await made.want(bond(**options), *MEMBERS)
            await made.whole("e0", "e1")
            expected = {"mode": str(options.get("mode", BondMode.ACTIVE_BACKUP)), **reported}
            await until(lambda: {key: made.options().get(key) for key in expected} == expected)
            await made.runtime.settled()
            assert not made.runtime.state.list(NetworkProblem)
        with recorded(monkeypatch) as written:
            async with controllers(*places) as again:
                await again.want(bond(**options), *MEMBERS)
                await again.runtime.eventually(LinkSpec, "e1", lambda found: bool(found.metadata.finalizers))
                await again.runtime.settled()
        assert written == []


LIVE: dict[str, Any] = {
    "miimon": 100,
    "updelay": 200,
    "downdelay": 200,
    "peer_notify_delay": 200,
    "arp_all_targets": ARPAllTargets.ALL,
    "primary": "e1",
    "primary_reselect": PrimaryReselect.FAILURE,
    "xmit_hash_policy": XmitHashPolicy.LAYER23,
    "resend_igmp": 5,
    "num_peer_notif": 4,
    "all_slaves_active": 1,
    "min_links": 1,
    "lp_interval": 9,
    "missed_max": 7,
}


async def test_live_options_are_changed_without_touching_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as made:
        await made.want(bond(), *MEMBERS)
        await made.whole("e0", "e1")
        await made.runtime.settled()
        wanted: dict[str, Any] = {}
        for field, value in LIVE.items():
            wanted[field] = value
            with recorded(monkeypatch) as written:
                await made.want(bond(**wanted))
                await made.runtime.settled()
            (change,) = written
            # Delays are counted in turns of miimon, which are sent along with it.
            delays = {"updelay", "downdelay", "peer_notify_delay"} if field == "miimon" else set()
            name = "primary_index" if field == "primary" else field
            assert {each for each, _ in change.bond} == {name} | delays
            assert change.up is None
        assert made.members() == ["e0", "e1"]
        assert not made.runtime.state.list(NetworkProblem)
        for field, value in (("miimon", 0), ("arp_interval", 100), ("arp_ip_targets", ("192.0.2.9",))):
            wanted[field] = value
        with recorded(monkeypatch) as written:
            await made.want(bond(**wanted))
            await until(lambda: made.options().get("arp_ip_target") == ["192.0.2.9"])
        assert all(change.bond and change.up is None for change in written)


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        ({}, {"mode": BondMode.XOR}, {"mode": "balance-xor"}),
        ({}, {"fail_over_mac": FailOverMAC.ACTIVE}, {"fail_over_mac": "active"}),
        (
            {"mode": BondMode.IEEE8023AD},
            {
                "mode": BondMode.IEEE8023AD,
                "lacp_rate": LACPRate.FAST,
                "ad_actor_sys_prio": 7,
                "ad_user_port_key": 8,
                "ad_lacp_active": ADLACPActive.OFF,
                "ad_select": ADSelect.COUNT,
            },
            {
                "ad_lacp_rate": "fast",
                "ad_actor_sys_prio": 7,
                "ad_user_port_key": 8,
                "ad_lacp_active": "off",
                "ad_select": "count",
            },
        ),
        ({"mode": BondMode.TLB, "tlb_logical_lb": 1}, {"mode": BondMode.TLB}, {"tlb_dynamic_lb": 0}),
    ],
)
async def test_options_that_need_the_bond_down_are_changed_and_the_bond_recovers(
    before: dict[str, Any], after: dict[str, Any], reported: dict[str, Any]
) -> None:
    async with bench() as made:
        await made.want(bond(**before), *MEMBERS)
        await made.whole("e0", "e1")
        there = made.link("bond0")
        await made.want(bond(**after))
        await until(lambda: {key: made.options().get(key) for key in reported} == reported)
        await made.whole("e0", "e1")
        assert {key: made.link("bond0")[key] for key in ("ifindex", "address")} == {
            key: there[key] for key in ("ifindex", "address")
        }
        await made.runtime.settled()
        assert not made.runtime.state.list(NetworkProblem)


@pytest.mark.soak
async def test_changing_one_bond_loses_no_packet_on_another() -> None:
    async with bench() as made:
        await made.want(bond(), *MEMBERS, bond("bond1"), member("e2", 0, "bond1"))
        await made.whole("e0", "e1")
        await made.whole("e2", name="bond1")
        made.inside.run("ip", "addr", "add", "192.0.2.1/24", "dev", "bond1")
        made.inside.run("ping", "-c", "1", "-w", "10", "192.0.2.9")
        output = b""

        async def flood() -> None:
            nonlocal output
            done = await trio.run_process(ping(made.inside, 400, 0.01), capture_stdout=True, stderr=subprocess.STDOUT)
            output = done.stdout

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for options in ({"updelay": 100}, {"mode": BondMode.XOR}, {"mode": BondMode.IEEE8023AD}, {"miimon": 200}):
                await made.want(bond(**options))
                await made.whole("e0", "e1")
        sent, back = received(output.decode())
        assert sent == back == 400


@pytest.mark.soak
async def test_a_live_change_loses_no_packet_on_the_bond_itself() -> None:
    async with bench() as made:
        await made.want(bond(), *MEMBERS)
        await made.whole("e0", "e1")
        made.inside.run("ip", "addr", "add", "192.0.2.1/24", "dev", "bond0")
        made.inside.run("ping", "-c", "1", "-w", "10", "192.0.2.9")
        output = b""

        async def flood() -> None:
            nonlocal output
            done = await trio.run_process(ping(made.inside, 300, 0.01), capture_stdout=True, stderr=subprocess.STDOUT)
            output = done.stdout

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for options in ({"updelay": 100}, {"num_peer_notif": 3}, {"min_links": 1}, {"resend_igmp": 3}):
                await made.want(bond(**options))
                await made.runtime.settled()
        sent, back = received(output.decode())
        assert sent == back == 300


# Members.


async def test_a_member_can_be_unplugged_renamed_and_plugged_back() -> None:
    async with bench() as made:
        await made.want(bond(primary="e0"), *MEMBERS)
        await made.whole("e0", "e1")
        pull(made.inside, "e0")
        await made.whole("e1")
        await made.problem("e0", "there is no link e0")
        plug(made.inside, made.far, {"e0": address(0)})
        await made.whole("e1", "e0")
        await until(lambda: made.options().get("primary") == "e0")
        await made.runtime.gone(NetworkProblem, "LinkSpecs/e0")
        made.inside.run("ip", "link", "set", "e1", "nomaster")
        await made.whole("e0", "e1")
        rename(made.inside, "e1", "other")
        await made.problem("e1", "there is no link e1")
        rename(made.inside, "other", "e1")
        await until(lambda: sorted(made.members()) == ["e0", "e1"])
        # A card that is taken out of its bond is set down by that: this is still shown as undone.
        await until(lambda: all("has been restored" in text for text in made.messages()))


async def test_a_member_no_longer_configured_is_released_even_after_a_restart() -> None:
    alone = attrs.evolve(MEMBERS[1], master_name="", slave_index=0)
    with cables() as places:
        async with controllers(*places) as made:
            await made.want(bond(), *MEMBERS)
            await made.whole("e0", "e1")
            await made.want(alone)
            await made.whole("e0")
            await until(lambda: "UP" in made.link("e1")["flags"])
            await made.want(MEMBERS[1])
            await made.whole("e0", "e1")
        async with controllers(*places) as again:
            assert again.members() == ["e0", "e1"]
            await again.want(bond(), MEMBERS[0], alone)
            await again.whole("e0")


async def test_members_join_in_configured_order_and_move_between_bonds() -> None:
    async with bench() as made:
        await made.want(member("e0", 1), member("e1", 0), bond())
        await made.whole("e1", "e0")
        await made.want(bond("bond1"), member("e0", 0, "bond1"))
        await made.whole("e1")
        await made.whole("e0", name="bond1")


async def test_a_bond_no_longer_desired_is_removed_and_frees_its_members() -> None:
    async with bench() as made:
        await made.want(bond(), *MEMBERS)
        await made.whole("e0", "e1")
        for name in ("e0", "e1", "bond0"):
            await unwant(made.runtime, name)
        await until(lambda: "bond0" not in links(made.inside))
        await made.runtime.gone(LinkSpec, "bond0")
        assert [made.link(name)["address"] for name in ("e0", "e1")] == [address(0), address(1)]


# Addresses.


async def test_a_bond_takes_the_address_of_its_first_member_at_each_start_and_keeps_it() -> None:
    async with bench() as made:
        await made.want(bond(), *MEMBERS)
        await made.whole("e0", "e1")
        assert [made.link(name)["address"] for name in ("bond0", "e0", "e1")] == [address(0)] * 3
        made.inside.run("ip", "link", "del", "bond0")
        await made.whole("e0", "e1")
        assert made.link("bond0")["address"] == address(0)
        for card, number in (("e0", 0), ("e1", 1)):
            pull(made.inside, card)
            assert made.link("bond0")["address"] == address(0) or card == "e1"
            # The driver thinks up another one when the last member goes.
            if card == "e1":
                plug(made.inside, made.far, {card: address(number)})
                await made.whole("e1")
        assert made.link("bond0")["address"] == address(0)


@pytest.mark.soak
async def test_a_configured_hardware_address_wins() -> None:
    async with bench() as made:
        wanted = attrs.evolve(bond(), hardware_addr="02:00:00:00:00:AA")
        await made.want(wanted, attrs.evolve(MEMBERS[0], hardware_addr="02:00:00:00:00:BB"), MEMBERS[1])
        await made.whole("e0", "e1")
        assert [made.link(name)["address"] for name in ("bond0", "e0", "e1")] == ["02:00:00:00:00:aa"] * 3
        await made.runtime.settled()
        assert not made.runtime.state.list(NetworkProblem)


async def test_an_existing_bond_is_taken_over() -> None:
    async with bench() as made:
        made.inside.run("ip", "link", "add", "bond0", "type", "bond")
        await made.want(bond(), *MEMBERS)
        await made.whole("e0", "e1")
        assert made.options()["mode"] == "active-backup"
        assert made.link("bond0")["address"] == address(0)


async def test_loading_the_bonding_driver_creates_no_bond() -> None:
    # With it go all its bonds.
    execute("modprobe", "--remove", "bonding")
    async with bench() as made:
        await made.want(bond("bond1"), member("e0", 0, "bond1"))
        await made.whole("e0", name="bond1")
        assert "bond0" not in execute("ip", "-o", "link")


# What others do, and what cannot be.


async def test_an_option_changed_by_hand_is_restored_and_a_conflict_is_damped_and_reported() -> None:
    async with bench() as made:
        await made.want(bond(), *MEMBERS)
        await made.whole("e0", "e1")
        made.inside.run("ip", "link", "set", "bond0", "type", "bond", "miimon", "70")
        await until(lambda: made.options()["miimon"] == 50)
        turns = await war(made, "miimon", "70")
        await made.problem("bond0", "miimon 70 instead of 50: another program keeps reverting it")
        assert turns < 12


async def war(made: Bench, option: str, value: str) -> int:
    """Somebody who undoes what the agent does until that is noticed; returns how often they had to."""
    turns = 0
    while not made.runtime.state.list(NetworkProblem):
        if str(made.options()[option]) != value:
            turns += 1
            made.inside.run("ip", "link", "set", "bond0", "type", "bond", option, value)
        await trio.sleep(0.02)
    return turns


async def test_a_bond_without_link_monitoring_is_created_with_a_warning() -> None:
    async with bench() as made:
        await made.want(bond(miimon=0), *MEMBERS)
        await made.whole("e0", "e1")
        problem = await made.problem("bond0", "bond0 watches neither the carrier nor ARP targets")
        assert problem.severity is Severity.WARNING
        await made.want(bond(miimon=50))
        await made.runtime.gone(NetworkProblem, "LinkSpecs/bond0")


async def test_contradicting_options_are_reported_and_others_apply() -> None:
    async with bench() as made:
        both = BondMaster(mode=BondMode.ACTIVE_BACKUP, miimon=100, arp_interval=100, arp_ip_targets=("192.0.2.9",))
        await made.want(attrs.evolve(bond(), bond_master=both), attrs.evolve(BASE, name="e2", logical=False, mtu=1300))
        await made.problem("bond0")
        await made.want(bond("bond1", mode=BondMode.ACTIVE_BACKUP, miimon=0, arp_interval=7, arp_ip_targets=("x",)))
        await made.problem("bond1", "'x' does not appear to be an IPv4 or IPv6 address")
        await until(lambda: made.link("e2")["mtu"] == 1300)


# What rests on a bond.


async def test_a_vlan_returns_with_its_bond_and_its_mtu_is_limited_by_the_bond() -> None:
    async with bench() as made:
        vlan = attrs.evolve(BASE, name="bond0.100", kind="vlan", parent_name="bond0", vlan=VLAN(vlan_id=100), mtu=9000)
        await made.want(vlan, bond(), *MEMBERS)
        await until(lambda: "UP" in made.link("bond0.100").get("flags", ()))
        await made.problem("bond0.100", "MTU 9000 of bond0.100 is above the MTU 1500 of bond0")
        assert made.link("bond0.100")["mtu"] == 1500
        await made.want(attrs.evolve(bond(), mtu=9000))
        await until(lambda: made.link("bond0.100")["mtu"] == 9000)
        await made.runtime.gone(NetworkProblem, "LinkSpecs/bond0.100")
        made.inside.run("ip", "link", "del", "bond0")
        await until(lambda: made.link("bond0.100").get("mtu") == 9000)
        await made.whole("e0", "e1")
        assert made.link("bond0.100")["address"] == address(0)
        made.inside.run("ip", "link", "del", "bond0.100")
        await until(lambda: "UP" in made.link("bond0.100").get("flags", ()))
