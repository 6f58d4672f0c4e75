"""The value of a key: a resource as JSON that `etcdctl get` shows, with the token of the write that made it.

    {"nodespan":1,"write":"0f1e2d3c4b5a6978","owner":"...","phase":"running","created":1,"updated":1,"spec":{...}}

Format and token come first, at fixed places. The address is that of the key, the version is etcd's. The spec of a
sensitive type is sealed: `sealed` instead of `spec`, in base64, bound to address and version. Others may write to etcd
too, so whatever is read is checked before it is a resource; what fails is named without its content.
"""

import base64
import json
import re
from typing import Any

from nodespan.runtime.codec.plain import spec_from_plain
from nodespan.runtime.resource import FrozenMapping, Metadata, Phase, Pointer, Resource
from nodespan.runtime.resource.metadata import EMPTY
from nodespan.runtime.resource.spec_check import check_spec
from nodespan.runtime.state.sealing import SealError
from nodespan.runtime.state.spec_codec import MISFITS, SpecCodec

# etcd takes requests of 1.5 MiB, unless configured for more.
MAX_VALUE = 8 << 20
TOKEN_SIZE = 16
_HEAD = re.compile(rb'\{"nodespan":(\d{1,9}),"write":"([0-9a-f]{16})",')
_FORMAT = 1
_LATEST = 1 << 63


class ValueUnreadableError(Exception):
    """A value that is no resource of this format; the text has the reason, without the content."""


class UnknownTypeError(ValueUnreadableError):
    """The type is not known here: the value may be a resource of it."""


def token_of(value: bytes) -> bytes:
    """What its writer called the write; nothing for a value that is not ours."""
    head = _HEAD.match(value)
    return head[2] if head else b""


class ValueCodec(SpecCodec):
    """Makes values of resources of known types, and resources of values."""

    def encode(self, resource: Resource[Any], token: bytes) -> bytes:
        """The value of a resource. Raises ValueError, TypeError if it cannot be stored, SealError without a key."""
        metadata = resource.metadata
        spec, is_sealed = self.encode_spec(resource)
        name = b"spec"
        if is_sealed:
            name = b"sealed"
            spec = b'"' + base64.b64encode(spec) + b'"'
        fields: dict[str, Any] = {
            "owner": metadata.owner,
            "phase": metadata.phase.value,
            "created": metadata.created,
            "updated": metadata.updated,
        }
        if metadata.labels:
            fields["labels"] = metadata.labels
        if metadata.annotations:
            fields["annotations"] = metadata.annotations
        if metadata.finalizers:
            fields["finalizers"] = metadata.finalizers
        rest = json.dumps(fields, separators=(",", ":")).encode("ascii")
        return b'{"nodespan":%d,"write":"%b",%b,"%b":%b}' % (_FORMAT, token, rest[1:-1], name, spec)

    def decode(self, pointer: Pointer[Any], version: int, value: bytes) -> Resource[Any]:
        """The resource of a value. Raises UnknownTypeError, ValueUnreadableError."""
        if len(value) > MAX_VALUE:
            raise ValueUnreadableError(f"it has {len(value)} bytes, {MAX_VALUE} at most are read")
        head = _HEAD.match(value)
        if head is None:
            raise ValueUnreadableError("it was not written by nodespan")
        if int(head[1]) != _FORMAT:
            raise ValueUnreadableError(f"it has format {int(head[1])}, and this nodespan reads format {_FORMAT}")
        known = self._types.get(pointer.type)
        if known is None:
            raise UnknownTypeError("its type is unknown here")
        try:
            fields = json.loads(value)
            metadata = Metadata(
                pointer.namespace,
                pointer.type,
                pointer.id,
                version,
                _text(fields["owner"]),
                Phase(fields["phase"]),
                _time(fields["created"]),
                _time(fields["updated"]),
                _pairs(fields.get("labels")),
                _pairs(fields.get("annotations")),
                tuple(map(_text, fields.get("finalizers", ()))),
            )
            if known.is_sensitive:
                sealed = base64.b64decode(fields["sealed"], validate=True)
                plain = json.loads(self.open(*pointer, version, sealed))
            else:
                plain = fields["spec"]
            spec = spec_from_plain(known.spec_class, plain)
            check_spec(spec, known.spec_class, pointer)
        except (SealError, OSError) as error:
            raise ValueUnreadableError(str(error)) from error
        except MISFITS as error:
            raise ValueUnreadableError(f"it is no {known.spec_class.__name__} ({type(error).__name__})") from None
        return Resource(metadata, spec)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _time(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LATEST:
        raise TypeError("not a time")
    return value


def _pairs(value: object) -> FrozenMapping:
    if value is None:
        return EMPTY
    if not isinstance(value, dict):
        raise TypeError("not pairs")
    return FrozenMapping({_text(name): _text(text) for name, text in value.items()})
