"""What users write: resources of types that are declared writable, checked at the door.

A user's resource has no owner, as with the originals: a controller's output has, and is refused here. A resource that a
user deletes is torn down, and destroyed when the last finalizer is gone, by the controller that the engine runs for
each writable type, also when nobody waits for it.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import attrs
import trio

from nodespan.runtime.actions import ActionError
from nodespan.runtime.codec.documents import Document, DocumentError, read_documents
from nodespan.runtime.codec.door import Mistake, find_mistakes
from nodespan.runtime.codec.plain import spec_from_plain
from nodespan.runtime.errors import ConflictError, NotFoundError, OwnerConflictError, PhaseConflictError, StateError
from nodespan.runtime.resource import (
    FrozenMapping,
    Metadata,
    Resource,
    ResourceDefinition,
    ResourceType,
    named_definitions,
    parse_version,
)
from nodespan.runtime.state import ANY_PHASE, EventType, State
from nodespan.runtime.text.suggestions import did_you_mean

_KEYS = ("metadata", "spec", "node")
# Those of the second line are shown by `get` and set by the state: in a file they mean nothing.
_METADATA = ("namespace", "type", "id", "labels", "annotations", "version")
_SHOWN_METADATA = (*_METADATA, "owner", "phase", "created", "updated", "finalizers")
_LABEL = re.compile(r"[^\s=,!<>()]+")
_MOST_MISTAKES = 20
Answer = dict[str, Any]


class RefusedError(ActionError):
    """The request is refused; the text says where the mistake is, and what to do."""


@attrs.frozen
class _Given:
    """One resource of a file. Labels and annotations that the file does not speak of are None."""

    where: str
    display: str
    type: ResourceType[Any]
    id: str
    spec: Any
    version: int | None
    labels: FrozenMapping | None
    annotations: FrozenMapping | None

    @property
    def new(self) -> Resource[Any]:
        kind = self.type.kind
        metadata = Metadata(
            kind.namespace, kind.type, self.id, labels=self.labels or {}, annotations=self.annotations or {}
        )
        return Resource(metadata, self.spec)

    def onto(self, current: Resource[Any]) -> Resource[Any]:
        """The present resource with what the file says."""
        labels = current.metadata.labels if self.labels is None else self.labels
        annotations = current.metadata.annotations if self.annotations is None else self.annotations
        return current.evolve(labels=labels, annotations=annotations).with_spec(self.spec)


class UserResources:
    """The writes of users, on a state. `types` are the known types by name."""

    def __init__(self, state: State, types: Mapping[str, ResourceType[Any]]) -> None:
        self._state = state
        self._types = types

    # Files.

    async def create(self, text: str, file: str) -> AsyncGenerator[Answer, None]:
        """Create the resources of a file. All are checked before the first is written. Raises RefusedError."""
        for given in await self._read(text, file):
            try:
                stored = await self._state.create(given.new)
            except ConflictError as error:
                raise RefusedError(f"{given.where}: {error}: apply it to change it") from error
            except (StateError, ValueError) as error:
                raise RefusedError(f"{given.where}: {error}") from error
            yield _answer(given, stored, "created")

    async def apply(self, text: str, file: str) -> AsyncGenerator[Answer, None]:
        """Create the resources of a file, or make those that exist as the file says. Raises RefusedError."""
        for given in await self._read(text, file):
            before = self._state.find(given.type.kind, given.id)
            try:
                stored = await self._state.modify(
                    given.new,
                    lambda current, given=given: given.onto(current),  # type: ignore[misc]
                )
            except (StateError, ValueError) as error:
                raise RefusedError(f"{given.where}: {self._explain(error, given)}") from error
            done = "created" if before is None else "unchanged" if stored == before else "configured"
            yield _answer(given, stored, done)

    async def replace(self, text: str, file: str) -> AsyncGenerator[Answer, None]:
        """Make one resource as an edited file says, if it still has the version of the file. Raises RefusedError."""
        for given in await self._read(text, file):
            current = self._state.find(given.type.kind, given.id)
            if current is None:
                raise RefusedError(f"{given.where}: there is no {given.display} {given.id!r} any more")
            changed = given.onto(current)
            if changed == current:
                yield _answer(given, current, "unchanged")
                continue
            try:
                stored = await self._state.update(changed.evolve(version=given.version))
            except (OwnerConflictError, PhaseConflictError) as error:
                raise RefusedError(f"{given.where}: {self._explain(error, given)}") from error
            except ConflictError as error:
                raise RefusedError(f"{given.where}: it was changed meanwhile: edit it again ({error})") from error
            except (StateError, ValueError) as error:
                raise RefusedError(f"{given.where}: {error}") from error
            yield _answer(given, stored, "edited")

    def _explain(self, error: Exception, given: _Given) -> str:
        current = self._state.find(given.type.kind, given.id)
        match error:
            case OwnerConflictError() if current is not None:
                return f"{current.metadata.pointer} is an output of {current.metadata.owner}, which alone writes it"
            case PhaseConflictError() if current is not None:
                return f"{current.metadata.pointer} is being deleted, and held by {_holders(current)}"
        return str(error)

    async def _read(self, text: str, file: str) -> list[_Given]:
        try:
            documents = await trio.to_thread.run_sync(lambda: list(read_documents(text)))
        except DocumentError as error:
            place = f"{file}:{error.line}:{error.column}" if error.line else file
            raise RefusedError(f"{place}: {error}") from error
        if not documents:
            raise RefusedError(f"{file}: there is no resource in this file")
        given: list[_Given] = []
        mistakes: list[str] = []
        for document in documents:
            found = self._check(document, file)
            if isinstance(found, _Given):
                given.append(found)
            else:
                mistakes += [_render(document, mistake, file) for mistake in found]
        if mistakes:
            more = len(mistakes) - _MOST_MISTAKES
            raise RefusedError("\n".join(mistakes[:_MOST_MISTAKES] + ([f"and {more} more"] if more > 0 else [])))
        return given

    def _check(self, document: Document, file: str) -> _Given | list[Mistake]:
        data = document.data
        if not isinstance(data, Mapping) or not isinstance(data.get("metadata"), Mapping):
            return [Mistake((), "a resource has the keys metadata (with type and id) and spec")]
        metadata = data["metadata"]
        mistakes = [
            Mistake((key,), f"unknown key{did_you_mean(key, _KEYS)}", on_key=True) for key in data if key not in _KEYS
        ] + [
            Mistake(("metadata", key), f"unknown key{did_you_mean(key, _SHOWN_METADATA)}", on_key=True)
            for key in metadata
            if key not in _SHOWN_METADATA
        ]
        for key in ("type", "id"):
            if not isinstance(metadata.get(key), str) or not metadata[key]:
                mistakes.append(Mistake(("metadata", key), "must be a text" if key in metadata else "is missing"))
        if mistakes:
            return mistakes
        try:
            type = self.resolve(metadata["type"])
        except RefusedError as error:
            return [Mistake(("metadata", "type"), str(error))]
        mistakes += _check_namespace(type, metadata)
        labels = _pairs(metadata, "labels", mistakes)
        annotations = _pairs(metadata, "annotations", mistakes)
        version = _version(metadata, mistakes)
        mistakes += find_mistakes(type.spec_class, {} if data.get("spec") is None else data["spec"], ("spec",))
        if mistakes:
            return mistakes
        line, column = document.place(())
        return _Given(
            f"{file}:{line}:{column}",
            type.definition.display_type,
            type,
            metadata["id"],
            spec_from_plain(type.spec_class, data.get("spec") or {}),
            version,
            labels,
            annotations,
        )

    def resolve(self, typed: str) -> ResourceType[Any]:
        """The writable type that a name means. Raises RefusedError."""
        found = named_definitions(self._state.list(ResourceDefinition), typed)
        if len(found) != 1:
            writable = sorted(type.definition.display_type.lower() for type in self._types.values() if type.is_writable)
            what = "is ambiguous" if found else f"is not a registered type{did_you_mean(typed, writable)}"
            raise RefusedError(f"{typed!r} {what}; users write {', '.join(writable) or 'no type of this agent'}")
        type = self._types.get(found[0].type)
        if type is None or not type.is_writable:
            raise RefusedError(
                f"{found[0].display_type} is not for users to write: it is made by controllers from the configuration "
                f"and the system (`nodespan why {found[0].display_type.lower()} ID` shows from what)"
            )
        return type

    # Single resources.

    def _find(self, typed: str, id: str, namespace: str) -> tuple[ResourceType[Any], Resource[Any]]:
        type = self.resolve(typed)
        if namespace not in ("", type.kind.namespace):
            raise RefusedError(f"users write {type.definition.display_type} in namespace {type.kind.namespace}")
        current = self._state.find(type.kind, id)
        if current is None:
            near = did_you_mean(id, (resource.id for resource in self._state.list(type.kind)))
            raise RefusedError(f"there is no {type.definition.display_type} {id!r}{near}")
        if current.metadata.owner:
            raise RefusedError(f"{current} is an output of {current.metadata.owner}, which alone writes it")
        return type, current

    async def delete(self, typed: str, id: str, namespace: str, *, wait: bool) -> AsyncGenerator[Answer, None]:
        """Tear a resource down and, with `wait`, report when it is destroyed. Raises RefusedError."""
        type, current = self._find(typed, id, namespace)
        try:
            async with self._state.watch(type.kind, id) as watch:
                await self._state.teardown(type.kind, id)
                current = self._state.find(type.kind, id) or current
                if current.metadata.finalizers:
                    yield _answer_for(type, current, f"deleting, held by {_holders(current)}")
                if not wait:
                    return
                async for event in watch:
                    if event.error is not None:
                        raise event.error
                    if event.type is EventType.DESTROYED:
                        break
        except NotFoundError:
            pass  # destroyed meanwhile, as requested
        except StateError as error:
            raise RefusedError(str(error)) from error
        yield _answer_for(type, current, "deleted")

    async def label(
        self, typed: str, id: str, namespace: str, changes: Mapping[str, str | None]
    ) -> AsyncGenerator[Answer, None]:
        """Set labels, or remove those whose value is None. Raises RefusedError."""
        type, current = self._find(typed, id, namespace)
        for key in changes:
            if not _LABEL.fullmatch(key):
                raise RefusedError(f"{key!r} is not the name of a label: no selector could name it")

        def labelled(resource: Resource[Any]) -> Resource[Any]:
            kept = resource.metadata.labels.without(*changes)
            return resource.evolve(labels=kept.with_({k: v for k, v in changes.items() if v is not None}))

        try:
            stored = await self._state.update_with_conflicts(type.kind, id, labelled, expected_phase=ANY_PHASE)
        except (StateError, ValueError) as error:
            raise RefusedError(str(error)) from error
        yield _answer_for(type, stored, "unchanged" if stored == current else "labeled")


def _render(document: Document, mistake: Mistake, file: str) -> str:
    line, column = document.place(mistake.path, on_key=mistake.on_key)
    where = f"{mistake.where}: " if mistake.path else ""
    return f"{file}:{line}:{column}: {where}{mistake.message}"


def _check_namespace(type: ResourceType[Any], metadata: Mapping[str, Any]) -> list[Mistake]:
    given, own = metadata.get("namespace"), type.kind.namespace
    if given in (None, own):
        return []
    return [Mistake(("metadata", "namespace"), f"must be {own}, the namespace of the type, or be left out")]


def _pairs(metadata: Mapping[str, Any], key: str, mistakes: list[Mistake]) -> FrozenMapping | None:
    given = metadata.get(key)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        mistakes.append(Mistake(("metadata", key), "must be keys and values"))
        return None
    wrong = [name for name, value in given.items() if not isinstance(value, str)]
    mistakes += [Mistake(("metadata", key, name), "must be a text: put it in quotes") for name in wrong]
    return None if wrong else FrozenMapping(given)


def _version(metadata: Mapping[str, Any], mistakes: list[Mistake]) -> int | None:
    given = metadata.get("version")
    if given is None:
        return None
    try:
        return parse_version(str(given))
    except ValueError as error:
        mistakes.append(Mistake(("metadata", "version"), str(error)))
        return None


def _holders(resource: Resource[Any]) -> str:
    return ", ".join(resource.metadata.finalizers)


def _answer(given: _Given, stored: Resource[Any], done: str) -> Answer:
    return _answer_for(given.type, stored, done)


def _answer_for(type: ResourceType[Any], resource: Resource[Any], done: str) -> Answer:
    return {"type": type.definition.display_type, "id": resource.id, "done": done}
