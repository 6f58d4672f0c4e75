"""The names of all members, kept as affiliates come and go.

An affiliate that comes, changes or goes touches its own names, and of others only those that depend on it: of the
holder of a label that it claims, or claimed, if that is another one then; of the one node that has an address in common
with it, for such an address leads back to neither; and of those that are told apart by a label that it claims.

A static peer with a name counts as an affiliate of this name, before all others. What was discovered with its key is
the same node, and has no second claim to that name, nor to the addresses that the configuration gives it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

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
from nodespan.controllers.host.names.label_claims import LabelClaims
from nodespan.controllers.host.names.member_naming import (
    BY_CONFIGURATION,
    BY_HOSTNAME,
    BY_NODENAME,
    Claim,
    Names,
    Policy,
    Rank,
    canonical_addresses,
    label_of,
    labels_of,
    may_stem_from,
    name_fault,
    names_of,
    policy_of,
    problem_of,
    usable_addresses,
)
from nodespan.controllers.host.names.static_names import STATIC, StaticNames
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

# An id that claims a label, and that label.
_Unit = tuple[str, str]


@attrs.frozen
class _Known:
    """What was counted of an affiliate at its last turn: its rank for each label that it claims, and its addresses."""

    ranks: Mapping[str, Rank] = attrs.field(factory=dict)
    addresses: frozenset[str] = frozenset()
    public_key: str = ""


@attrs.frozen
class _Made:
    """What was made of a claim: its names, and the labels that were tried for it."""

    names: frozenset[str] = frozenset()
    tried: tuple[str, ...] = ()


class NameRegistry:
    """What the controller does once there are names to make. Its methods may be called concurrently."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, _Known] = {}
        self._labels: dict[str, LabelClaims] = {}
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        # The discovered nodes of a key.
        self._by_key: defaultdict[str, set[str]] = defaultdict(set)
        self._static = StaticNames()
        self._made: dict[_Unit, _Made] = {}
        self._makers: dict[str, _Unit] = {}
        # Whose label depends on whether somebody claims this one.
        self._tried: defaultdict[str, set[_Unit]] = defaultdict(set)
        # The names of a label that have another meaning here, by who would have had them.
        self._refused: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
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
        """The ids of those who have a label, or may be told apart by it."""
        return {id for _, id in self._concerned(label)}

    def static_ids(self, ctx: QueueContext) -> Iterable[str]:
        """The ids of the static peers that have a name, or had one."""
        return {*self._static.ids(ctx), *(id for id in self._known if id.startswith(STATIC))}

    def _concerned(self, label: str) -> set[_Unit]:
        claims = self._labels.get(label)
        return {*self._tried.get(label, ()), *(() if claims is None else ((label, claims.holder),))}

    async def sweep(self, ctx: QueueContext) -> None:
        """Remove the names of an earlier process that no affiliate accounts for.

        The others are the labels' to remove that they are of, unless those make them again.
        """
        async with self._lock:
            ids = (*(affiliate.id for affiliate in ctx.list(Affiliate)), *self._static.ids(ctx))
            specs = (self._spec(ctx, id) for id in ids)
            labels = {label for spec in specs if spec is not None for label in labels_of(spec)}
            for output in ctx.list(MemberName):
                label = output.id.partition(".")[0]
                origins = [label] if label in labels else [each for each in labels if may_stem_from(label, each)]
                if not origins:
                    await ctx.remove(MemberName, output.id)
                elif len(origins) == 1:
                    self._inherited[origins[0]].add(output.id)
            # Those that were made meanwhile.
            await self._write(ctx, {unit for unit in self._made if unit[0] in self._inherited})

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
            await self._write(ctx, {unit for label in labels for unit in self._concerned(label)})

    async def reconcile(self, ctx: QueueContext, id: str) -> None:
        """Make the names again that the affiliate has a part in."""
        policy = _policy(ctx)
        async with self._lock:
            if policy.is_enabled and self._signature is None:
                await self._read(ctx)
            affected = self._count(ctx, id)
            if id.startswith(STATIC):
                # What was discovered with its key has less of its own with it.
                for other in sorted(self._by_key.get(id.removeprefix(STATIC), ())):
                    affected |= self._count(ctx, other)
            await self._write(ctx, affected)
        problems = self._problems_with(ctx, Affiliate)
        spec = None if id.startswith(STATIC) else self._spec(ctx, id)
        fault = name_fault(spec) if spec is not None and policy.is_enabled else ""
        if fault:
            await problems.set(id, fault, severity=Severity.WARNING)
        else:
            await problems.clear(id)

    def _count(self, ctx: QueueContext, id: str) -> set[_Unit]:
        """Count what the affiliate claims now; returns whose names this affects."""
        before = self._known.pop(id, _Known())
        now = self._look_at(ctx, id)
        if now != _Known():
            self._known[id] = now
        affected = {(label, id) for label in (*before.ranks, *now.ranks)}
        for label in before.ranks.keys() | now.ranks.keys():
            if before.ranks.get(label) == now.ranks.get(label):
                continue
            claims = self._labels.setdefault(label, LabelClaims(label))
            was_claimed = len(claims) > 0
            affected |= {(label, other) for other in claims.put(id, now.ranks.get(label))}
            if not claims:
                del self._labels[label]
            if was_claimed is not bool(claims):
                affected |= self._tried.get(label, set())
        _move(self._holders, id, before.addresses, now.addresses)
        if not id.startswith(STATIC):
            _move(self._by_key, id, {before.public_key} - {""}, {now.public_key} - {""})
        for address in before.addresses ^ now.addresses:
            # An address leads back while one node has it: with two others nothing changed for them.
            holders = self._holders.get(address, set())
            if len(holders) - (id in holders) == 1:
                other = next(each for each in holders if each != id)
                affected.update((label, other) for label in self._known[other].ranks)
        return affected

    def _look_at(self, ctx: QueueContext, id: str) -> _Known:
        spec = self._spec(ctx, id)
        if spec is None:
            return _Known()
        key = "" if spec.kubespan is None else spec.kubespan.public_key
        labels, addresses = labels_of(spec), frozenset(usable_addresses(spec))
        if id.startswith(STATIC):
            ranks: dict[str, Rank] = dict.fromkeys(labels, (BY_CONFIGURATION, spec.node_id))
        else:
            static = self._static.find(ctx, key)
            own = () if static is None else labels_of(static)
            # They are not of two nodes for being known twice: the configuration has them, for everybody knows the key.
            addresses -= frozenset() if static is None else frozenset(usable_addresses(static))
            by = {label: BY_HOSTNAME if label == label_of(spec.hostname) else BY_NODENAME for label in labels}
            ranks = {label: (rank, spec.node_id) for label, rank in by.items() if label not in own}
        return _Known(ranks, addresses if labels else frozenset(), key)

    def _spec(self, ctx: QueueContext, id: str) -> AffiliateSpec | None:
        if id.startswith(STATIC):
            return self._static.find(ctx, id.removeprefix(STATIC))
        found = ctx.find(Affiliate, id)
        return None if found is None or found.metadata.is_tearing_down else found.spec

    async def _write(self, ctx: QueueContext, units: Collection[_Unit]) -> None:
        policy, problems = _policy(ctx), self._problems_with(ctx, MemberName)
        own_id, own = _own(ctx)
        # Without one nothing is known yet, and names that would be made again soon would be gone until then.
        has_config = ctx.find(MachineConfig, MACHINE_CONFIG_ID) is not None
        taken = _Taken(ctx, self._in_file.names)
        before: set[str] = set()
        found: dict[str, MemberNameSpec] = {}
        by_label: defaultdict[str, set[str]] = defaultdict(set)
        for label, id in units:
            by_label[label].add(id)
        for label, ids in sorted(by_label.items()):
            if has_config:
                before |= self._inherited.pop(label, set())
            claims = self._labels.get(label, LabelClaims(label))
            ordered = claims.with_alike(ids)
            for id in {*ids, *ordered}:
                before |= self._forget((label, id))
            for id in ordered:
                await trio.lowlevel.checkpoint()
                spec = self._spec(ctx, id)
                if spec is None:
                    continue
                own_label, tried = claims.choose(id, self._is_claimed)
                claim = self._claim(label, id, spec, policy, own_id=own_id, own=own)
                made = names_of(own_label, claim, policy, taken) if own_label else Names()
                found |= made.specs
                self._note((label, id), made, tried)
            refused = [name for each in self._refused.get(label, {}).values() for name in each]
            problem = problem_of(label, len(claims), claims.named(), refused) if policy.is_enabled else ""
            if problem:
                await problems.set(label, problem, severity=Severity.WARNING)
            else:
                await problems.clear(label)
        for name in sorted(before - self._makers.keys()):
            await ctx.remove(MemberName, name)
        for name, made_spec in found.items():
            await ctx.put(MemberName, name, made_spec)

    def _forget(self, unit: _Unit) -> frozenset[str]:
        """Forget what was made of a claim; returns its names."""
        label, id = unit
        made = self._made.pop(unit, _Made())
        _move(self._tried, unit, made.tried, ())
        for name in made.names:
            if self._makers.get(name) == unit:
                del self._makers[name]
        self._refused[label].pop(id, None)
        if not self._refused[label]:
            del self._refused[label]
        return made.names

    def _note(self, unit: _Unit, made: Names, tried: tuple[str, ...]) -> None:
        label, id = unit
        self._made[unit] = _Made(frozenset(made.specs), tried)
        self._makers.update(dict.fromkeys(made.specs, unit))
        _move(self._tried, unit, (), tried)
        if made.refused:
            self._refused[label][id] = made.refused

    def _claim(
        self, label: str, id: str, spec: AffiliateSpec, policy: Policy, *, own_id: str, own: frozenset[str]
    ) -> Claim:
        is_own = spec.node_id == own_id
        addresses = usable_addresses(spec, own=() if is_own else own, only_mesh=policy.only_mesh)
        return Claim(
            spec.node_id,
            addresses,
            tuple(address for address in addresses if self._holders.get(address) == {id}),
            by_hostname=label_of(spec.hostname) == label,
            is_own=is_own,
        )

    def _is_claimed(self, label: str) -> bool:
        return label in self._labels

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


_Key = TypeVar("_Key", str, _Unit)


def _move(index: defaultdict[str, set[_Key]], key: _Key, before: Collection[str], now: Collection[str]) -> None:
    for each in set(before) - set(now):
        index[each].discard(key)
        if not index[each]:
            del index[each]
    for each in now:
        index[each].add(key)


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
