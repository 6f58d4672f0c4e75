"""Protobuf messages of the tests' own, made from what is known of the originals' (`tests/vectors/*messages.txt`).

They share nothing with the generated modules of the tree but the library: what one side writes, the other must read.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, duration_pb2, message_factory, timestamp_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool

_VECTORS = Path(__file__).parent.parent / "vectors"
_FIELD = re.compile(r"(\w+)#(\d+) ([\w.]+)(?:<string, (\w+)>)?([*?]?)")
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "double": _Field.TYPE_DOUBLE,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}


@cache
def sections(file: str) -> Mapping[str, Mapping[str, str]]:
    """What the file says of each message, by package."""
    found: dict[str, dict[str, str]] = {}
    for line in (_VECTORS / file).read_text().splitlines():
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, fields = line.partition(":")
            current[name] = fields.strip()
    return found


class Messages:
    """The classes of the messages of a file, by full name."""

    def __init__(self, file: str) -> None:
        self._packages = sections(file)
        self._pool = DescriptorPool()
        for known in (duration_pb2, timestamp_pb2):
            self._pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        made = descriptor_pb2.FileDescriptorProto(name="enums.proto", package="enums", syntax="proto3")
        for name, values in self._packages["enums"].items():
            self._add_enum(made, name, values)
        self._pool.Add(made)
        before = ["enums.proto", "google/protobuf/duration.proto", "google/protobuf/timestamp.proto"]
        for package, messages in self._packages.items():
            if package != "enums":
                made = descriptor_pb2.FileDescriptorProto(
                    name=f"{package}.proto", package=package, syntax="proto3", dependency=before
                )
                for name, fields in messages.items():
                    self._add_message(made, package, name, fields)
                self._pool.Add(made)
                before = [*before, made.name]

    def _add_enum(self, made: Any, name: str, values: str) -> None:
        enum = made.enum_type.add(name=name)
        enum.options.allow_alias = True
        pairs = [pair.split("=") for pair in values.split(", ")]
        # The values of one enum and of another may have the same name: here each has its enum's.
        for value, number in sorted(pairs, key=lambda pair: int(pair[1]) != 0):
            enum.value.add(name=f"{name}_{value}", number=int(number))

    def _add_message(self, made: Any, package: str, name: str, fields: str) -> None:
        message = made.message_type.add(name=name)
        for field_name, number, type, value_type, mark in _FIELD.findall(fields):
            field = message.field.add(name=field_name, number=int(number))
            field.label = _Field.LABEL_REPEATED if mark == "*" or type == "map" else _Field.LABEL_OPTIONAL
            if type == "map":
                entry = message.nested_type.add(name=f"{field_name.capitalize()}Entry")
                entry.options.map_entry = True
                parts = {"key": "string", "value": value_type or "string"}
                for number_of, (part, scalar) in enumerate(parts.items(), 1):
                    entry.field.add(name=part, number=number_of, type=_SCALARS[scalar], label=_Field.LABEL_OPTIONAL)
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{name}.{entry.name}"
            elif type in _SCALARS:
                field.type = _SCALARS[type]
            elif type.startswith("enums."):
                known = type.removeprefix("enums.") in self._packages["enums"]
                field.type = _Field.TYPE_ENUM if known else _Field.TYPE_INT32
                if known:
                    field.type_name = f".{type}"
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{type}" if "." in type else f".{package}.{type}"
            if mark == "?":
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")

    def __getitem__(self, name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))

    def descriptor(self, name: str) -> Descriptor:
        """What a message has."""
        found: Descriptor = self._pool.FindMessageTypeByName(name)
        return found


def shown(enum: str, message: Any, field: str) -> str:
    """The name of a choice, as the file has it."""
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[getattr(message, field)]
    return str(value.name).removeprefix(f"{enum}_")
