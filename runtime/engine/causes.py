"""What a resource was made from, recursively: the answer to `nodespan why`."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from nodespan.runtime.controller.origin import Origin
from nodespan.runtime.engine.runner import Runner
from nodespan.runtime.resource import Kind, Pointer, Resource, Version, kind_of
from nodespan.runtime.state import State

# How many resources are shown of a kind that was read as a whole.
MOST_SHOWN = 8
# Of how many resources the inputs are shown: each costs a look at all resources of the kinds that it was made from.
MOST_FOLLOWED = 500


@attrs.frozen(kw_only=True)
class Cause:
    """One line of the answer: a resource, its distance from the requested one, and a note.

    `is_repeated`: an earlier line has it, with its inputs.
    `version` is the one that was read, None if it is unknown or there was no resource. An empty id stands for the
    resources of the kind that are not shown.
    """

    depth: int
    pointer: Pointer[Any]
    version: Version
    owner: str = ""
    note: str = ""
    is_repeated: bool = False


def find_causes(state: State, runners: Mapping[str, Runner], pointer: Pointer[Any], *, depth: int) -> Iterator[Cause]:
    """The resource, followed recursively, up to a depth, by what it was made from. Raises NotFoundError.

    Shows names, versions and owners only, no specs.
    """
    resource = state.get(pointer.kind, pointer.id)
    return _Search(state, runners, depth).of(resource, resource.metadata.version, 0)


@attrs.define
class _Search:
    _state: State
    _runners: Mapping[str, Runner]
    _depth: int
    _told: set[Pointer[Any]] = attrs.field(factory=set, init=False)

    def of(self, resource: Resource[Any], read: Version, depth: int, note: str = "") -> Iterator[Cause]:
        metadata = resource.metadata
        origin = self._origin(resource)
        notes = [note] if note else []
        is_new = metadata.pointer not in self._told
        if not is_new:
            notes.append("see above")
        elif origin is None:
            notes.append("not made by a controller of this agent")
        self._told.add(metadata.pointer)
        has_inputs = is_new and origin is not None and depth < self._depth
        if has_inputs and len(self._told) > MOST_FOLLOWED:
            has_inputs = False
            notes.append("its inputs are left out: the answer is long")
        yield Cause(
            depth=depth,
            pointer=metadata.pointer,
            version=read,
            owner=metadata.owner,
            note="; ".join(notes),
            is_repeated=not is_new,
        )
        if has_inputs and origin is not None:
            for kind, reads in _by_kind(origin).items():
                yield from self._inputs(kind, reads, resource, depth + 1)

    def _origin(self, resource: Resource[Any]) -> Origin | None:
        runner = self._runners.get(resource.metadata.owner)
        record = None if runner is None else runner.access.origins.get(resource.metadata.pointer)
        return None if record is None else Origin(*record)

    def _inputs(
        self, kind: Kind[Any], reads: Mapping[str | None, Version], output: Resource[Any], depth: int
    ) -> Iterator[Cause]:
        """Of many of a kind those whose ids are most like the output's, and the number of the others."""
        ids = {id for id in reads if id is not None}
        if None in reads:
            ids |= self._state.view(kind).items.keys()
        ids = {id for id in ids if not self._is_of_same_controller(kind, id, output)}
        likenesses = {id: _likeness(id, output.id) for id in ids}
        shown = sorted(ids, key=lambda each: (-likenesses[each], each))[:MOST_SHOWN]
        if len(ids) > MOST_SHOWN:
            shown = [id for id in shown if likenesses[id]]
        for id in shown:
            yield from self._input(kind.pointer(id), reads, depth)
        if others := len(ids) - len(shown):
            yield Cause(depth=depth, pointer=kind.pointer(""), version=None, note=f"and {others:,} others")

    def _input(self, pointer: Pointer[Any], reads: Mapping[str | None, Version], depth: int) -> Iterator[Cause]:
        found = self._state.find(pointer.kind, pointer.id)
        if found is None:
            version = reads.get(pointer.id)
            note = "was not there" if version is None else "is gone since"
            yield Cause(depth=depth, pointer=pointer, version=version, note=note)
            return
        now = found.metadata.version
        if pointer.id not in reads:
            has_changed = self._state.view(pointer.kind).changed_since(pointer.id, reads[None] or 0)
            note = {True: "has changed since", False: "", None: "may have changed since"}[has_changed]
            yield from self.of(found, now, depth, note)
        elif reads[pointer.id] is None:
            yield Cause(depth=depth, pointer=pointer, version=None, note=f"was not there, is at version {now} now")
        else:
            note = "" if now == reads[pointer.id] else f"is at version {now} now"
            yield from self.of(found, reads[pointer.id], depth, note)

    def _is_of_same_controller(self, kind: Kind[Any], id: str, output: Resource[Any]) -> bool:
        """Whether it is an output of the same controller, which reads its outputs to see what is left to do."""
        found = self._state.find(kind, id)
        if found is None:
            return kind.pointer(id) == output.metadata.pointer
        return found.metadata.owner == output.metadata.owner


def _by_kind(origin: Origin) -> dict[Kind[Any], dict[str | None, Version]]:
    """The reads by kind and id, at the version read last; id None is the whole kind, at its number of changes."""
    found: dict[Kind[Any], dict[str | None, Version]] = {}
    for kind, id, version in origin.notes():
        found.setdefault(kind_of(kind), {})[id] = version
    return found


def _likeness(id: str, other: str) -> int:
    """How many parts, separated by slashes, two ids share."""
    return len(set(id.split("/")) & set(other.split("/")))
