"""Resources, events and queries as messages of the COSI State service, and back.

A resource is immutable, and so are its bytes: `ResourceEncoder` encodes it once for all lists and watches that send it.
Messages around it are put together from encoded parts, so that a change costs one encoding however many watch it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from nodespan.runtime.codec.messages import MessageError, RawSpec, SpecMessages
from nodespan.runtime.codec.patterns import check_pattern
from nodespan.runtime.codec.plain import spec_to_plain
from nodespan.runtime.codec.wire import resource_pb2
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.resource import (
    Filter,
    FrozenMapping,
    LabelQuery,
    Metadata,
    Operation,
    Phase,
    Resource,
    Term,
    build_filter,
    format_version,
    is_tombstone,
    parse_version,
)
from nodespan.runtime.resource.metadata import NO_SPEC

_BILLION = 10**9
_LATEST = (1 << 63) - 1
# The encoded resources that are kept, in bytes, and what one costs besides its bytes.
_KEPT = 16 << 20
_OVERHEAD = 200
FindType = Callable[[str], type[Any] | None]


# Encoding.


def yaml_of(spec: Any) -> str:
    """The YAML form of a spec as clients show it; `{}` for a resource without one."""
    return spec.yaml if isinstance(spec, RawSpec) else dump(spec_to_plain(spec))


def encode_metadata(metadata: Metadata, into: Any) -> None:
    """Fill the message."""
    into.namespace = metadata.namespace
    into.type = metadata.type
    into.id = metadata.id
    into.version = format_version(metadata.version)
    into.owner = metadata.owner
    into.phase = metadata.phase.value
    into.created.seconds, into.created.nanos = divmod(metadata.created, _BILLION)
    into.updated.seconds, into.updated.nanos = divmod(metadata.updated, _BILLION)
    if metadata.finalizers:
        into.finalizers.extend(metadata.finalizers)
    if metadata.labels:
        into.labels.update(metadata.labels)
    if metadata.annotations:
        into.annotations.update(metadata.annotations)


def encode_resource(
    resource: Resource[Any],
    messages: SpecMessages,
    on_error: Callable[[Resource[Any], MessageError], None] | None = None,
) -> resource_pb2.Resource:
    """The message of a resource. Raises MessageError for a spec that its message cannot express, without `on_error`."""
    message = resource_pb2.Resource()
    try:
        encode_metadata(resource.metadata, message.metadata)
    except UnicodeEncodeError:
        # Protobuf's text is Unicode, and one resource must not keep a list from its reader.
        message.Clear()
        encode_metadata(_as_text(resource.metadata), message.metadata)
    # Both parts are there, even if there is nothing in them.
    message.spec.SetInParent()
    if not is_tombstone(resource):
        try:
            message.spec.proto_spec = messages.encode(resource.spec)
        except MessageError as error:
            if on_error is None:
                raise
            on_error(resource, error)
    message.spec.yaml_spec = as_text(yaml_of(resource.spec))
    return message


def as_text(text: str) -> str:
    """The text with bytes that are no text, as names from outside may have them, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _as_text(metadata: Metadata) -> Metadata:
    return attrs.evolve(
        metadata,
        namespace=as_text(metadata.namespace),
        type=as_text(metadata.type),
        id=as_text(metadata.id),
        owner=as_text(metadata.owner),
        finalizers=tuple(map(as_text, metadata.finalizers)),
        labels={as_text(key): as_text(value) for key, value in metadata.labels.items()},
        annotations={as_text(key): as_text(value) for key, value in metadata.annotations.items()},
    )


class ResourceEncoder:
    """Encodes resources as `cosi.resource.Resource`, and keeps the bytes of those that were sent last.

    `on_error` is called with a resource whose spec its message cannot express: it is sent with its YAML form only.
    """

    def __init__(
        self,
        messages: SpecMessages,
        *,
        on_error: Callable[[Resource[Any], MessageError], None],
        keep: int = _KEPT,
    ) -> None:
        self._messages = messages
        self._on_error = on_error
        self._keep = keep
        self._kept = 0
        # By identity: an entry holds its resource, so that no other can have the same.
        self._known: OrderedDict[int, tuple[Resource[Any], bytes]] = OrderedDict()

    def encode(self, resource: Resource[Any]) -> bytes:
        """The bytes of the message."""
        key = id(resource)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known[1]
        data = encode_resource(resource, self._messages, self._on_error).SerializeToString()
        self._known[key] = resource, data
        self._kept += len(data) + _OVERHEAD
        while self._kept > self._keep:
            _, (_, dropped) = self._known.popitem(last=False)
            self._kept -= len(dropped) + _OVERHEAD
        return data


