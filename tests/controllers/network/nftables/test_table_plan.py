"""What is sent to the packet filter: only what changed, all of it when that is not certain."""

import json
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
import trio

from nodespan.controllers.common.ip.cover import prefix_key
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.nftables.chain import (
    Known,
    ListTable,
    Send,
    Sender,
    Track,
    _Others,
    _run,
    _TablePlan,
    _Tracking,
)
from nodespan.controllers.network.nftables.desired_table import DesiredTable
from nodespan.controllers.network.nftables.document import SeenChain, SeenTable, read_table
from nodespan.controllers.network.nftables.guard import GuardTable, GuardWork
from nodespan.controllers.network.nftables.render import render
from nodespan.controllers.network.nftables.retries import LastingRetries
from nodespan.kernel.packet_filter import nft
from nodespan.kernel.packet_filter.owned_table import OwnedTable
from nodespan.resources.network import ConntrackStateMatch, Mark, NfTablesChainSpec, NfTablesRule, Verdict

pytestmark = pytest.mark.virtual_clock
V4 = "routed_ipv4"
HELD = frozenset({prefix_key("10.0.0.0/8")})


def parts() -> tuple[_TablePlan, DesiredTable, _Others]:
    desired, others = DesiredTable("t", "t_guard", LastingRetries(), stale_after=300.0), _Others()
    desired.is_active = True
    return _TablePlan(desired, GuardTable("t_guard", None), others, _Tracking()), desired, others


def want(desired: DesiredTable, owner: str, *prefixes: str) -> None:
    desired._uses["routed"] = 1
    desired._put("routed", owner, [prefix_key(prefix) for prefix in prefixes])
    for each in desired.sets.values():
        each.touched |= each.cover.take()


def work(plan: _TablePlan) -> Any:
    return plan.decide("t")["t"].work


def listed(desired: DesiredTable, seen: SeenTable | None) -> None:
    """The table was listed."""
    desired.begin_list()
    desired.note_listed(seen)


def compare(plan: _TablePlan, desired: DesiredTable) -> None:
    """The table is made what it should be."""
    sent = work(plan)
    desired.note_compared(sent.kept, sent.chains)


def commands(tell: Any) -> list[Any]:
    assert isinstance(tell, Send)
    found: list[Any] = json.loads(tell.text)["nftables"]
    return found


def compared(*prefixes: str) -> tuple[_TablePlan, DesiredTable, _Others]:
    """The parts when the table holds what is desired."""
    plan, desired, others = parts()
    want(desired, "a", *prefixes)
    listed(desired, None)
    compare(plan, desired)
    assert work(plan) is None
    return plan, desired, others


async def test_the_table_is_listed_before_anything_is_sent() -> None:
    plan, desired, _ = parts()
    want(desired, "a", "192.0.2.0/24")
    assert work(plan) == ListTable()
    listed(desired, SeenTable())
    assert {next(iter(command)) for command in commands(work(plan))} == {"add"}
    # Deciding changes nothing: what is decided twice is the same.
    assert work(plan) == work(plan)


async def test_changed_elements_are_sent_alone() -> None:
    plan, desired, _ = compared("192.0.2.0/24")
    want(desired, "b", "198.51.100.0/24")
    (command,) = commands(work(plan))
    assert command["add"]["element"]["elem"] == [{"prefix": {"addr": "198.51.100.0", "len": 24}}]
    desired.note_sent(work(plan).chains)
    assert work(plan) is None
    want(desired, "b")
    (command,) = commands(work(plan))
    assert command["delete"]["element"]["elem"] == [{"prefix": {"addr": "198.51.100.0", "len": 24}}]


async def test_after_a_failure_the_table_is_listed_and_sets_that_differ_are_filled_again() -> None:
    plan, desired, _ = compared("192.0.2.0/24")
    want(desired, "b", "198.51.100.0/24")
    desired.note_failed()
    assert work(plan) == ListTable()
    listed(desired, SeenTable(sets={V4: HELD, "routed_ipv6": frozenset()}))
    assert [next(iter(command)) for command in commands(work(plan))] == ["flush", "add"]


async def test_a_deleted_table_is_written_without_being_listed() -> None:
    plan, desired, others = compared("192.0.2.0/24")
    desired.compare()
    others.has_deleted = True
    assert commands(work(plan))[0] == {"add": {"table": {"family": "inet", "name": "t"}}}


