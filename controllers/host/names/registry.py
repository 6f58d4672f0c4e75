"""The names of all members, kept as affiliates come and go.

An affiliate that comes, changes or goes touches the labels that it claims or claimed, and no others. Labels whose names
depend on others' are made again with them: those of nodes that have an address in common, for such an address leads
back to neither, and those that are told apart by a label that another node claims.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.names.hosts_file import (
    HOSTS,
    ForeignNames,
    changed_labels,
    read_foreign_names,
    signature,
)
from nodespan.controllers.host.names.member_naming import (
    Claim,
    Policy,
    canonical_addresses,
    label_of,
    labels_of,
    may_stem_from,
    name_fault,
    names_of,
    policy_of,
    usable_addresses,
)
from nodespan.resources.cluster import LOCAL, Affiliate, AffiliateSpec, Identity, MemberName, MemberNameSpec
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import (
    CURRENT_ADDRESSES_ID,
    NodeAddress,
    Severity,
    StaticHost,
)
from nodespan.runtime.controller import QueueContext
from nodespan.runtime.resource import ResourceType


@attrs.frozen
class _Known:
    """What was counted of an affiliate at its last turn."""

    labels: tuple[str, ...] = ()
    addresses: frozenset[str] = frozenset()


class NameRegistry:
    """What the controller does once there are names to make. Its methods may be called concurrently."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, _Known] = {}
        self._claimants: defaultdict[str, set[str]] = defaultdict(set)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._names: dict[str, frozenset[str]] = {}
        # The names of an earlier process, by the labels that they are of, until those are made.
        self._inherited: defaultdict[str, set[str]] = defaultdict(set)
        self._in_file = ForeignNames()
        self._signature: tuple[int, ...] | None = None
        # Turns and looks at the file both write.
        self._lock = trio.Lock()
        self._problems: dict[str, Problems] = {}

    def _problems_with(self, ctx: QueueContext, type: ResourceType[Any]) -> Problems:
        if type.name not in self._problems:
            self._problems[type.name] = Problems(ctx, type)
        return self._problems[type.name]

    def concerned(self, label: str) -> Iterable[str]:
        """The ids of the affiliates that claim a label, or that may be told apart by it."""
        labels = {label, *self._dependent({label})}
        return {id for each in labels for id in self._claimants.get(each, ())}

    async def sweep(self, ctx: QueueContext) -> None:
        """Remove the names of an earlier process that no affiliate accounts for.

        The others are the labels' to remove that they are of, unless those make them again.
        """
        async with self._lock:
            labels = {label for affiliate in ctx.list(Affiliate) for label in labels_of(affiliate.spec)}
            for output in ctx.list(MemberName):
                label = output.id.partition(".")[0]
                origins = [label] if label in labels else [each for each in labels if may_stem_from(label, each)]
                if not origins:
                    await ctx.remove(MemberName, output.id)
                elif len(origins) == 1:
                    self._inherited[origins[0]].add(output.id)
            # Those that were made meanwhile.
            await self._write(ctx, self._inherited.keys() & self._names.keys())

    def has_changed(self) -> bool:
        """Whether /etc/hosts is not what it was when it was read. Blocks. May be called in any thread."""
        return signature(self._host) != self._signature

    async def look(self, ctx: QueueContext) -> None:
        """Look whether /etc/hosts has changed, and make the names again that this affects."""
        found = await trio.to_thread.run_sync(signature, self._host, abandon_on_cancel=True)
        if found == self._signature:
            return
        async with self._lock:
            before = self._in_file
            await self._read(ctx)
            if self._in_file is before:
                return
            labels = await trio.to_thread.run_sync(changed_labels, before, self._in_file)
            await self._write(ctx, labels & self._claimants.keys() | self._dependent(labels))

    async def reconcile(self, ctx: QueueContext, id: str) -> None:
        """Make the names again that the affiliate has a part in."""
        policy = _policy(ctx)
        async with self._lock:
            if policy.is_enabled and self._signature is None:
                await self._read(ctx)
            affected = self._count(ctx, id)
            await self._write(ctx, affected)
        problems = self._problems_with(ctx, Affiliate)
        spec = _spec(ctx, id)
        fault = name_fault(spec) if spec is not None and policy.is_enabled else ""
        if fault:
            await problems.set(id, fault, severity=Severity.WARNING)
        else:
            await problems.clear(id)

    def _count(self, ctx: QueueContext, id: str) -> set[str]:
        """Count what the affiliate claims now; returns the labels that this affects."""
        spec = _spec(ctx, id)
        before = self._known.pop(id, _Known())
        now = _Known() if spec is None else _Known(labels_of(spec), frozenset(usable_addresses(spec)))
        if now.labels:
            self._known[id] = now
        for index, old, new in (
            (self._claimants, before.labels, now.labels),
            (self._holders, before.addresses, now.addresses if now.labels else ()),
        ):
            _move(index, id, old, new)
        affected = {*before.labels, *now.labels}
        for address in before.addresses ^ now.addresses:
            # An address leads back while one node has it: with two others nothing changed for them.
            others = self._holders.get(address, set()) - {id}
            if len(others) == 1:
                affected.update(self._known[next(iter(others))].labels)
        return affected | self._dependent(set(before.labels) ^ set(now.labels))

    def _dependent(self, labels: Collection[str]) -> set[str]:
        """The claimed labels whose further names may be among these."""
        looked_at = [label for label in labels if "-" in label]
        return {
            origin
            for origin, claimants in (self._claimants.items() if looked_at else ())
            if len(claimants) > 1 and any(may_stem_from(label, origin) for label in looked_at)
        }

    async def _write(self, ctx: QueueContext, labels: Collection[str]) -> None:
        policy, problems = _policy(ctx), self._problems_with(ctx, MemberName)
        own_id, own = _own(ctx)
        # Without one nothing is known yet, and names that would be made again soon would be gone until then.
        has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        before: set[str] = set()
        inherited: set[str] = set()
        found: dict[str, MemberNameSpec] = {}
        for label in sorted(labels):
            await trio.lowlevel.checkpoint()
            before |= self._names.pop(label, frozenset())
            if has_config:
                inherited |= self._inherited.pop(label, set())
            specs = {id: spec for id in self._claimants.get(label, ()) if (spec := _spec(ctx, id)) is not None}
            claims = [self._claim(label, spec, policy, own_id=own_id, own=own) for spec in specs.values()]
            made = names_of(label, claims, policy, taken=_Taken(ctx, self._in_file.names), is_claimed=self._is_claimed)
            found |= made.specs
            if made.specs:
                self._names[label] = frozenset(made.specs)
            if made.problem:
                await problems.set(label, made.problem, severity=Severity.WARNING)
            else:
                await problems.clear(label)
        before |= {name for name in inherited - found.keys() if not any(name in made for made in self._names.values())}
        for name in sorted(before - found.keys()):
            await ctx.remove(MemberName, name)
        for name, made_spec in found.items():
            await ctx.put(MemberName, name, made_spec)

    def _claim(self, label: str, spec: AffiliateSpec, policy: Policy, *, own_id: str, own: frozenset[str]) -> Claim:
        is_own = spec.node_id == own_id
        addresses = usable_addresses(spec, own=() if is_own else own, only_mesh=policy.only_mesh)
        return Claim(
            spec.node_id,
            addresses,
            tuple(address for address in addresses if len(self._holders.get(address, ())) == 1),
            by_hostname=label_of(spec.hostname) == label,
            is_own=is_own,
        )

    def _is_claimed(self, label: str) -> bool:
        return label in self._claimants

    async def _read(self, ctx: QueueContext) -> None:
        """Read /etc/hosts. One that cannot be read takes no names, and is a problem."""
        problems = self._problems_with(ctx, MachineConfig)
        self._signature = await trio.to_thread.run_sync(signature, self._host)
        try:
            self._in_file = await trio.to_thread.run_sync(read_foreign_names, self._host, self._in_file)
        except (HostError, OSError) as error:
            self._in_file = ForeignNames()
            await problems.set(HOSTS, f"{HOSTS} cannot be read, so its names may be given to members too: {error}")
        else:
            await problems.clear(HOSTS)


