"""Checks, at each write, that a spec is of its type's class and its fields are of their annotated types.

Otherwise a wrong spec would fail in the controllers that read it. The checks of a class are derived once from its
annotations; what they cannot decide (parameters of generic classes, protocols) passes.
"""

import collections.abc
import functools
import operator
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any

import attrs

from nodespan.runtime.errors import SpecError

_Check = Callable[[Any], bool]


@attrs.frozen
class _Field:
    name: str
    annotation: Any
    check: _Check
    # Values of exactly these classes pass without a call.
    exact: frozenset[type]


@attrs.frozen
class _Checks:
    # All values of a spec, in the order of `fields`.
    values: Callable[[Any], tuple[Any, ...]]
    fields: tuple[_Field, ...]


# By spec class, for the lifetime of the class.
_KNOWN: weakref.WeakKeyDictionary[type[Any], _Checks] = weakref.WeakKeyDictionary()
_SEQUENCES = (tuple, frozenset)
_MOST_COMBINATIONS = 64
# Most fields have one of a few annotations, and share what decides about their values.
_MOST_SHARED = 256


def check_spec(spec: Any, spec_class: type[Any], where: object) -> None:
    """Raise SpecError, naming the first wrong field, for a spec that does not match its class."""
    if not isinstance(spec, spec_class):
        name = spec_class.__name__
        raise SpecError(f"the spec of {where} must be a {name}, not {_described(spec)}: write {name}(...)")
    checks = _checks(type(spec))
    for field, value in zip(checks.fields, checks.values(spec), strict=True):
        if type(value) not in field.exact and not field.check(value):
            raise SpecError(
                f"{spec_class.__name__}.{field.name} of {where} must be {_named(field.annotation)}, "
                f"not {_described(value)}"
            )


class SpecCheck:
    """`check_spec` for one class, for those who write many of its specs.

    Which values need no look inside follows from the classes of all values of a spec, so it is found out once for each
    combination of classes.
    """

    __slots__ = ("_rest", "_values", "spec_class")

    def __init__(self, spec_class: type[Any]) -> None:
        self.spec_class = spec_class
        self._values: Callable[[Any], tuple[Any, ...]] | None = None
        # By the classes of the values: the places of those that need a check, and the checks.
        self._rest: dict[tuple[type, ...], tuple[tuple[int, _Check], ...]] = {}

    def passes(self, spec: Any) -> bool:
        """Whether a spec is of this very class, with fields of their types; `check_spec` decides about any other."""
        if type(spec) is not self.spec_class:
            return False
        values_of = self._values
        if values_of is None:
            values_of = self._values = _checks(self.spec_class).values
        values = values_of(spec)
        classes = tuple(map(type, values))
        rest = self._rest.get(classes)
        if rest is None:
            rest = self._checks_beside(classes)
        return not rest or all(check(values[place]) for place, check in rest)

    def _checks_beside(self, classes: tuple[type, ...]) -> tuple[tuple[int, _Check], ...]:
        fields = enumerate(zip(_checks(self.spec_class).fields, classes, strict=True))
        rest = tuple((place, field.check) for place, (field, found) in fields if found not in field.exact)
        if len(self._rest) < _MOST_COMBINATIONS:
            self._rest[classes] = rest
        return rest


def _described(value: Any) -> str:
    return f"{value!r:.100} ({type(value).__name__})"


def _named(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _checks(spec_class: type[Any]) -> _Checks:
    known = _KNOWN.get(spec_class)
    if known is None:
        known = _KNOWN[spec_class] = _new_checks(spec_class)
    return known


def _new_checks(spec_class: type[Any]) -> _Checks:
    try:
        hints = typing.get_type_hints(spec_class)
    except (NameError, TypeError):
        hints = {}  # annotations that cannot be evaluated at run time
    found = ((field.name, hints.get(field.name, Any)) for field in attrs.fields(spec_class))
    decided = ((name, hint, *_decision(hint)) for name, hint in found)
    fields = tuple(_Field(name, hint, check, exact) for name, hint, check, exact in decided if check is not None)
    names = [field.name for field in fields]
    if len(names) > 1:
        return _Checks(operator.attrgetter(*names), fields)
    return _Checks(lambda spec: tuple(getattr(spec, name) for name in names), fields)


def _decision(annotation: Any) -> tuple[_Check | None, frozenset[type]]:
    try:
        return _shared_decision(annotation)
    except TypeError:  # it cannot be hashed
        return _check_of(annotation), _exact_of(annotation)


@functools.lru_cache(maxsize=_MOST_SHARED)
def _shared_decision(annotation: Any) -> tuple[_Check | None, frozenset[type]]:
    return _check_of(annotation), _exact_of(annotation)


def _exact_of(annotation: Any) -> frozenset[type]:
    """The classes whose instances match an annotation whatever is in them; may lack some, for `_check_of` decides."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return frozenset[type]().union(*map(_exact_of, typing.get_args(annotation)))
    if annotation is None or annotation is type(None):
        return frozenset({type(None)})
    if not isinstance(annotation, type) or typing.get_args(annotation) or attrs.has(annotation):
        return frozenset()
    return frozenset({float, int}) if annotation is float else frozenset({annotation})


def _check_of(annotation: Any) -> _Check | None:
    """A function that tells whether a value matches an annotation; None if every value does."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _any_of([_check_of(argument) for argument in arguments])
    if annotation is None or annotation is type(None):
        return lambda value: value is None
    if origin is typing.Literal:
        return lambda value: value in arguments
    if origin in _SEQUENCES:
        return _members(origin, arguments)
    if origin in (collections.abc.Mapping, dict):
        return lambda value: isinstance(value, collections.abc.Mapping)
    if isinstance(origin, type):
        return lambda value: isinstance(value, origin)
    if not isinstance(annotation, type) or annotation is Any or getattr(annotation, "_is_protocol", False):
        return None
    if annotation is float:
        return lambda value: isinstance(value, int | float)
    if attrs.has(annotation):
        return _nested(annotation)
    return lambda value: isinstance(value, annotation)


def _any_of(checks: list[_Check | None]) -> _Check | None:
    if None in checks:
        return None
    known = [check for check in checks if check is not None]
    return lambda value: any(check(value) for check in known)


def _members(container: type[Any], arguments: tuple[Any, ...]) -> _Check:
    if container is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        return lambda value: isinstance(value, container)
    check, exact = _decision(arguments[0])
    if check is None:
        return lambda value: isinstance(value, container)

    def is_right(value: Any) -> bool:
        return isinstance(value, container) and (exact.issuperset(map(type, value)) or all(map(check, value)))

    return is_right


def _nested(spec_class: type[Any]) -> _Check:
    def is_right(value: Any) -> bool:
        if not isinstance(value, spec_class):
            return False
        checks = _checks(type(value))
        each = zip(checks.fields, checks.values(value), strict=True)
        return all(type(part) in field.exact or field.check(part) for field, part in each)

    return is_right