async def test_what_an_earlier_process_left_stays_for_a_while() -> None:
    plan, desired, _ = parts()
    want(desired, "a", "192.0.2.0/24")
    found = SeenTable(sets={V4: HELD | {prefix_key("192.0.2.0/24")}, "routed_ipv6": frozenset()})
    listed(desired, found)
    assert work(plan) is None
    await trio.sleep(300.0)
    assert trio.current_time() >= desired.stale_until
    desired.forget_before()
    desired.compare()
    listed(desired, found)
    (command,) = commands(work(plan))
    assert command["delete"]["element"]["elem"] == [{"prefix": {"addr": "10.0.0.0", "len": 8}}]


async def test_a_table_that_nothing_desires_is_deleted() -> None:
    plan, desired, _ = compared("192.0.2.0/24")
    want(desired, "a")
    desired._release("routed")
    assert work(plan) == ListTable()
    listed(desired, SeenTable(sets={V4: frozenset(), "routed_ipv6": frozenset()}))
    assert commands(work(plan)) == [{"delete": {"table": {"family": "inet", "name": "t"}}}]
    desired.note_compared((), {})
    assert work(plan) is None


async def test_the_guard_waits_for_the_table_unless_that_fails() -> None:
    plan, desired, _ = parts()
    want(desired, "a", "192.0.2.0/24")
    desired.chains["guard"] = render("guard", NfTablesChainSpec(guard=True))
    desired.guard_chains.add("guard")
    assert plan.decide("t_guard")["t_guard"].work is None
    desired.note_failed()
    assert isinstance(plan.decide("t_guard")["t_guard"].work, GuardWork)
    listed(desired, None)
    compare(plan, desired)
    assert isinstance(plan.decide("t_guard")["t_guard"].work, GuardWork)


def want_chain(desired: DesiredTable, *rules: NfTablesRule, name: str = "c") -> None:
    desired.chains[name] = render(name, NfTablesChainSpec(rules=rules))


def chain_names(tell: Any, verb: str) -> list[str]:
    return [command[verb]["chain"]["name"] for command in commands(tell) if "chain" in command.get(verb, {})]


async def test_a_chain_that_changes_is_sent_without_listing_the_table() -> None:
    plan, desired, _ = parts()
    want_chain(desired, NfTablesRule(verdict=Verdict.ACCEPT))
    listed(desired, None)
    compare(plan, desired)
    assert work(plan) is None
    want_chain(desired, NfTablesRule(verdict=Verdict.DROP))
    sent = work(plan)
    assert chain_names(sent, "flush") == ["c"]
    desired.note_sent(sent.chains)
    assert work(plan) is None
    # After a failure nothing is known.
    desired.note_failed()
    assert work(plan) == ListTable()


async def test_parts_of_a_long_chain_that_nothing_uses_are_removed_with_it_and_before() -> None:
    plan, desired, _ = parts()
    rules = [NfTablesRule(set_mark=Mark(mask=number)) for number in range(300)]
    want_chain(desired, *rules)
    whole = desired.chains["c"]
    # Another process has added one that looks like a part.
    found = {
        chain.name: SeenChain(header=chain.header, comments=(chain.generation,) * len(chain.rules))
        for chain in (whole, *whole.parts.values())
    }
    extra = f"c.{'0' * 16}"
    found[extra] = attrs.evolve(found["c"], header=whole.parts[min(whole.parts)].header)
    listed(desired, SeenTable(chains=found))
    assert chain_names(work(plan), "delete") == [extra]
    del found[extra]
    listed(desired, SeenTable(chains=found))
    assert work(plan) is None
    desired.chains.clear()
    want_chain(desired, name="other")
    desired.compare()
    listed(desired, SeenTable(chains=found))
    assert chain_names(work(plan), "delete") == ["c", *sorted(whole.parts)]


async def test_a_long_chain_of_an_earlier_process_stays_with_all_its_parts_until_it_is_desired() -> None:
    plan, desired, _ = parts()
    rules = [NfTablesRule(set_mark=Mark(mask=number)) for number in range(300)]
    before = render("c", NfTablesChainSpec(rules=tuple(rules)))
    found = SeenTable(
        chains={
            chain.name: SeenChain(header=chain.header, comments=(chain.generation,) * len(chain.rules))
            for chain in (before, *before.parts.values())
        }
    )
    want_chain(desired, name="other")
    listed(desired, found)
    assert chain_names(work(plan), "delete") == []
    want_chain(desired, *rules[1:])
    desired.stale_chains.discard("c")
    assert set(chain_names(work(plan), "delete")) == before.parts.keys() - desired.chains["c"].parts.keys()


TRACKING = NfTablesRule(match_conntrack_state=ConntrackStateMatch(states=("established",)), verdict=Verdict.ACCEPT)


