"""Resources as rows of a table, and back."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from nodespan.runtime.codec.stored import decode_spec
from nodespan.runtime.resource import FrozenMapping, Metadata, Phase, Resource
from nodespan.runtime.resource.metadata import EMPTY
from nodespan.runtime.state.sealing import SealError
from nodespan.runtime.state.spec_codec import MISFITS, SpecCodec

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


class RowError(Exception):
    """A row that is no resource; the text says why, without its content."""


class RowCodec(SpecCodec):
    """Makes rows of resources of known types, and resources of rows."""

    def encode(self, resource: Resource[Any]) -> Row:
        """The row of a resource. Raises ValueError, TypeError if it cannot be stored."""
        metadata = resource.metadata
        try:
            for text in (metadata.namespace, metadata.type, metadata.id, metadata.owner):
                text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{metadata!s:.200} cannot be stored: its address is not text ({error.reason})") from None
        spec, is_sealed = self.encode_spec(resource, longest=_LARGEST_SPEC)
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
            is_sealed,
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
                spec = self.open(namespace, type, id, version, spec)
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
        except MISFITS as error:
            raise RowError(f"its content is not that of the type ({error.__class__.__name__})") from error


_PHASES = {phase.value: phase for phase in Phase}


def _packed(pairs: Mapping[str, str]) -> str | None:
    return json.dumps(pairs) if pairs else None
