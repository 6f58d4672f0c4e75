"""One session of a virtual IP: a lease at etcd, a place in the election, and the address while this node leads.

Theory of operation. A session is in one of these phases:

    CLEARING    what an earlier session left is gone, and a lease is granted            -> CANDIDATE
    CANDIDATE   elected                                                                 -> ELECTED
    ELECTED     the lease is valid, etcd confirms the election, no neighbour has the address; the cloud, where one
                routes it, leads it here                                                -> HOLDING
    HOLDING     the lease is not valid any more                                         -> RELEASING
    RELEASING   the address is gone, or the time for that is over                       -> ELECTED
    CANDIDATE, ELECTED, HOLDING, RELEASING: the session ends, for whatever reason       -> LEAVING
    LEAVING     the address is gone: the candidate resigns                              -> RESIGNED
                that is not certain: the lease is left to expire, and the address too   -> ABANDONED

`TRANSITIONS` is this table as data; each change of phase is checked against it. A session that ends while CLEARING has
nothing to undo.

What a session does, it undoes in the opposite order, however it ends: the address is gone from the kernel before the
key goes from etcd, since its deletion is what the next candidate waits for. (`fencing` is about sessions that cannot
undo anything, in a process that was stopped.)

An outage of etcd does not end a session. The address is given up when the lease is not valid any more by this node's
own clock; the key may well outlive the outage, and then the order of the election is what it was.

A cloud is asked only while the lease is valid, which is looked at before each request that changes something. A request
that was on its way for longer may still be carried out when another node leads: so the holder looks, every half minute,
whether the cloud leads the address to it, and has it led here again. When the session ends the cloud is told first.
"""

import enum
import functools
import math
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.network.operators.base import OperatorContext
from nodespan.controllers.network.vip.environment import VIPEnvironment
from nodespan.controllers.network.vip.holding import GIVING_UP, Holding, NotAppliedError
from nodespan.controllers.network.vip.lease_note import LeaseNote
from nodespan.controllers.network.vip.report import Report
from nodespan.controllers.network.vip.tally import HeldLease
from nodespan.etcd import Election, EtcdClient, EtcdError, Leadership, UnavailableError, kept_lease
from nodespan.etcd.lease_clock import valid_for
from nodespan.etcd.lease_keeper import LeaseKeeper
from nodespan.kernel.packets.who_has import who_has
from nodespan.resources.network import LinkStatus, VIPState
from nodespan.runtime.background import background
from nodespan.runtime.transitions import Transitions, checked_transition

if TYPE_CHECKING:
    from nodespan.controllers.network.vip.clouds.cloud import Cloud

_RESIGNING = 3.0
# Between two attempts to have an election confirmed, in seconds.
_CONFIRM_AGAIN = 0.25
# How long a cloud may take to lead the address here, and to let go of it; and how often a holder looks whether it does.
_ACQUIRING = 60.0
_RELEASING = 3.0
_LOOK_AT_CLOUD = 30.0


class SessionPhase(enum.StrEnum):
    """See the theory above."""

    CLEARING = "clearing"
    CANDIDATE = "candidate"
    ELECTED = "elected"
    HOLDING = "holding"
    RELEASING = "releasing"
    LEAVING = "leaving"
    RESIGNED = "resigned"
    ABANDONED = "abandoned"


TRANSITIONS: Transitions[SessionPhase] = {
    SessionPhase.CLEARING: frozenset({SessionPhase.CANDIDATE}),
    SessionPhase.CANDIDATE: frozenset({SessionPhase.ELECTED, SessionPhase.LEAVING}),
    SessionPhase.ELECTED: frozenset({SessionPhase.HOLDING, SessionPhase.LEAVING}),
    SessionPhase.HOLDING: frozenset({SessionPhase.RELEASING, SessionPhase.LEAVING}),
    SessionPhase.RELEASING: frozenset({SessionPhase.ELECTED, SessionPhase.LEAVING}),
    SessionPhase.LEAVING: frozenset({SessionPhase.RESIGNED, SessionPhase.ABANDONED}),
    SessionPhase.RESIGNED: frozenset(),
    SessionPhase.ABANDONED: frozenset(),
}


class CannotHaveError(Exception):
    """Another machine has the address; says which."""


@attrs.define
class Candidacy:
    """What outlives the sessions of one virtual IP.

    `leases` are the ids of all leases of this node, `given_up` is why the address was last given up, `refusals` how
    many sessions in a row could not have the address.
    """

    leases: set[int] = attrs.field(factory=set)
    given_up: str = ""
    refusals: int = 0
    is_abandoned: bool = False