def made_known(plan: _TablePlan, desired: DesiredTable) -> None:
    """All connections are made known, and the table is listed again: it is as it was."""
    plan._tracking.is_running, plan._tracking.is_done = False, True
    seen = desired.seen
    desired.compare()
    assert work(plan) == ListTable()
    listed(desired, seen)


async def test_connections_are_made_known_before_the_first_rule_that_asks_for_them() -> None:
    plan, desired, _ = parts()
    want_chain(desired, NfTablesRule(verdict=Verdict.ACCEPT))
    listed(desired, None)
    assert isinstance(work(plan), Send)
    want_chain(desired, TRACKING)
    assert work(plan) == Track()
    # Deciding changes nothing: what is decided twice is the same.
    assert work(plan) == Track()
    plan._tracking.is_running = True
    assert work(plan) is None
    made_known(plan, desired)
    sent = work(plan)
    assert (chain_names(sent, "add"), sent.chains.keys(), sent.retracks) == (["c"], {"c"}, True)
    chain = desired.chains["c"]
    listed(desired, SeenTable(chains={"c": SeenChain(header=chain.header, comments=())}))
    # One that is there looked at them already.
    plan._tracking.is_done = False
    assert (chain_names(work(plan), "flush"), work(plan).retracks) == (["c"], False)


async def test_nothing_but_the_chains_that_look_at_connections_waits_until_these_are_known() -> None:
    plan, desired, _ = parts()
    want(desired, "a", "192.0.2.0/24")
    want_chain(desired, NfTablesRule(verdict=Verdict.ACCEPT), name="mesh")
    want_chain(desired, TRACKING, name="ingress")
    desired.guard_chains |= {"mesh", "ingress"}
    listed(desired, None)
    first = work(plan)
    assert (chain_names(first, "add"), first.chains.keys(), first.retracks) == (["mesh"], {"mesh"}, False)
    desired.note_compared(first.kept, first.chains)
    assert work(plan) == Track()
    # In the kernel it is now as that was.
    mesh = desired.chains["mesh"]
    there = SeenChain(header=mesh.header, comments=(mesh.generation,) * len(mesh.rules))
    sets = {V4: frozenset({prefix_key("192.0.2.0/24")}), "routed_ipv6": frozenset()}
    table = SeenTable(chains={"mesh": there}, sets=sets)
    desired.compare()
    listed(desired, table)
    assert work(plan) == Track()
    plan._tracking.is_running = True
    assert work(plan) is None
    # Meanwhile the guard has the others, and what changes is sent.
    guard = plan.decide("t_guard")["t_guard"].work
    assert isinstance(guard, GuardWork)
    assert guard.chains.keys() == {"mesh"}
    want(desired, "b", "198.51.100.0/24")
    (command,) = commands(work(plan))
    assert command["add"]["element"]["elem"] == [{"prefix": {"addr": "198.51.100.0", "len": 24}}]
    want(desired, "b")
    assert work(plan) is None
    made_known(plan, desired)
    second = work(plan)
    assert (chain_names(second, "add"), second.chains.keys()) == (["ingress"], {"mesh", "ingress"})
    assert second.retracks
    desired.note_compared(second.kept, second.chains)
    guard = plan.decide("t_guard")["t_guard"].work
    assert isinstance(guard, GuardWork)
    assert guard.chains.keys() == {"mesh", "ingress"}


async def test_a_chain_that_goes_while_it_is_held_back_leaves_nothing_to_be_known() -> None:
    plan, desired, _ = parts()
    want_chain(desired, TRACKING)
    listed(desired, None)
    assert work(plan) == Track()
    plan._tracking.is_running = True
    desired.chains.clear()
    desired.compare()
    listed(desired, None)
    assert work(plan) is None
    made_known(plan, desired)
    assert work(plan) is None
    # One that comes later waits again.
    want_chain(desired, TRACKING)
    desired.compare()
    listed(desired, None)
    assert work(plan) == Track()


async def test_after_the_table_was_deleted_connections_are_made_known_again_for_the_next_one() -> None:
    plan, desired, _ = parts()
    want_chain(desired, TRACKING)
    listed(desired, None)
    assert work(plan) == Track()
    # They are known by now, and the chain has just gone.
    plan._tracking.is_done = True
    desired.chains.clear()
    desired.compare()
    listed(desired, SeenTable())
    assert work(plan).deletes
    desired.note_compared((), {})
    assert work(plan) is None
    want_chain(desired, TRACKING)
    desired.compare()
    listed(desired, None)
    assert work(plan) == Track()


