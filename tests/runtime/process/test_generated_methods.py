"""Classes of attrs whose methods are compiled when they are used are as those that attrs makes."""

import copy
import inspect
import linecache
import pickle
import sys
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any

import attr._make as make
import pytest

from nodespan.runtime.process.generated_methods import Fields, Pending, _Texts, compile_when_used

METHODS = ("__init__", "__repr__", "__eq__", "__hash__")
NAME = "nodespan.classes_for_test_generated_methods"
SOURCE = """
import abc
import functools
from typing import Any, Generic, TypeVar

import attrs
from attrs import NOTHING

T = TypeVar("T")
made = []


def positive(instance, attribute, value):
    if value < 0:
        raise ValueError(f"{attribute.name} of {type(instance).__name__} is {value}")


@attrs.frozen
class Point:
    x: int
    y: int = attrs.field(default=0, validator=positive, converter=int)
    _label: "str" = attrs.field(default="none", kw_only=True, repr=lambda value: value.upper())


@attrs.frozen
class Point3(Point):
    z: int = attrs.field(default=1, eq=False)


class Plain(Point3):
    pass


@attrs.frozen
class Loud(Point):
    def __repr__(self):
        return "loud " + super().__repr__()


@attrs.define
class Counter:
    values: list = attrs.field(factory=list)
    size: int = attrs.field(init=False)
    count: int = 3

    def __attrs_post_init__(self):
        self.size = len(self.values)


@attrs.frozen(order=True, cache_hash=True)
class Ranked:
    rank: int
    note: str = attrs.field(default="", order=False)


@attrs.frozen
class Box(Generic[T]):
    content: T

    @functools.cached_property
    def twice(self):
        return (self.content, self.content)


@attrs.define
class Broken(Exception):
    reason: str
    code: int = 7


class Abstract(abc.ABC):
    @abc.abstractmethod
    def name(self): ...


@attrs.define(slots=False)
class Concrete(Abstract):
    text: str

    def name(self):
        return self.text


@attrs.define(init=False)
class OwnInit:
    total: int

    def __init__(self, *parts):
        self.__attrs_init__(sum(parts))


@attrs.define
class Node:
    child: Any = None


@attrs.define
class Empty:
    pass


def shown(action):
    try:
        return repr(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


node = Node()
node.child = node
ACTIONS = [
    lambda: Point(1, "2", label="a"),
    lambda: Point(x=1),
    lambda: Point(),
    lambda: Point(1, 2, 3),
    lambda: Point(1, -1),
    lambda: Point(1, "word"),
    lambda: setattr(Point(1), "x", 2),
    lambda: Point(1) == Point(1),
    lambda: Point(1) == Point(2),
    lambda: Point(1) == Point3(1),
    lambda: Point(1) != 1,
    lambda: Point(1) < Point(2),
    lambda: len({Point(1), Point(1), Point(2), Point3(1)}),
    lambda: (Point3(1, 2, 3), Point3(1) == Point3(1, z=9), hash(Point3(1)) == hash(Point3(1, z=9))),
    lambda: (Plain(1), Plain(1) == Plain(1), Plain(1) == Point3(1)),
    lambda: (Loud(1), Loud(1) == Loud(1)),
    lambda: (Counter(), Counter([1]), Counter([1]) == Counter([1]), Counter([1], count=5)),
    lambda: hash(Counter()),
    lambda: (Ranked(1) < Ranked(2), hash(Ranked(1)) == hash(Ranked(1)), max(Ranked(1, "a"), Ranked(3, "b"))),
    lambda: (Box(1), Box[int](2), Box(3).twice, Box([1]) == Box([1])),
    lambda: hash(Box([])),
    lambda: (Broken("bad").args, str(Broken("bad")), Broken("bad") == Broken("bad")),
    lambda: (Concrete("a"), Concrete("a").name(), Concrete("a") == Concrete("a"), Concrete.__abstractmethods__),
    lambda: OwnInit(1, 2, 3),
    lambda: node,
    lambda: (Empty(), Empty() == Empty(), Empty(1)),
    lambda: attrs.evolve(Point(1, label="a"), y=5),
    lambda: attrs.asdict(Point3(1)),
    lambda: Point.__init__(Plain.__new__(Plain), 4),
    lambda: [field.name for field in attrs.fields(Point3)],
    lambda: (attrs.fields(Counter).count.default, attrs.fields(Counter).size.init, attrs.fields(Ranked).rank.type),
    lambda: attrs.fields(Point).nothing,
]
"""


