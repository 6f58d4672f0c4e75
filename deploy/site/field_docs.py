"""What the fields of a class mean: the string under each of them, read from the source.

    @attrs.frozen(kw_only=True)
    class KubeSpan:
        enabled: bool = False
        \"\"\"Whether this node takes part in the mesh.\"\"\"

Such a string costs nothing at run time, and editors and mkdocstrings show it.
"""

import ast
import functools
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from nodespan.runtime.resource.spec import is_omitted_when_empty, outside_name


@attrs.frozen(kw_only=True)
class FieldDoc:
    """A field: its outside name, its type as annotated, and what it means ("" if nothing is said)."""

    name: str
    attribute: str
    hint: Any
    default: Any
    is_required: bool
    is_secret: bool
    is_omitted_when_empty: bool
    text: str


def fields(cls: type[Any]) -> list[FieldDoc]:
    """The fields of an attrs class, those that it inherits included, in their order."""
    hints = typing.get_type_hints(cls, include_extras=True)
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if attrs.has(base):
            said |= _said_in(base)
    return [
        FieldDoc(
            name=outside_name(field),
            attribute=field.name,
            hint=hints[field.name],
            default=_default(field),
            is_required=field.default is attrs.NOTHING,
            is_secret=field.repr is False,
            is_omitted_when_empty=is_omitted_when_empty(field),
            text=said.get(field.name, ""),
        )
        for field in attrs.fields(cls)
    ]


def undocumented(roots: typing.Iterable[type[Any]], *, except_for: frozenset[str] = frozenset()) -> list[str]:
    """`module.Class.field` for every field, of these classes and all below them, that nothing is said of."""
    return [
        f"{cls.__module__}.{cls.__name__}.{field.attribute}"
        for cls in reachable(roots)
        for field in fields(cls)
        if not field.text and field.attribute not in except_for
    ]


def reachable(roots: typing.Iterable[type[Any]]) -> list[type[Any]]:
    """These classes and all attrs classes in the fields of them, each once."""
    found: dict[type[Any], None] = {}

    def visit(hint: Any) -> None:
        if isinstance(hint, type) and attrs.has(hint):
            if hint not in found:
                found[hint] = None
                for part in typing.get_type_hints(hint, include_extras=True).values():
                    visit(part)
        else:
            for part in typing.get_args(hint):
                visit(part)

    for root in roots:
        visit(root)
    return list(found)


def without_none(hint: Any) -> tuple[Any, bool]:
    """A type without None, and whether it had it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        rest = [part for part in typing.get_args(hint) if part is not types.NoneType]
        if len(rest) == 1:
            return rest[0], True
    return hint, False


def _default(field: "attrs.Attribute[Any]") -> Any:
    # The class of attrs.Factory is not what its stubs say that it is.
    factory = getattr(field.default, "factory", None)
    return field.default if factory is None else factory()


@functools.cache
def _said_in(cls: type[Any]) -> Mapping[str, str]:
    """The strings under the fields that the class itself declares."""
    return dict(_strings(_classes_of(cls.__module__).get(cls.__qualname__)))


@functools.cache
def _classes_of(module: str) -> Mapping[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _strings(node: ast.ClassDef | None) -> Iterator[tuple[str, str]]:
    for statement, following in zip(node.body, node.body[1:], strict=False) if node is not None else ():
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
