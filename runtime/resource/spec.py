"""The outside names of a spec class's fields, and the text forms of sets and choices.

A spec is a frozen attrs class. Outside (YAML, JSON, the wire) a field `link_index` is called `linkIndex`; a field whose
outside name does not follow from that rule says so with `wire("pciID")`, and one that is left out when empty says
`wire(omit_empty=True)`:

    @attrs.frozen(kw_only=True)
    class LinkStatusSpec:
        index: int = 0
        pci_id: str = attrs.field(default="", metadata=wire("pciID", omit_empty=True))

Choices are `enum.StrEnum` classes whose values are the outside text; sets of bits are `TextFlag` classes.
"""

import enum
import functools
from typing import Any, Self

import attrs

_KEY = "nodespan.key"
_OMIT_EMPTY = "nodespan.omit_empty"


def wire(key: str | None = None, *, omit_empty: bool = False) -> dict[str, Any]:
    """Metadata for `attrs.field`: the outside name of the field, and whether an empty value is left out.

    Empty is what is false; for a field whose default is None, only None.
    """
    return {_KEY: key, _OMIT_EMPTY: omit_empty}


def camel(name: str) -> str:
    """`link_index` → `linkIndex`: the outside name of a field that names none of its own."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


class TextFlag(enum.IntFlag):
    """A set of bits. Its text is the names in `labels()`, joined by commas, lowest bit first; "" for no bits.

    Bits without a name stay in the number and are left out of the text.
    """

    @classmethod
    def labels(cls) -> dict[int, str]:
        """Bit → its outside name; by default the member's own name."""
        return {member.value: member.name or "" for member in cls}

    def text(self) -> str:
        """The comma-joined outside form."""
        return _text_of(type(self), int(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The set that `text` names. Raises ValueError naming the first unknown word."""
        bits = {label: bit for bit, label in cls.labels().items()}
        value = 0
        for word in filter(None, text.split(",")):
            if word not in bits:
                raise ValueError(f"unknown flag {word!r}, expected some of {', '.join(bits)}")
            value |= bits[word]
        return cls(value)


# Thousands of routes have the same few flags.
@functools.lru_cache(maxsize=1024)
def _text_of(flags: type[TextFlag], value: int) -> str:
    return ",".join(label for bit, label in sorted(flags.labels().items()) if value & bit)


def outside_name(field: "attrs.Attribute[Any]") -> str:
    """The outside name of a spec class's field."""
    return field.metadata.get(_KEY) or camel(field.name)


def is_omitted_when_empty(field: "attrs.Attribute[Any]") -> bool:
    """Whether a field is left out of the outside form while it is empty."""
    return bool(field.metadata.get(_OMIT_EMPTY))
