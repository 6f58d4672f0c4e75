"""The operator of a virtual IP: stands for election at etcd, and holds the address while it leads.

Theory of operation. One session after the other, each with a lease of its own:

    nothing hinders → a lease → campaign → elected → nobody else has the address → hold it → ... → give it up → resign

What a session does, it undoes in the opposite order, however it ends: the address is gone from the kernel before the
key goes from etcd, for its deletion is what the next candidate waits for. Where that is not certain the lease is left
to run out, and the address with it (`fencing` says how).

An outage of etcd does not end a session. The address is given up when the lease is not valid any more by this node's
own clock; the key may well outlive the outage, and then the order of the election is what it was.
"""

import functools
import math
from collections.abc import Mapping

import attrs
import trio

from nodespan.controllers.common.problems import reason_of
from nodespan.controllers.network.operators.base import Operator, OperatorContext, OperatorFactory
from nodespan.controllers.network.vip.environment import Environment
from nodespan.controllers.network.vip.holding import GIVING_UP, Holding, NotAppliedError
from nodespan.controllers.network.vip.lease_note import LeaseNote
from nodespan.controllers.network.vip.report import Report
from nodespan.controllers.network.vip.vip_rules import Hindrance, election_prefix, find_hindrance, namesake
from nodespan.etcd import (
    Election,
    EndpointError,
    EtcdClient,
    EtcdError,
    LeaderRecord,
    Leadership,
    UnavailableError,
    kept_lease,
    observe,
)
from nodespan.etcd.background import background
from nodespan.etcd.lease_keeper import LeaseKeeper
from nodespan.kernel.who_has import who_has
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.nodespan import EtcdSettings, NodespanConfig
from nodespan.resources.network import (
    HOSTNAME_ID,
    AddressSpec,
    AddressStatus,
    HostnameStatus,
    LinkStatus,
    OperatorSpecSpec,
    VIPState,
)
from nodespan.resources.network import Operator as OperatorKind
from nodespan.resources.network.vip_condition import VIPCondition, VIPConditionSpec
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import Input, weak

# What the operator reads beside what all operators do.
INPUTS: tuple[Input, ...] = (
    weak(AddressSpec),
    weak(AddressStatus),
    weak(VIPCondition),
)

# Between two sessions, in seconds; and after one in which the address could not be had, each time twice as long.
_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_AFTER_REFUSALS = Exponential(base=5.0, cap=_LONGEST_PAUSE)
_RESIGNING = 3.0
# How often etcd is asked for others of the same name.
_NAMESAKES = 2.0


@attrs.frozen(kw_only=True)
class _Situation:
    """All that a session depends on: one that changes ends it."""

    hindrance: Hindrance | None
    etcd: EtcdSettings = attrs.field(factory=EtcdSettings)
    lease_ttl: float = 0.0
    hostname: str = ""


class _CannotHaveError(Exception):
    """The address is somebody else's, or the link does not take it; says which."""


