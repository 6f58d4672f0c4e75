"""What can happen to a virtual IP, one function each: it breaks something, sees what becomes of it, and mends it.

Each begins and ends with a lab in good order, and returns how long the address was gone, in seconds, where it moves.
"""

import contextlib
import signal
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable

import trio

from nodespan.controllers.network.vip.vip_rules import election_prefix
from nodespan.etcd.values import prefix_end
from tests.support.netns import entered
from tests.support.process import eventually, stop
from tests.support.vip_lab import TTL, VIP, Lab, Node
from tests.support.vip_recorder import now

# Seconds, from the table.
CLEAN = 1.0
CRASHED = TTL + 2.0
QUORUM_BACK = 5.0
UNHEALTHY = 3.0
# Etcd needs one to two seconds for a leader of its own, who then lets all leases last one second longer.
ETCD_ELECTION = 2.0

Fault = Callable[[Lab], Awaitable[float]]


async def the_holder_stops_cleanly(lab: Lab) -> float:
    owner = await lab.ready()
    since = now()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(owner.stop)
        taken = await lab.failed_over(since, but=owner, within=CLEAN)
    await owner.start()
    return taken


async def the_holder_is_killed(lab: Lab) -> float:
    owner = await lab.ready()
    since = now()
    await owner.kill()
    taken = await lab.failed_over(since, but=owner, within=CRASHED)
    assert not owner.has_address(), "what the killed agent left outlived its lease"
    await owner.start()
    return taken


async def the_holder_crashes_and_is_restarted_at_once(lab: Lab) -> float:
    owner = await lab.ready()
    since = now()
    await owner.kill()
    # The new agent takes the address away that the old one left, and only then gives its lease back.
    await owner.start()
    return await lab.failed_over(since, but=owner, within=CRASHED)


async def the_holder_is_cut_off(lab: Lab) -> float:
    owner = await lab.ready()
    await lab.etcd.led_by(lab.etcd.members[_another(lab, owner).number])
    return await _cut_off(lab, owner, within=CRASHED)


async def the_holder_is_cut_off_with_etcds_leader(lab: Lab) -> float:
    owner = await lab.ready()
    await lab.etcd.led_by(lab.etcd.members[owner.number])
    return await _cut_off(lab, owner, within=CRASHED + ETCD_ELECTION)


async def _cut_off(lab: Lab, owner: Node, *, within: float) -> float:
    since = now()
    owner.cut_off(*(node.address for node in lab.nodes if node is not owner))
    try:
        taken = await lab.failed_over(since, but=owner, within=within)
        assert owner.status("state") == "candidate"
        assert owner.status("reason")
        assert not owner.status("leader")
    finally:
        owner.heal()
    return taken


async def the_holder_is_stopped_and_resumes(lab: Lab) -> float:
    owner = await lab.ready()
    since = now()
    stop(owner.agent.pid)
    try:
        taken = await lab.failed_over(since, but=owner, within=CRASHED)
        successor = lab.owner()
        await trio.sleep(since + 3 * TTL - now())
    finally:
        owner.signal(signal.SIGCONT)
    woken = now()
    await trio.sleep(2)
    assert lab.owner() is successor
    assert all(tenure.node != owner.number for tenure in lab.record.tenures(woken)), "it took the address back"
    return taken


async def a_member_of_etcd_dies(lab: Lab) -> float:
    owner = await lab.ready()
    member = await lab.etcd.leader()
    since = now()
    await member.kill()
    try:
        await trio.sleep(TTL)
        assert [tenure.node for tenure in lab.record.tenures(since)] == [owner.number], "the address moved"
    finally:
        await member.start()
        await lab.etcd.healthy()
    return 0.0


async def etcd_loses_its_quorum(lab: Lab) -> float:
    await lab.ready()
    leader = await lab.etcd.leader()
    # Nothing is received from them. The leader notices that it has no followers. A leader that is frozen itself would
    # still believe, when it wakes, that it leads, and that all leases have expired.
    lost = [member for member in lab.etcd.members if member is not leader]
    since = now()
    for member in lost:
        member.stop()
    try:
        await eventually(lambda: lab.owner() is None, within=TTL)
        for node in lab.nodes:
            await node.follows(None, within=max(0.0, since + TTL + 1 - now()))
            assert "etcd is not available" in node.status("reason")
            assert not node.has_address()
    finally:
        for member in lost:
            member.cont()
    await lab.etcd.healthy()
    return await lab.failed_over(now(), within=QUORUM_BACK)


async def etcd_is_restored_from_an_old_snapshot(lab: Lab) -> float:
    first = await lab.ready()
    saved = await lab.etcd.save()
    await first.stop()
    second = await lab.owned(but=first)
    await first.start()
    await first.is_("candidate")
    # Now etcd forgets all of that: to it, the first is the owner.
    await lab.etcd.restore(saved)
    await eventually(lambda: lab.owner() is not second, within=CRASHED)
    await lab.etcd.healthy()
    return await lab.failed_over(now(), within=CRASHED)


async def two_nodes_have_one_hostname(lab: Lab) -> float:
    owner = await lab.ready()
    twin = _another(lab, owner)
    hostname, twin.hostname = twin.hostname, owner.hostname
    await twin.stop()
    since = now()
    try:
        await twin.start()
        for node in (twin, owner):
            await node.says("another node has the hostname")
        assert twin.status("state") == "candidate"
        assert await _candidates(lab) == len(lab.nodes), "one deleted the other's key"
        assert [tenure.node for tenure in lab.record.tenures(since)] == [owner.number]
    finally:
        await twin.stop()
        twin.hostname = hostname
        await twin.start()
    return 0.0


async def the_holders_health_check_fails(lab: Lab) -> float:
    await lab.ready()
    with contextlib.ExitStack() as stack:
        services = {}
        for node in lab.nodes:
            with entered(node.namespace):
                services[node.number] = stack.enter_context(socket.create_server(("127.0.0.1", 6443)))
            lab.write_config(node, conditions='{tcp: "127.0.0.1:6443"}')
        for node in lab.nodes:
            await node.fulfils("tcp/127.0.0.1:6443")
        owner = await lab.ready()
        since = now()
        services[owner.number].close()
        taken = await lab.failed_over(since, but=owner, within=UNHEALTHY)
        assert owner.status("state") == "waiting"
        assert "127.0.0.1:6443" in owner.status("reason")
        for node in lab.nodes:
            lab.write_config(node)
        await lab.ready()
    return taken


def _another(lab: Lab, node: Node) -> Node:
    return next(other for other in lab.nodes if other is not node)


async def _candidates(lab: Lab) -> int:
    prefix = election_prefix(VIP).encode()
    question = {"key": b64encode(prefix).decode(), "range_end": b64encode(prefix_end(prefix)).decode()}
    answer = await lab.etcd.members[0].ask("kv/range", question)
    return len(answer["kvs"])


FAULTS: tuple[Fault, ...] = (
    the_holder_stops_cleanly,
    the_holder_is_killed,
    the_holder_crashes_and_is_restarted_at_once,
    the_holder_is_cut_off,
    the_holder_is_cut_off_with_etcds_leader,
    the_holder_is_stopped_and_resumes,
    a_member_of_etcd_dies,
    etcd_loses_its_quorum,
    the_holders_health_check_fails,
    etcd_is_restored_from_an_old_snapshot,
    two_nodes_have_one_hostname,
)