@pytest.fixture
def make_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """Makes the module of the classes again, with attrs as it is then."""
    # Put back at the end.
    for name in ("_compile_and_eval", "_make_attr_tuple_class"):
        monkeypatch.setattr(make, name, getattr(make, name))

    def module() -> ModuleType:
        made = ModuleType(NAME)
        monkeypatch.setitem(sys.modules, NAME, made)
        exec(SOURCE, made.__dict__)
        return made

    return module


def _pending(cls: type) -> list[str]:
    return [name for name in METHODS if isinstance(cls.__dict__.get(name), Pending)]


def test_all_that_can_be_done_with_a_class_is_as_attrs_makes_it(make_module: Callable[[], ModuleType]) -> None:
    plain = make_module()
    expected = [plain.shown(action) for action in plain.ACTIONS]
    compile_when_used()
    lazy = make_module()
    assert set(_pending(lazy.Point)) == set(METHODS)
    found = [lazy.shown(action) for action in lazy.ACTIONS]
    # The type of the attributes is named by one.
    assert [text.replace("'PointAttributes'", "'Fields'") for text in expected] == found
    # By then each was used.
    assert _pending(lazy.Point) == []


def test_signatures_names_and_annotations_are_those_of_attrs(make_module: Callable[[], ModuleType]) -> None:
    plain = make_module()
    compile_when_used()
    lazy = make_module()
    for name in ("Point", "Point3", "Counter", "Ranked", "Broken", "Concrete", "Empty"):
        one, other = getattr(plain, name), getattr(lazy, name)
        assert str(inspect.signature(one)) == str(inspect.signature(other))
        for method in METHODS:
            ours, theirs = getattr(other, method), getattr(one, method)
            for attribute in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
                assert getattr(ours, attribute, None) == getattr(theirs, attribute, None), (name, method, attribute)
    assert lazy.Point.__match_args__ == plain.Point.__match_args__