def field(number: int, data: bytes) -> bytes:
    """A field of the wire format that holds bytes, a text or a message."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


# Decoding.


def _time(stamp: Any) -> int:
    """Nanoseconds, as far as every state can store them: Go's zero time is long before the epoch."""
    nanoseconds: int = stamp.seconds * _BILLION + stamp.nanos
    return min(max(nanoseconds, 0), _LATEST)


def decode_metadata(message: resource_pb2.Metadata) -> Metadata:
    """The metadata of a message. Raises ValueError."""
    return Metadata(
        message.namespace,
        message.type,
        message.id,
        parse_version(message.version),
        message.owner,
        Phase(message.phase),
        _time(message.created),
        _time(message.updated),
        FrozenMapping(message.labels),
        FrozenMapping(message.annotations),
        tuple(message.finalizers),
    )


def decode_resource(message: resource_pb2.Resource, messages: SpecMessages, find: FindType) -> Resource[Any]:
    """The resource of a message; its spec stays raw if `find` knows no class for its type. Raises ValueError."""
    if not (message.HasField("metadata") and message.HasField("spec")):
        raise MessageError("a resource needs both metadata and spec, even if there is nothing in them")
    metadata = decode_metadata(message.metadata)
    if metadata.version is None and not metadata.id and not message.spec.ByteSize():
        return Resource(metadata, NO_SPEC)
    spec = message.spec
    return Resource(metadata, messages.decode(find(metadata.type), spec.proto_spec, spec.yaml_spec))


_Operation = resource_pb2.LabelTerm.Operation
_OPERATIONS = {
    _Operation.EXISTS: Operation.EXISTS,
    _Operation.EQUAL: Operation.EQUAL,
    _Operation.NOT_EXISTS: Operation.EXISTS,
    _Operation.IN: Operation.IN,
    _Operation.LT: Operation.LT,
    _Operation.LTE: Operation.LTE,
    _Operation.LT_NUMERIC: Operation.LT_NUMERIC,
    _Operation.LTE_NUMERIC: Operation.LTE_NUMERIC,
}
_NUMBERS = {operation: number for number, operation in _OPERATIONS.items() if number != _Operation.NOT_EXISTS}
_NEED_VALUE = frozenset(_OPERATIONS.values()) - {Operation.EXISTS, Operation.IN}


class QueryError(ValueError):
    """A query that cannot be run."""


class UnknownOperationError(QueryError):
    """A query with an operation that this version does not know."""


def decode_filter(queries: Iterable[resource_pb2.LabelQuery], pattern: str) -> Filter:
    """The filter of a request. Raises QueryError."""
    try:
        check_pattern(pattern)
        return build_filter([LabelQuery(tuple(map(_term, query.terms))) for query in queries], pattern)
    except QueryError:
        raise
    except ValueError as error:
        raise QueryError(str(error)) from error


def _term(message: resource_pb2.LabelTerm) -> Term:
    operation = _OPERATIONS.get(message.op)
    if operation is None:
        raise UnknownOperationError(f"the operation {message.op} of a label query is not known here")
    if operation in _NEED_VALUE and not message.value:
        raise QueryError(f"the term for {message.key!r} of a label query has no value to compare with")
    invert = message.invert or message.op == _Operation.NOT_EXISTS
    return Term(message.key, operation, tuple(message.value), invert)


def encode_filter(filter: Filter, options: Any) -> None:
    """Fill the options of a list or a watch."""
    for query in filter.labels:
        into = options.label_query.add()
        for term in query.terms:
            into.terms.add(key=term.key, op=_NUMBERS[term.operation], value=term.values, invert=term.invert)
    if filter.id_pattern is not None:
        options.id_query.regexp = filter.id_pattern.pattern
