"""Specs for states that keep them outside memory: which types are known, what is stored of a spec, what is sealed."""

import json
from collections.abc import Callable
from typing import Any

from nodespan.runtime.codec.stored import check_survives, encode_spec
from nodespan.runtime.errors import SpecError
from nodespan.runtime.resource import Namespace, Resource, ResourceDefinition, ResourceType
from nodespan.runtime.state.sealing import Seal

# What reading a content that is not of the type raises. It may be a secret: of the error, the class has to do.
MISFITS = (SpecError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


class SpecCodec:
    """Encodes the specs of known types. `seal` is asked for when a secret is met."""

    def __init__(self, seal: Callable[[], Seal]) -> None:
        self._seal = seal
        self._types: dict[str, ResourceType[Any]] = {type.name: type for type in (Namespace, ResourceDefinition)}
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

    def encode_spec(self, resource: Resource[Any], *, longest: int | None = None) -> tuple[bytes, bool]:
        """What is stored of a resource's spec, and whether it is sealed. `longest` is how many bytes a spec may have.

        Raises ValueError, TypeError if it cannot be stored, SealError without a key.
        """
        metadata = resource.metadata
        known = self._types.get(metadata.type)
        if known is None:
            raise ValueError(
                f"{resource.pointer} cannot be stored: its type is unknown here, register_types() it first"
            )
        spec = encode_spec(resource.spec)
        if longest is not None and len(spec) > longest:
            raise ValueError(f"{resource.pointer} cannot be stored: a spec may have {longest >> 20} MiB")
        # Once for each type: it shows what the form of the type cannot express.
        if metadata.type not in self._checked:
            check_survives(resource.spec, spec)
            self._checked.add(metadata.type)
        if not known.is_sensitive:
            return spec, False
        address = _address(metadata.namespace, metadata.type, metadata.id, metadata.version)
        return self._seal().seal(address, spec), True

    def open(self, namespace: str, type: str, id: str, version: int | None, sealed: bytes) -> bytes:
        """What was sealed for a resource of this version. Raises SealError, OSError."""
        return self._seal().open(_address(namespace, type, id, version), sealed)


def _address(namespace: str, type: str, id: str, version: int | None) -> bytes:
    return json.dumps((namespace, type, id, version)).encode()
