"""What a write makes of the present, or which error refuses it: the rules that every state decides by.

Plain functions over values: a state looks up the present (which may be what other writers are just committing), and
stores the answer.
"""

from typing import Any, TypeVar

from nodespan.runtime.errors import ConflictError, OwnerConflictError
from nodespan.runtime.resource import Kind, Metadata, Resource
from nodespan.runtime.resource.metadata import NO_SPEC, stored_metadata, stored_resource
from nodespan.runtime.state.base import ANY_PHASE, ExpectedPhase, not_found, phase_conflict

S = TypeVar("S")


def created(current: Resource[Any] | None, resource: Resource[S], owner: str, now: int) -> Resource[S]:
    """The resource as it is stored by a creation. Raises ConflictError if it exists, ValueError for another owner."""
    given = resource.metadata
    if resource.spec is NO_SPEC:
        raise ValueError(f"{resource.pointer} has no spec, a tombstone cannot be stored")
    if given.owner and given.owner != owner:
        raise ValueError(f"owner of {given} is already set to {given.owner!r}, it cannot become {owner!r}")
    if current is not None:
        raise already_exists(given)
    return stored_resource(stored_metadata(given, 1, owner, now, given.updated), resource.spec)


def updated(
    current: Resource[Any] | None, resource: Resource[S], owner: str, expected_phase: ExpectedPhase, now: int
) -> Resource[S]:
    """The resource as it is stored by an update. Raises NotFoundError, and the conflicts of owner, version, phase."""
    given = resource.metadata
    if current is None:
        raise not_found(Kind(given.namespace, given.type), given.id)
    stored = current.metadata
    if stored.owner != owner:
        raise owner_conflict(stored, owner)
    version = stored.version
    if version is None or given.version != version:
        raise version_conflict(stored, given)
    if expected_phase is not stored.phase and expected_phase is not ANY_PHASE:
        raise phase_conflict(current, expected_phase)
    metadata = stored_metadata(given, version + 1, given.owner, stored.created, now)
    return stored_resource(metadata, resource.spec)


def check_destroy(current: Resource[S] | None, kind: Kind[S], id: str, owner: str) -> Resource[S]:
    """The present resource, if it may be destroyed. Raises NotFoundError, OwnerConflictError, ConflictError."""
    if current is None:
        raise not_found(kind, id)
    metadata = current.metadata
    if metadata.owner != owner:
        raise owner_conflict(metadata, owner)
    if metadata.finalizers:
        message = f"resource {metadata} has pending finalizers [{' '.join(metadata.finalizers)}]"
        raise ConflictError(message, namespace=metadata.namespace, type=metadata.type)
    return current


def already_exists(given: Metadata) -> ConflictError:
    """The error for the creation of what there is."""
    return ConflictError(f"resource {given} already exists", namespace=given.namespace, type=given.type)


def version_conflict(stored: Metadata, given: Metadata) -> ConflictError:
    """The error for an update of another version than the stored one."""
    message = (
        f"resource {stored} update conflict: "
        f'expected version "{given.version or "undefined"}", actual version "{stored.version}"'
    )
    return ConflictError(message, namespace=stored.namespace, type=stored.type)


def owner_conflict(stored: Metadata, owner: str) -> OwnerConflictError:
    """The error for a write by one who is not the owner."""
    message = f'resource {stored} is owned by "{stored.owner}", not by "{owner}"'
    return OwnerConflictError(message, namespace=stored.namespace, type=stored.type)
