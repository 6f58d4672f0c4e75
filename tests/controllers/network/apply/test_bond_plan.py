"""Which options of a bond are written, and what is done to the bond for that."""

from typing import Any

import attrs
import pytest

from nodespan.controllers.network.apply.bond_plan import blindness, changes, creation, filled, in_words, steps
from nodespan.controllers.network.apply.master_address import first_member_address
from nodespan.kernel.changes.bond_options import BY_FIELD, OPTIONS, encode
from nodespan.kernel.changes.link_changes import LinkChange
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.kernel.rtnetlink import members as attributes_in
from nodespan.resources.network import BondMaster, LinkFlags, LinkSpecSpec, LinkStatusSpec
from nodespan.resources.network.enums import ADSelect, ARPValidate, BondMode, FailOverMAC, KernelEnum, LACPRate

AB = BondMode.ACTIVE_BACKUP
LACP = BondMode.IEEE8023AD
MODES = list(BondMode)


def bond_link(options: BondMaster, *, up: bool = True) -> KernelLink:
    flags = LinkFlags.UP if up else LinkFlags(0)
    return KernelLink(name="bond0", status=LinkStatusSpec(index=9, kind="bond", flags=flags, bond_master=options))


def card(name: str, index: int, master: int = 0, **fields: Any) -> KernelLink:
    return KernelLink(name=name, status=LinkStatusSpec(index=index, master_index=master, **fields))


def lookup(*links: KernelLink) -> LinkLookup:
    return LinkLookup({link.status.index: link for link in links})


NOTHING = lookup()


def written(wanted: BondMaster, current: BondMaster) -> dict[str, Any]:
    return dict(changes(wanted, bond_link(current), NOTHING))


@pytest.mark.parametrize("mode", MODES)
def test_a_bond_with_all_options_set_needs_no_change(mode: BondMode) -> None:
    wanted = BondMaster(mode=mode, miimon=100, updelay=250)
    told: dict[str, Any] = dict(creation(wanted, NOTHING))
    current = attrs.evolve(BondMaster(), **told)
    assert written(wanted, current) == {}
    assert next(iter(told)) == "mode"


@pytest.mark.parametrize(
    ("field", "modes"),
    [
        ("lacp_rate", {LACP}),
        ("ad_lacp_active", {LACP}),
        ("ad_actor_sys_prio", {LACP}),
        ("ad_user_port_key", {LACP}),
        ("packets_per_slave", {BondMode.ROUND_ROBIN}),
        ("tlb_logical_lb", {BondMode.TLB, BondMode.ALB}),
        ("arp_interval", set(MODES) - {LACP, BondMode.TLB, BondMode.ALB}),
        ("arp_ip_targets", set(MODES) - {LACP, BondMode.TLB, BondMode.ALB}),
        ("arp_validate", set(MODES) - {LACP, BondMode.TLB, BondMode.ALB}),
        ("missed_max", set(MODES) - {LACP, BondMode.TLB, BondMode.ALB}),
        ("miimon", set(MODES)),
        ("ad_select", set(MODES)),
    ],
)
def test_options_are_set_only_in_modes_that_have_them(field: str, modes: set[BondMode]) -> None:
    assert {mode for mode in MODES if field in dict(creation(BondMaster(mode=mode), NOTHING))} == modes


def test_what_is_left_open_has_the_drivers_default() -> None:
    bond = filled(BondMaster())
    assert (bond.use_carrier, bond.resend_igmp, bond.lp_interval, bond.packets_per_slave) == (True, 1, 1, 1)
    assert (bond.num_peer_notif, bond.ad_actor_sys_prio, bond.missed_max) == (1, 65535, 2)


def test_delays_count_in_turns_of_the_monitor_and_need_one() -> None:
    bond = BondMaster(mode=AB, miimon=100, updelay=250, downdelay=99)
    assert (filled(bond).updelay, filled(bond).downdelay) == (200, 0)
    without = dict(creation(BondMaster(mode=AB, updelay=250), NOTHING))
    assert not {"updelay", "downdelay", "peer_notify_delay"} & without.keys()
    current = attrs.evolve(filled(bond), miimon=50, updelay=100)
    assert written(bond, current) == {"miimon": 100, "updelay": 200, "downdelay": 0, "peer_notify_delay": 0}


@pytest.mark.parametrize(
    ("wanted", "current", "expected"),
    [
        ({"min_links": 2}, {}, {"min_links": 2}),
        ({}, {"min_links": 2}, {"min_links": 0}),
        ({"arp_ip_targets": ("192.0.2.1", "192.0.2.2")}, {"arp_ip_targets": ("192.0.2.2", "192.0.2.1")}, {}),
        ({"ns_ip6_targets": ("2001:DB8:0::1",)}, {"ns_ip6_targets": ("2001:db8::1",)}, {}),
        ({"arp_ip_targets": ()}, {"arp_ip_targets": ("192.0.2.1",)}, {"arp_ip_targets": ()}),
        # A kernel that does not know the option shows none.
        ({"missed_max": 7}, {"missed_max": 0}, {}),
        ({"missed_max": 7}, {}, {"missed_max": 7}),
        ({"arp_validate": ARPValidate.ALL}, {}, {"arp_validate": ARPValidate.ALL}),
    ],
)
def test_only_what_differs_is_written(
    wanted: dict[str, Any], current: dict[str, Any], expected: dict[str, Any]
) -> None:
    base = filled(BondMaster(mode=AB))
    assert written(BondMaster(mode=AB, **wanted), attrs.evolve(base, **current)) == expected