class Session:
    """One session, to be run once. `scope` is cancelled to end it in good order."""

    def __init__(
        self,
        ctx: OperatorContext,
        environment: VIPEnvironment,
        report: Report,
        holding: Holding,
        candidacy: Candidacy,
        note: LeaseNote,
        *,
        prefix: str,
        cloud: "Cloud | None" = None,
    ) -> None:
        assert ctx.spec.vip is not None
        self._ctx = ctx
        self._environment = environment
        self._report = report
        self._holding = holding
        self._candidacy = candidacy
        self._note = note
        self._prefix = prefix
        self._cloud = cloud
        # The cloud leads the address here, or may.
        self._is_led_here = False
        self._ip = ctx.spec.vip.ip
        self._phase = SessionPhase.CLEARING
        self.scope = trio.CancelScope()

    @property
    def phase(self) -> SessionPhase:
        """The current phase."""
        return self._phase

    def _enter(self, phase: SessionPhase) -> None:
        self._phase = checked_transition(TRANSITIONS, self._phase, phase)

    async def run(self, client: EtcdClient, *, hostname: str, lease_ttl: float) -> None:
        """Until the session ends. Raises CannotHaveError, NotAppliedError, OSError, EtcdError."""
        if self._cloud is not None:
            await self._resolve(self._cloud)
        # When no node leads, another machine's use of the address can be seen without being elected.
        if self._candidacy.refusals and not self._report.status.leader:
            await self._probe_neighbours()
        if not await self._holding.remove_leftover():
            raise NotAppliedError("what an earlier agent left of the address cannot be removed from the link")
        await self._revoke_earlier_lease(client)
        probe = self._prefix.encode()
        clock = self._environment.clock
        clock = self._environment.clock
        async with kept_lease(client, lease_ttl, clock=clock, probe=probe) as keeper:
            lease = HeldLease(lambda: keeper.valid_until - clock(), valid_for(keeper.lease.ttl))
            with self._report.tally.holding(lease):
                await self._stand(client, keeper, hostname)

    async def _stand(self, client: EtcdClient, keeper: LeaseKeeper, hostname: str) -> None:
        """Be a candidate, and then lead, until the lease is lost."""
        self._candidacy.leases.add(keeper.lease.id)
        await self._note_lease(keeper.lease.id)
        self._candidacy.is_abandoned = False
        election = Election(client, keeper, prefix=self._prefix, value=hostname, settle=self._environment.settle)
        self._enter(SessionPhase.CANDIDATE)
        await self._report.update(
            state=VIPState.CANDIDATE, lease=keeper.lease.hex, reason=self._candidacy.given_up, problem=""
        )
        try:
            async with background(functools.partial(self._watch_lease, keeper)):
                leadership = await election.campaign()
                self._enter(SessionPhase.ELECTED)
                await self._lead(keeper, leadership)
        finally:
            # Cancelled from further outside than by `scope`: the applier is being cancelled as well.
            is_cut_off = trio.current_effective_deadline() == -math.inf and not self.scope.cancel_called
            with trio.CancelScope(shield=True):
                await self._leave(keeper, election, patience=0.0 if is_cut_off else GIVING_UP)

    async def _note_lease(self, lease: int) -> None:
        try:
            await trio.to_thread.run_sync(self._note.write, lease)
        except OSError as error:
            # The cost: if this agent crashes, the others wait for the lease to expire.
            self._ctx.log.warning("cannot note the lease of a virtual IP", ip=self._ip, reason=str(error))

    async def _revoke_earlier_lease(self, client: EtcdClient) -> None:
        """The lease of a session that could not end, or of an agent before this one that crashed."""
        lease = await trio.to_thread.run_sync(self._note.read)
        if lease is not None:
            self._candidacy.leases.add(lease)
            await client.revoke(lease)

    async def _watch_lease(self, keeper: LeaseKeeper) -> None:
        """Report why no node can have the address, also while another one has it."""
        try:
            while True:
                reason = await keeper.wait_invalid()
                await self._report.update(lease_trouble=reason)
                await keeper.wait_valid()
                await self._report.update(lease_trouble="")
        except EtcdError:
            # The session ends by the same error, and reports it.
            return

    async def _lead(self, keeper: LeaseKeeper, leadership: Leadership) -> None:
        """Hold the address whenever the lease is valid. Raises EtcdError when this node does not lead any more."""
        while True:
            await keeper.wait_valid()
            try:
                await leadership.confirm()
            except UnavailableError:
                # The keeper's next beat shows whether there is anything to confirm.
                await trio.sleep(_CONFIRM_AGAIN)
                continue
            await self._probe_neighbours()
            if self._cloud is not None:
                await self._take_from_cloud(self._cloud, keeper)
            if keeper.is_valid:
                self._candidacy.refusals = 0
                self._enter(SessionPhase.HOLDING)
                async with background(functools.partial(self._watch_cloud, keeper)):
                    reason = await self._holding.hold(keeper)
                self._enter(SessionPhase.RELEASING)
                self._ctx.log.warning("gives the virtual IP up", ip=self._ip, reason=reason)
                self._candidacy.given_up = f"gave it up: {reason}"
                await self._report.update(reason=self._candidacy.given_up)
                await self._holding.give_up()
                self._enter(SessionPhase.ELECTED)

    async def _resolve(self, cloud: "Cloud") -> None:
        from nodespan.controllers.network.vip.clouds.api import CloudError

        try:
            await cloud.resolve()
        except CloudError as error:
            raise CannotHaveError(str(error)) from error

    async def _take_from_cloud(self, cloud: "Cloud", keeper: LeaseKeeper) -> None:
        """Have the cloud lead the address here, for as long as the lease is valid. Raises CannotHaveError."""
        from nodespan.controllers.network.vip.clouds.api import CloudError, NotPermittedError

        def permit() -> None:
            if not keeper.is_valid:
                raise NotPermittedError

        self._is_led_here = True
        try:
            with trio.move_on_after(_ACQUIRING) as scope:

                async def stop_when_invalid() -> None:
                    await keeper.wait_invalid()
                    scope.cancel()

                async with background(stop_when_invalid):
                    await cloud.acquire(permit)
                    return
        except CloudError as error:
            raise CannotHaveError(str(error)) from error
        except NotPermittedError:
            # The caller finds the lease invalid as well.
            return
        if keeper.is_valid:
            raise CannotHaveError(f"the cloud did not lead the address here within {_ACQUIRING:g} s")

    async def _watch_cloud(self, keeper: LeaseKeeper) -> None:
        """Look whether the cloud leads the address here still; ends with the task that holds it."""
        cloud = self._cloud
        if cloud is None:
            return
        from nodespan.controllers.network.vip.clouds.api import CloudError

        while True:
            await trio.sleep(_LOOK_AT_CLOUD)
            try:
                if await cloud.is_ours():
                    await self._report.update(cloud_trouble="")
                    continue
                self._ctx.log.warning("the cloud leads the virtual IP elsewhere: it is led here again", ip=self._ip)
                await self._take_from_cloud(cloud, keeper)
                await self._report.update(cloud_trouble="")
            except (CloudError, CannotHaveError) as error:
                # Whoever leads keeps the address: that the API cannot be reached says nothing of the routing.
                await self._report.update(cloud_trouble=str(error))

    async def _release_to_cloud(self) -> None:
        """The address is led here no longer; the next holder has it led to itself in any case."""
        cloud = self._cloud
        if cloud is None or not self._is_led_here:
            return
        from nodespan.controllers.network.vip.clouds.api import CloudError

        with trio.move_on_after(_RELEASING):
            try:
                await cloud.release()
            except CloudError as error:
                self._ctx.log.warning("the cloud leads the virtual IP here still", ip=self._ip, reason=str(error))

    async def _probe_neighbours(self) -> None:
        """Raises CannotHaveError if one of them has the address. Not of a cloud's, whose routers answer for it."""
        if self._cloud is not None:
            return
        link = self._ctx.find(LinkStatus, self._ctx.link_name)
        if link is None:
            return
        owner = await who_has(self._ip, self._ctx.link_name, link.spec.hardware_addr, self._environment.netns)
        if owner is not None:
            raise CannotHaveError(
                f"{owner} on {self._ctx.link_name} has the address {self._ip} already, without having been elected: "
                "take it away there, or choose another virtual IP"
            )

    async def _leave(self, keeper: LeaseKeeper, election: Election, *, patience: float) -> None:
        """Resign, unless the address may still be there."""
        self._enter(SessionPhase.LEAVING)
        if patience:
            await self._release_to_cloud()
        if not await self._holding.give_up(patience=patience):
            self._enter(SessionPhase.ABANDONED)
            self._candidacy.is_abandoned = True
            keeper.abandon()
            self._ctx.log.error("the virtual IP may still be there: its lease is left to expire", ip=self._ip)
            return
        self._enter(SessionPhase.RESIGNED)
        with trio.move_on_after(_RESIGNING):
            try:
                await election.resign()
            except EtcdError as error:
                self._ctx.log.warning("cannot resign: the lease expires by itself", ip=self._ip, reason=str(error))