@pytest.mark.parametrize(
    ("is_guarded", "is_open", "retracks"), [(False, True, True), (True, True, False), (True, False, True)]
)
async def test_a_table_that_another_program_deleted_waits_for_no_connections(
    is_guarded: bool, is_open: bool, retracks: bool
) -> None:
    plan, desired, others = parts()
    want_chain(desired, TRACKING)
    listed(desired, None)
    assert work(plan) == Track()
    made_known(plan, desired)
    compare(plan, desired)
    plan._tracking.is_done = False
    if is_guarded:
        table = cast(OwnedTable, SimpleNamespace(is_open=is_open))
        chains = {"c": desired.chains["c"]}
        plan._guard.note(GuardWork(name="t_guard", table=table, text="", chains=chains, sets={}), table)
    desired.compare()
    others.has_deleted = True
    assert (work(plan).chains.keys(), work(plan).retracks) == ({"c"}, retracks)
    # What is in the kernel after a failure is not certain, and neither is who knows the connections.
    desired.note_failed()
    others.has_deleted = False
    listed(desired, None)
    assert work(plan) == Track()
    if is_guarded and is_open:
        # What the guard has stays there.
        desired.guard_chains.add("c")
        assert plan.decide("t_guard")["t_guard"].work is None
        assert plan._guard.has_chain("c")


async def test_what_an_earlier_process_left_goes_at_once_when_the_agent_leaves() -> None:
    plan, desired, _ = parts()
    found = SeenTable(chains={"c": SeenChain(header={}, comments=())}, sets={V4: HELD})
    listed(desired, found)
    assert work(plan) is None
    desired.leave()
    assert work(plan) == ListTable()
    listed(desired, found)
    assert commands(work(plan)) == [{"delete": {"table": {"family": "inet", "name": "t"}}}]


@pytest.mark.parametrize("is_listed", [False, True])
async def test_a_comparison_that_is_asked_for_while_the_table_is_listed_or_changed_is_made_after_that(
    is_listed: bool,
) -> None:
    plan, desired, _ = parts()
    want(desired, "a", "192.0.2.0/24")
    assert work(plan) == ListTable()
    desired.begin_list()
    if not is_listed:
        desired.compare()
    desired.note_listed(SeenTable())
    sent = work(plan)
    if is_listed:
        # As when all connections are known, just when the chains without them are being sent.
        desired.compare()
    desired.note_compared(sent.kept, sent.chains)
    assert work(plan) == ListTable()
    desired.begin_list()
    desired.note_listed(SeenTable(sets={V4: frozenset({prefix_key("192.0.2.0/24")}), "routed_ipv6": frozenset()}))
    assert work(plan) is None
    assert not desired.must_compare


@pytest.mark.parametrize("is_asked_again", [False, True])
async def test_what_another_program_does_after_the_table_was_listed_is_not_forgotten_by_the_comparison(
    is_asked_again: bool,
) -> None:
    plan, desired, others = compared("192.0.2.0/24")
    desired.compare()
    desired.begin_list()
    others.suspected = "the table was changed by another program"
    if is_asked_again:
        desired.compare()
    desired.note_listed(SeenTable(sets={V4: frozenset({prefix_key("192.0.2.0/24")}), "routed_ipv6": frozenset()}))
    assert work(plan) is None
    assert (others.suspected is not None) == is_asked_again
    assert desired.must_compare == is_asked_again


LISTED = {"nftables": [{"chain": {"family": "inet", "table": "t", "name": "c"}}]}
SEEN = read_table(json.dumps(LISTED))


@pytest.mark.parametrize(
    ("before", "found", "is_own", "is_same"),
    [
        (SEEN, LISTED, True, True),
        (SEEN, {"nftables": []}, True, False),
        (None, LISTED, True, False),
        # One that is gone is made again.
        (None, None, True, False),
        # Another program's is left alone.
        (SEEN, LISTED, False, False),
    ],
)
async def test_a_table_that_is_listed_is_the_same_as_when_it_was_listed_before(
    monkeypatch: pytest.MonkeyPatch, before: SeenTable | None, found: object, is_own: bool, is_same: bool
) -> None:
    monkeypatch.setattr(nft, "list_table", lambda *_: None if found is None else json.dumps(found))
    monkeypatch.setattr(PriorState, "is_own_table", lambda *_: is_own)
    applied = _run(None, Known("t", before, PriorState(None)), {"t": ListTable()}, Sender(None, None, print))
    assert applied.result["t"].is_same == is_same