@pytest.mark.parametrize(
    ("changed", "up", "expected"),
    [
        ({"min_links": 2}, True, ["bond"]),
        ({"ad_select": ADSelect.COUNT}, True, ["down", "bond"]),
        ({"ad_select": ADSelect.COUNT}, False, ["bond"]),
        ({"fail_over_mac": FailOverMAC.ACTIVE}, True, ["release 1", "release 2", "bond"]),
        ({"mode": BondMode.XOR}, True, ["release 1", "release 2", "down", "bond"]),
    ],
)
def test_no_more_is_done_to_a_bond_than_the_driver_asks_for(
    changed: dict[str, Any], up: bool, expected: list[str]
) -> None:
    members = (card("e0", 1, 9), card("e1", 2, 9))
    wanted = BondMaster(**{"mode": AB, **changed})
    taken = steps(wanted, bond_link(filled(BondMaster(mode=AB)), up=up), NOTHING, members)
    assert [said(step) for step in taken] == expected


def said(step: LinkChange) -> str:
    if step.master == 0:
        return f"release {step.index}"
    assert step.index == 9
    return "down" if step.up is False else "bond"


@pytest.mark.parametrize(
    ("primary", "links", "current", "expected"),
    [
        ("e0", (card("e0", 1, 9),), 0, {"primary_index": 1}),
        ("e0", (card("e0", 1, 9),), 1, {}),
        # Not a member (yet), or not there at all: the driver would take the index for none.
        ("e0", (card("e0", 1),), 2, {}),
        ("e0", (), 2, {}),
        ("", (card("e0", 1, 9),), 1, {"primary_index": 0}),
        ("", (), 0, {}),
    ],
)
def test_the_primary_is_set_by_index_while_it_is_a_member(
    primary: str, links: tuple[KernelLink, ...], current: int, expected: dict[str, int]
) -> None:
    there = bond_link(attrs.evolve(filled(BondMaster(mode=AB)), primary_index=current))
    assert dict(changes(BondMaster(mode=AB, primary=primary), there, lookup(there, *links))) == expected


def test_a_new_bond_gets_its_primary_if_that_exists() -> None:
    wanted = BondMaster(mode=AB, primary="e0")
    assert dict(creation(wanted, lookup(card("e0", 1))))["primary_index"] == 1
    assert "primary_index" not in dict(creation(wanted, NOTHING))
    assert "primary_index" not in dict(creation(BondMaster(primary="e0"), lookup(card("e0", 1))))


def test_a_target_that_is_no_address_is_named() -> None:
    with pytest.raises(ValueError, match="'x' does not appear to be"):
        creation(BondMaster(arp_ip_targets=("x",)), NOTHING)


@pytest.mark.parametrize(
    ("bond", "sees"),
    [
        (BondMaster(), False),
        (BondMaster(mode=LACP), False),
        (BondMaster(miimon=100), True),
        (BondMaster(arp_interval=100), True),
    ],
)
def test_a_bond_that_does_not_monitor_its_members_is_reported(bond: BondMaster, sees: bool) -> None:
    warning = blindness("bond0", bond)
    assert bool(warning) is not sees
    if warning:
        assert "bond0" in warning
        assert "miimon: 100" in warning
        assert ("arpInterval" in warning) is (bond.mode != LACP)


def test_a_conflict_with_another_program_is_described_in_words() -> None:
    current = BondMaster(miimon=70, lacp_rate=LACPRate.FAST)
    options = (("miimon", 50), ("updelay", 0), ("lacp_rate", LACPRate.SLOW))
    assert in_words(options, current) == "miimon 70 instead of 50, lacp_rate fast instead of slow"


def test_every_field_of_a_bond_is_an_option() -> None:
    fields = {field.name for field in attrs.fields(BondMaster)} - {"primary"}
    assert {option.field for option in OPTIONS} == fields
    assert len({option.number for option in OPTIONS}) == len(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_an_option_is_encoded_in_its_size(option: Any) -> None:
    value: Any = getattr(filled(BondMaster(arp_ip_targets=("192.0.2.1",), ns_ip6_targets=("::1",))), option.field)
    ((number, data),) = attributes_in(encode(option.field, value))
    assert number == BY_FIELD[option.field].number == option.number
    if option.size:
        expected = value.number if isinstance(value, KernelEnum) else int(value)
        assert (len(data), int.from_bytes(data, "little")) == (option.size, expected)
    else:
        ((place, packed),) = attributes_in(data)
        assert (place, len(packed)) == (0, 4 if option.field == "arp_ip_targets" else 16)


# The address of a bond.


def spec(name: str, number: int) -> LinkSpecSpec:
    return LinkSpecSpec(name=name, master_name="bond0", slave_index=number)


OWN = "02:00:00:00:00:01"
OTHER = "02:00:00:00:00:02"


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ((card("e0", 1, hardware_addr=OWN), card("e1", 2, hardware_addr=OTHER)), OTHER),
        ((card("e0", 1, hardware_addr=OWN),), OWN),
        ((), ""),
        # What a bond lent it is not its own.
        ((card("e1", 2, 9, hardware_addr=OWN, permanent_addr=OTHER, slave_kind="bond"),), OTHER),
        ((card("e1", 2, 9, hardware_addr=OWN, slave_kind="bond"),), ""),
        ((card("e1", 2, hardware_addr="00:00:00:00:00:00"), card("e0", 1, hardware_addr=OWN)), OWN),
    ],
)
def test_the_first_member_that_there_is_gives_its_address(links: tuple[KernelLink, ...], expected: str) -> None:
    assert first_member_address((spec("e0", 1), spec("e1", 0)), lookup(*links)) == expected


def test_a_member_that_is_configured_with_an_address_need_not_be_there_to_give_it() -> None:
    configured = attrs.evolve(spec("e1", 0), hardware_addr=OTHER.upper())
    assert first_member_address((spec("e0", 1), configured), lookup(card("e0", 1, hardware_addr=OWN))) == OTHER