class _Taken(Mapping[str, Collection[str]]):
    """The names in /etc/hosts, and the static hosts, as they are now."""

    def __init__(self, ctx: QueueContext, in_file: Mapping[str, frozenset[str]]) -> None:
        self._ctx, self._in_file = ctx, in_file

    def __getitem__(self, name: str) -> Collection[str]:
        static = self._ctx.find(StaticHost, name)
        if static is None and name not in self._in_file:
            raise KeyError(name)
        return {*(() if static is None else static.spec.addresses), *self._in_file.get(name, ())}

    def __iter__(self) -> Any:
        return iter({*self._in_file, *(host.id for host in self._ctx.list(StaticHost))})

    def __len__(self) -> int:
        return len(set(iter(self)))


def _move(index: defaultdict[str, set[str]], id: str, before: Collection[str], now: Collection[str]) -> None:
    for key in set(before) - set(now):
        index[key].discard(id)
        if not index[key]:
            del index[key]
    for key in now:
        index[key].add(id)


def _spec(ctx: QueueContext, id: str) -> AffiliateSpec | None:
    found = ctx.find(Affiliate, id)
    return None if found is None or found.metadata.is_tearing_down else found.spec


def _policy(ctx: QueueContext) -> Policy:
    config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
    return Policy() if config is None else policy_of(config.spec)


def _own(ctx: QueueContext) -> tuple[str, frozenset[str]]:
    """This node's id and addresses, as far as they are known."""
    identity, addresses = ctx.find(Identity, LOCAL), ctx.find(NodeAddress, CURRENT_ADDRESSES_ID)
    return (
        "" if identity is None else identity.spec.node_id,
        frozenset() if addresses is None else canonical_addresses(addresses.spec.addresses),
    )
