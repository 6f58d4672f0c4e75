"""The operator of a virtual IP: runs one session after the other, while nothing keeps this node from standing.

`session` has the theory. Here is what happens around sessions: what they depend on, the pauses between them, and the
observation of the election, which goes on without them.
"""

import functools
import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.common.problems import reason_of
from nodespan.controllers.common.wall_offset import WallOffset, follow_steps
from nodespan.controllers.common.web_access import WebAccess
from nodespan.controllers.network.operators.base import Operator, OperatorContext, OperatorFactory
from nodespan.controllers.network.vip.environment import VIPEnvironment
from nodespan.controllers.network.vip.holding import Holding, NotAppliedError
from nodespan.controllers.network.vip.lease_note import LeaseNote
from nodespan.controllers.network.vip.report import Report
from nodespan.controllers.network.vip.session import Candidacy, CannotHaveError, Session
from nodespan.controllers.network.vip.vip_rules import Hindrance, election_prefix, find_hindrance, namesake
from nodespan.etcd import (
    EndpointError,
    EtcdClient,
    EtcdError,
    LeaderRecord,
    LeaseGoneError,
    NotLeaderError,
    observe,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.nodespan import EtcdSettings, NodespanConfig
from nodespan.resources.network import (
    HOSTNAME_ID,
    AddressStatus,
    HostnameStatus,
    OperatorSpecSpec,
    VIPState,
)
from nodespan.resources.network import Operator as OperatorKind
from nodespan.resources.network.vip_condition import VIPCondition, VIPConditionSpec
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle
from nodespan.runtime.background import background
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.loading import load
from nodespan.runtime.text.escaping import bounded
from nodespan.runtime.ticks import tick

if TYPE_CHECKING:
    from nodespan.controllers.network.vip.clouds.cloud import Cloud

# Between two sessions, in seconds; and after one in which the address could not be had, each time twice as long.
_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_AFTER_REFUSALS = Exponential(base=5.0, cap=_LONGEST_PAUSE)
# How often etcd is asked for candidates of the same name.
_NAMESAKES = 2.0
_CLOUD = "nodespan.controllers.network.vip.clouds.cloud"


@attrs.frozen(kw_only=True)
class _Situation:
    """All that a session depends on; a change of it ends the session."""

    hindrance: Hindrance | None
    etcd: EtcdSettings = attrs.field(factory=EtcdSettings)
    lease_ttl: float = 0.0
    hostname: str = ""


class VIPOperator(Operator):
    """One virtual IP."""

    hands_over = True

    def __init__(self, spec: OperatorSpecSpec, environment: VIPEnvironment) -> None:
        if spec.vip is None:
            raise ValueError("the operator of a virtual IP needs its address")
        self._environment = environment
        self._prefix = election_prefix(spec.vip.ip)
        self._note = LeaseNote(environment.state_dir / "vip" / spec.vip.ip)
        self._cloud: Cloud | None = None
        self._vip = spec.vip

    async def run(self, ctx: OperatorContext) -> None:
        """Until stopped; then the address and the place in the election are given up first."""
        self._ctx = ctx
        if self._vip.is_of_cloud and self._cloud is None:
            await load(_CLOUD)
            from nodespan.controllers.network.vip.clouds.cloud import cloud_of

            self._cloud = cloud_of(self._vip, self._environment.clouds, self._access, _new_random())
        clock = WallOffset(self._environment.clock, self._environment.wall)
        self._report = Report(ctx, clock)
        self._holding = Holding(ctx, self._report, self._environment)
        self._candidacy = Candidacy()
        self._session: Session | None = None
        self._changed = trio.Event()
        self._situation = self._look()
        async with (
            background(self._follow),
            background(functools.partial(follow_steps, clock, self._report.show_again)),
        ):
            await self._report.begin()
            while not ctx.stopping.is_set():
                await self._run_in(self._situation)
        if not self._candidacy.is_abandoned:
            await trio.to_thread.run_sync(self._note.remove)

    def _access(self) -> WebAccess:
        """How the API of the cloud is reached at the moment."""
        environment, bundle = self._ctx.find(Environment, ENVIRONMENT_ID), self._ctx.find(TrustBundle, TRUST_BUNDLE_ID)
        return WebAccess(
            variables=() if environment is None else environment.spec.variables,
            trust="" if bundle is None else bundle.spec.path,
            digest="" if bundle is None else bundle.spec.digest,
        )

    # What happens around the sessions.

    async def _follow(self) -> None:
        async for _ in self._ctx:
            situation = self._look()
            if situation != self._situation or self._ctx.stopping.is_set():
                self._situation = situation
                if self._session is not None:
                    self._session.scope.cancel()
                self._changed.set()
                self._changed = trio.Event()

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
        unknown = VIPConditionSpec(ok=self._session is not None, since="", reason="not checked yet")
        configured = () if nodespan is None else nodespan.vip.conditions
        known = {condition.id: condition.spec for condition in self._ctx.list(VIPCondition)}
        return dict.fromkeys((condition.name for condition in configured), unknown) | known

    async def _wait(self, seconds: float, situation: _Situation) -> None:
        """Wait for that long, or until the situation changes."""
        if self._situation is situation and not self._ctx.stopping.is_set():
            with trio.move_on_after(seconds):
                await self._changed.wait()

    async def _observe(self, client: EtcdClient) -> None:
        """Report who leads."""
        while True:
            try:
                async for record in observe(client, self._prefix):
                    await self._report.update(leader="" if record is None else bounded(record.value), watch_trouble="")
            except EtcdError as error:
                await self._report.update(watch_trouble=str(error))
                await trio.sleep(_PAUSE)

    async def _look_for_namesakes(self, client: EtcdClient) -> None:
        while True:
            await tick(_NAMESAKES)
            try:
                found = await client.range(self._prefix.encode(), prefix=True)
            except EtcdError:
                # `_observe` reports it.
                continue
            candidates = map(LeaderRecord.of, found.key_values)
            own = frozenset(self._candidacy.leases)
            await self._report.update(namesake=namesake(candidates, self._situation.hostname, own))

    # Sessions.

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
            await self._report.update(state=VIPState.REFUSED, reason=str(error), problem=str(error), lease="")
            await self._wait(_LONGEST_PAUSE, situation)

    async def _hindered(self, situation: _Situation) -> None:
        hindrance = situation.hindrance
        if hindrance is not None:
            await self._report.update(
                state=hindrance.state, reason=hindrance.reason, problem=hindrance.problem, lease="", lease_trouble=""
            )
        await self._wait(math.inf, situation)

    async def _stand(self, client: EtcdClient, situation: _Situation) -> None:
        """One session, and the pause after it."""
        pause, began = _PAUSE, trio.current_time()
        session = self._session = Session(
            self._ctx,
            self._environment,
            self._report,
            self._holding,
            self._candidacy,
            self._note,
            prefix=self._prefix,
            cloud=self._cloud,
        )
        with session.scope:
            try:
                await session.run(client, hostname=situation.hostname, lease_ttl=situation.lease_ttl)
            except (CannotHaveError, NotAppliedError, OSError) as error:
                self._candidacy.refusals += 1
                pause = _AFTER_REFUSALS.after(self._candidacy.refusals)
                reason = reason_of(error) if isinstance(error, OSError) else str(error)
                await self._report.update(state=VIPState.REFUSED, reason=reason, problem=reason)
            except EtcdError as error:
                # After a session that has lasted, the address may have no holder now: begin the next one at once.
                pause = _PAUSE if trio.current_time() - began < situation.lease_ttl else 0.0
                # That a session was lost is no trouble, only that none can be had.
                is_lost = isinstance(error, LeaseGoneError | NotLeaderError)
                problem = "" if is_lost else str(error)
                await self._report.update(state=VIPState.WAITING, reason=str(error), problem=problem)
        self._session = None
        await self._report.update(lease="", lease_trouble="")
        if not session.scope.cancelled_caught:
            await self._wait(pause, situation)


def _new_random() -> random.Random:
    return random.Random()  # noqa: S311


def vip_factories(environment: VIPEnvironment) -> Mapping[OperatorKind, OperatorFactory]:
    """The operator for `vip`."""
    return {OperatorKind.VIP: lambda spec: VIPOperator(spec, environment)}