class VIPOperator(Operator):
    """One virtual IP."""

    hands_over = True

    def __init__(self, spec: OperatorSpecSpec, environment: Environment) -> None:
        if spec.vip is None:
            raise ValueError("an operator of a virtual IP needs to know which")
        self._ip = spec.vip.ip
        self._environment = environment
        self._prefix = election_prefix(spec.vip.ip)
        self._note = LeaseNote(environment.state_dir / "vip" / spec.vip.ip)

    async def run(self, ctx: OperatorContext) -> None:
        """Until told to stop; then the address and the place in the election are given up first."""
        self._ctx = ctx
        self._report = Report(ctx, self._environment.wall)
        self._holding = Holding(ctx, self._report, self._environment)
        self._leases: set[int] = set()
        self._is_abandoned = False
        self._refusals = 0
        self._given_up = ""
        self._stands = False
        self._session = trio.CancelScope()
        self._news = trio.Event()
        self._situation = self._look()
        async with background(self._follow):
            while not ctx.stopping.is_set():
                await self._run_in(self._situation)
        if not self._is_abandoned:
            await trio.to_thread.run_sync(self._note.remove)

    # What happens around it.

    async def _follow(self) -> None:
        async for _ in self._ctx:
            situation = self._look()
            if situation != self._situation or self._ctx.stopping.is_set():
                self._situation = situation
                self._session.cancel()
                self._news.set()
                self._news = trio.Event()

    def _look(self) -> _Situation:
        ctx = self._ctx
        config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        hostname = ctx.find(HostnameStatus, HOSTNAME_ID)
        name = "" if hostname is None else hostname.spec.hostname
        nodespan = None if config is None else config.spec.nodespan
        hindrance = find_hindrance(
            ctx.spec,
            None if nodespan is None else nodespan.etcd,
            name,
            (address.spec for address in ctx.list(AddressStatus)),
            self._conditions(nodespan),
            is_held=self._holding.is_held,
        )
        if nodespan is None:
            return _Situation(hindrance=hindrance)
        ttl = nodespan.vip.lease_ttl.total_seconds()
        return _Situation(hindrance=hindrance, etcd=nodespan.etcd, lease_ttl=ttl, hostname=name)

    def _conditions(self, nodespan: NodespanConfig | None) -> Mapping[str, VIPConditionSpec]:
        """The conditions by name. One that is new does not hold yet, but is no reason to leave the election."""
        unknown = VIPConditionSpec(ok=self._stands, since="", reason="not looked at yet")
        configured = () if nodespan is None else nodespan.vip.conditions
        known = {condition.id: condition.spec for condition in self._ctx.list(VIPCondition)}
        return dict.fromkeys((condition.name for condition in configured), unknown) | known

    async def _wait(self, seconds: float, situation: _Situation) -> None:
        """Wait for that long, or until the situation is another one."""
        if self._situation is situation and not self._ctx.stopping.is_set():
            with trio.move_on_after(seconds):
                await self._news.wait()

    async def _observe(self, client: EtcdClient) -> None:
        """Say who leads."""
        while True:
            try:
                async for record in observe(client, self._prefix):
                    await self._report.say(leader="" if record is None else record.value, watch_trouble="")
            except EtcdError as error:
                await self._report.say(watch_trouble=str(error))
                await trio.sleep(_PAUSE)

    async def _look_for_namesakes(self, client: EtcdClient) -> None:
        while True:
            await trio.sleep(_NAMESAKES)
            try:
                found = await client.range(self._prefix.encode(), prefix=True)
            except EtcdError:
                # Who observes the leader says so.
                continue
            candidates = map(LeaderRecord.of, found.key_values)
            own = frozenset(self._leases)
            await self._report.say(namesake=namesake(candidates, self._situation.hostname, own))

    # Standing for election.

    async def _run_in(self, situation: _Situation) -> None:
        """As long as etcd's settings are these."""
        etcd = situation.etcd
        if not etcd.endpoints:
            await self._hindered(situation)
            return
        try:
            async with (
                self._environment.clients.client(etcd) as client,
                background(functools.partial(self._observe, client)),
                background(functools.partial(self._look_for_namesakes, client)),
            ):
                while self._situation.etcd == etcd and not self._ctx.stopping.is_set():
                    if self._situation.hindrance is not None:
                        await self._hindered(self._situation)
                    else:
                        await self._stand(client, self._situation)
        except (EndpointError, EtcdError) as error:
            await self._report.say(state=VIPState.REFUSED, reason=str(error), problem=str(error), lease="")
            await self._wait(_LONGEST_PAUSE, situation)

    async def _hindered(self, situation: _Situation) -> None:
        hindrance = situation.hindrance
        if hindrance is not None:
            await self._report.say(
                state=hindrance.state, reason=hindrance.reason, problem=hindrance.problem, lease="", lease_trouble=""
            )
        await self._wait(math.inf, situation)

    async def _stand(self, client: EtcdClient, situation: _Situation) -> None:
        """One session, and the pause after it."""
        pause, began = _PAUSE, trio.current_time()
        self._stands = True
        with trio.CancelScope() as self._session:
            try:
                # When nobody leads, somebody else's use of the address can be seen without being elected.
                if self._refusals and not self._report.saying.leader:
                    await self._ask_neighbours()
                await self._run_session(client, situation)
            except (_CannotHaveError, NotAppliedError, OSError) as error:
                self._refusals += 1
                pause = _AFTER_REFUSALS.after(self._refusals)
                reason = reason_of(error) if isinstance(error, OSError) else str(error)
                await self._report.say(state=VIPState.REFUSED, reason=reason, problem=reason)
            except EtcdError as error:
                # One that has lasted was not in vain, and the address may be nobody's meanwhile.
                pause = _PAUSE if trio.current_time() - began < situation.lease_ttl else 0.0
                await self._report.say(state=VIPState.WAITING, reason=str(error), problem="")
        self._stands = False
        await self._report.say(lease="", lease_trouble="")
        if not self._session.cancelled_caught:
            await self._wait(pause, situation)

    async def _run_session(self, client: EtcdClient, situation: _Situation) -> None:
        if not await self._holding.remove_leftover():
            raise NotAppliedError("what an earlier agent left of the address cannot be removed from the link")
        await self._give_back_lease(client)
        async with kept_lease(client, situation.lease_ttl, clock=self._environment.clock) as keeper:
            self._leases.add(keeper.lease.id)
            await self._note_lease(keeper.lease.id)
            self._is_abandoned = False
            election = Election(
                client, keeper, prefix=self._prefix, value=situation.hostname, settle=self._environment.settle
            )
            await self._report.say(state=VIPState.CANDIDATE, lease=keeper.lease.hex, reason=self._given_up, problem="")
            try:
                async with background(functools.partial(self._watch_lease, keeper)):
                    await self._lead(keeper, await election.campaign())
            finally:
                # Without anybody who asked it to end in good order, the applier is being ended too.
                is_cut_off = trio.current_effective_deadline() == -math.inf and not self._session.cancel_called
                with trio.CancelScope(shield=True):
                    await self._leave(keeper, election, patience=0.0 if is_cut_off else GIVING_UP)

    async def _note_lease(self, lease: int) -> None:
        try:
            await trio.to_thread.run_sync(self._note.write, lease)
        except OSError as error:
            # What it costs is that others wait for the lease to run out if this agent crashes.
            self._ctx.log.warning("cannot note the lease of a virtual IP", ip=self._ip, reason=str(error))

    async def _give_back_lease(self, client: EtcdClient) -> None:
        """The lease of a session that could not end, or of an agent before this one that crashed."""
        lease = await trio.to_thread.run_sync(self._note.read)
        if lease is not None:
            self._leases.add(lease)
            await client.revoke(lease)

    async def _watch_lease(self, keeper: LeaseKeeper) -> None:
        """Say why nobody can have the address, also if it is not this node that has it."""
        try:
            while True:
                reason = await keeper.wait_invalid()
                await self._report.say(lease_trouble=reason)
                await keeper.wait_valid()
                await self._report.say(lease_trouble="")
        except EtcdError:
            # The session ends, and says so.
            return

    async def _lead(self, keeper: LeaseKeeper, leadership: Leadership) -> None:
        """Hold the address whenever the lease is valid. Raises EtcdError when this node does not lead any more."""
        while True:
            await keeper.wait_valid()
            try:
                await leadership.confirm()
            except UnavailableError:
                # The lease will tell when there is something to be asked again.
                await trio.sleep(_PAUSE / 4)
                continue
            await self._ask_neighbours()
            if keeper.is_valid:
                self._refusals = 0
                reason = await self._holding.hold(keeper)
                self._ctx.log.warning("gives the virtual IP up", ip=self._ip, reason=reason)
                self._given_up = f"gave it up: {reason}"
                await self._report.say(reason=self._given_up)
                await self._holding.give_up()

    async def _ask_neighbours(self) -> None:
        """Raises _CannotHaveError if one of them has the address."""
        link = self._ctx.find(LinkStatus, self._ctx.link_name)
        if link is None:
            return
        owner = await who_has(self._ip, self._ctx.link_name, link.spec.hardware_addr, self._environment.netns)
        if owner is not None:
            raise _CannotHaveError(
                f"{owner} on {self._ctx.link_name} has the address {self._ip} already, without having been elected: "
                "take it away there, or choose another virtual IP"
            )

    async def _leave(self, keeper: LeaseKeeper, election: Election, *, patience: float) -> None:
        """Resign, if nobody can be harmed by that."""
        if not await self._holding.give_up(patience=patience):
            self._is_abandoned = True
            keeper.abandon()
            self._ctx.log.error("the virtual IP may still be there: its lease is left to run out", ip=self._ip)
            return
        with trio.move_on_after(_RESIGNING):
            try:
                await election.resign()
            except EtcdError as error:
                self._ctx.log.warning("cannot resign: the lease runs out by itself", ip=self._ip, reason=str(error))


def vip_factories(environment: Environment) -> Mapping[OperatorKind, OperatorFactory]:
    """What to run for `vip`."""
    return {OperatorKind.VIP: lambda spec: VIPOperator(spec, environment)}