def test_a_method_is_compiled_when_it_is_used_and_no_other_with_it(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    module = make_module()
    point = module.Point(1)
    assert "__init__" not in _pending(module.Point)
    assert set(_pending(module.Point)) == {"__repr__", "__eq__", "__hash__"}
    assert (repr(point), _pending(module.Point)) == ("Point(x=1, y=0, _label=NONE)", ["__eq__", "__hash__"])
    first = module.Point.__dict__["__init__"]
    module.Point(2)
    assert module.Point.__dict__["__init__"] is first


def test_a_subclass_that_inherits_a_method_finds_the_one_of_its_base(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    module = make_module()
    assert repr(module.Plain(1)) == "Plain(x=1, y=0, _label=NONE, z=1)"
    assert "__repr__" not in module.Plain.__dict__
    assert "__repr__" not in _pending(module.Point3)
    # Its own base has one of its own, which nobody used.
    assert "__repr__" in _pending(module.Point)


def test_a_method_that_is_bound_to_something_else_first_is_put_into_its_class_later(
    make_module: Callable[[], ModuleType],
) -> None:
    compile_when_used()
    point = make_module().Point
    # As `inspect.signature` does from Python 3.13 on.
    bound = point.__dict__["__init__"].__get__(point, type)
    assert bound.__self__ is point
    assert bound.__qualname__ == "Point.__init__"
    assert point(1).x == 1
    assert point.__dict__["__init__"] is bound.__func__


def test_classes_of_other_packages_are_as_always(
    make_module: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.NAME", "another_package.classes")
    compile_when_used()
    module = make_module()
    assert _pending(module.Point) == []
    assert typing.get_type_hints(module.Point.__init__)["label"] is str


def test_another_name_of_a_method_works_before_and_after_it_is_compiled(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    module = make_module()
    # As a class body does: `__str__ = Base.__repr__` is the function, this is what it finds in the namespace.
    other = type("Other", (module.Point,), {"__str__": module.Point.__dict__["__repr__"]})
    assert [str(other(1)), repr(other(1)), str(other(1))] == ["Other(x=1, y=0, _label=NONE)"] * 3


def test_threads_that_use_a_method_first_at_once_all_get_it(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    module = make_module()
    with ThreadPoolExecutor(8) as threads:
        points = list(threads.map(module.Point, range(64)))
    assert [point.x for point in points] == list(range(64))
    assert len(set(points)) == 64


def test_objects_are_copied_and_pickled(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    module = make_module()
    for value in (module.Point(1), module.Counter([1, 2]), module.Box("a"), module.Ranked(2)):
        assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_the_names_of_the_module_and_the_text_of_methods_are_not_kept(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    module = make_module()
    module.Point(1)
    assert "functools" not in module.Point.__init__.__globals__
    assert not [name for name in linecache.cache if name.endswith(f"{NAME}.Point>")]


def test_the_beginning_that_texts_have_in_common_is_kept_once() -> None:
    texts = _Texts()
    begin = "def __repr__(self):\n    # of any class\n" + "    pass\n" * 5
    given = [begin + f"    return self.{field}\n" for field in ("second", "first", "third", "élan", "", "x" * 10_000)]
    divided = [texts.divided("__repr__", text) for text in given]
    assert ["".join(each) for each in divided] == given
    # The first is alone; what it has in common with the second is known then.
    heads = [head for head, _ in divided[1:]]
    assert all(head is heads[0] for head in heads)
    assert heads[0] == begin + "    return self."
    # One that is too different from all others is kept as it is, and changes nothing for them.
    assert texts.divided("__repr__", "def __repr__(self): ...") == ("", "def __repr__(self): ...")
    assert texts.divided("__repr__", given[2]) == divided[2]
    assert texts.divided("__eq__", given[2]) == (given[2], "")


def test_threads_that_make_the_first_classes_at_once_keep_texts_that_can_be_read() -> None:
    scripts = [f"def __init__(self, name_{number}):\n    self.a = name_{number}\n" * 4 for number in range(16)]
    for _ in range(20):
        texts = _Texts()
        with ThreadPoolExecutor(8) as threads:
            divided = list(threads.map(texts.divided, ["__init__"] * len(scripts), scripts))
        assert ["".join(each) for each in divided] == scripts


def test_the_attributes_of_classes_have_one_class_unless_one_is_called_as_a_method_of_tuples(
    make_module: Callable[[], ModuleType],
) -> None:
    compile_when_used()
    module = make_module()
    attributes: dict[str, Any] = {name: getattr(module, name).__attrs_attrs__ for name in ("Point", "Counter")}
    assert type(attributes["Point"]) is Fields
    # It has an attribute `count`.
    assert type(attributes["Counter"]) is not Fields
    assert attributes["Counter"].count.default == 3


def test_it_is_done_once(make_module: Callable[[], ModuleType]) -> None:
    compile_when_used()
    first = make._compile_and_eval
    compile_when_used()
    assert make._compile_and_eval is first
    assert make_module().Point(1).x == 1


@pytest.mark.parametrize("name", ["_compile_and_eval", "_make_attr_tuple_class"])
def test_with_another_attrs_classes_are_made_as_always(
    make_module: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original = getattr(make, name)

    def other(*arguments: Any, **named: Any) -> Any:
        return original(*arguments, **named)

    monkeypatch.setattr(make, name, other)
    compile_when_used()
    assert getattr(make, name) is other
    assert repr(make_module().Point(1)) == "Point(x=1, y=0, _label=NONE)"


def test_an_attrs_without_these_functions_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = SimpleNamespace()
    monkeypatch.setattr("importlib.import_module", lambda _: empty)
    compile_when_used()
    assert vars(empty) == {}
