"""Resources as rows of a table, and back."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from nodespan.runtime.codec.stored import check_survives, decode_spec, encode_spec
from nodespan.runtime.errors import SpecError
from nodespan.runtime.resource import FrozenMapping, Metadata, Phase, Resource, ResourceType
from nodespan.runtime.resource.metadata import EMPTY
from nodespan.runtime.state.sealing import Seal, SealError

COLUMNS = (
    "namespace",
    "type",
    "id",
    "version",
    "owner",
    "phase",
    "created",
    "updated",
    "labels",
    "annotations",
    "finalizers",
    "sealed",
    "spec",
)
Row = tuple[Any, ...]
_LARGEST_SPEC = 64 << 20

# What a content that is not of the type can cause.
_UNFIT = (SpecError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class RowError(Exception):
    """A row that is no resource; the text says why, without its content."""


class RowCodec:
    """Makes rows of resources of known types, and resources of rows. `seal` is asked for when a secret is met."""

    def __init__(self, seal: Callable[[], Seal]) -> None:
        self._seal = seal
        self._types: dict[str, ResourceType[Any]] = {}
        self._checked: set[str] = set()

    def knows(self, type: str) -> bool:
        """Whether the type was learned."""
        return type in self._types

    def is_secret(self, type: str) -> bool:
        """Whether resources of this known type are sealed."""
        return self._types[type].is_sensitive

    def learn(self, type: ResourceType[Any]) -> None:
        """Know a type from now on."""
        self._types[type.name] = type

    def encode(self, resource: Resource[Any]) -> Row:
        """The row of a resource. Raises ValueError, TypeError if it cannot be stored."""
        metadata = resource.metadata
        known = self._types.get(metadata.type)
        if known is None:
            raise ValueError(
                f"{resource.pointer} cannot be stored: its type is unknown here, register_types() it first"
            )
        try:
            for text in (metadata.namespace, metadata.type, metadata.id, metadata.owner):
                text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{metadata!s:.200} cannot be stored: its address is not text ({error.reason})") from None
        spec = encode_spec(resource.spec)
        if len(spec) > _LARGEST_SPEC:
            raise ValueError(f"{resource.pointer} cannot be stored: a spec may have {_LARGEST_SPEC >> 20} MiB")
        if metadata.type not in self._checked:
            check_survives(resource.spec, spec)
            self._checked.add(metadata.type)
        if known.is_sensitive:
            spec = self._seal().seal(_address(metadata.namespace, metadata.type, metadata.id, metadata.version), spec)
        return (
            metadata.namespace,
            metadata.type,
            metadata.id,
            metadata.version,
            metadata.owner,
            metadata.phase.value,
            metadata.created,
            metadata.updated,
            _packed(metadata.labels),
            _packed(metadata.annotations),
            json.dumps(metadata.finalizers) if metadata.finalizers else None,
            known.is_sensitive,
            spec,
        )

    def decode(self, row: Row) -> Resource[Any]:
        """The resource of a row of a known type. Raises RowError."""
        namespace, type, id, version, owner, phase, created, updated, labels, annotations, finalizers, sealed, spec = (
            row
        )
        known = self._types[type]
        try:
            # One text for all of a kind: found faster, and kept once.
            own = known.kind
            namespace = own.namespace if namespace == own.namespace else sys.intern(namespace)
            type, owner = own.type, sys.intern(owner)
            if sealed:
                spec = self._seal().open(_address(namespace, type, id, version), spec)
            metadata = Metadata(
                namespace,
                type,
                id,
                version,
                owner,
                _PHASES[phase],
                created,
                updated,
                EMPTY if labels is None else FrozenMapping(json.loads(labels)),
                EMPTY if annotations is None else FrozenMapping(json.loads(annotations)),
                () if finalizers is None else tuple(json.loads(finalizers)),
            )
            return Resource(metadata, decode_spec(known.spec_class, spec))
        except SealError as error:
            raise RowError(str(error)) from error
        except _UNFIT as error:
            # The content may be a secret: the class of the error has to do.
            raise RowError(f"its content is not that of the type ({error.__class__.__name__})") from error


_PHASES = {phase.value: phase for phase in Phase}


def _packed(pairs: Mapping[str, str]) -> str | None:
    return json.dumps(pairs) if pairs else None


def _address(namespace: str, type: str, id: str, version: int | None) -> bytes:
    return json.dumps((namespace, type, id, version)).encode()
