"""Compiles the methods that attrs generates for a class when they are first used, not when the class is made.

An agent has five hundred classes of attrs with four generated methods each: compiled, they are 2 MB of code and a fifth
of the time of a start, and most are never called. So the program has attrs leave a descriptor in the place of each
method. Looking the method up, which is what calling it begins with, compiles it and puts the function into the class:
from then on the class is as attrs would have made it. Until then its text is kept, without its beginning, which it has
in common with those of other classes: half of a megabyte.

attrs has no public way to do that. The two functions of it that are replaced are private, so they are replaced only
where they are as expected; with any other version, classes are made as always.
"""

import importlib
import linecache
import re
from types import FunctionType
from typing import Any

# What attrs attaches to a class as it is. Anything else it generates may be called to make the class.
_METHODS = frozenset({"__eq__", "__hash__", "__init__", "__repr__"})
_PART = re.compile("^(?=def )", re.MULTILINE)
_NAME = re.compile(r"def (\w+)\(")
# What a beginning is at least, in characters, to be worth a reference to it.
_SHORTEST_HEAD = 40
# Whose classes these are. In those of others, what they refer to stays to be found from their methods.
_PACKAGES = frozenset({"attr", "cattrs", "nodespan", "outcome", "trio"})


def compile_when_used() -> None:
    """From now on, classes of attrs get their generated methods when they are used. No effect on an unknown attrs."""
    make: Any = importlib.import_module("attr._make")
    compile_and_eval = getattr(make, "_compile_and_eval", None)
    if _parameters(compile_and_eval) == ("script", "globs", "locs", "filename"):
        make._compile_and_eval = _Compiler(compile_and_eval)
    make_tuple_class = getattr(make, "_make_attr_tuple_class", None)
    if _parameters(make_tuple_class) == ("cls_name", "attr_names"):
        make._make_attr_tuple_class = _TupleClasses(make_tuple_class)


def _parameters(function: object) -> tuple[str, ...]:
    """The names of the parameters; none of what is no function, as what is in its place already."""
    if not isinstance(function, FunctionType):
        return ()
    return function.__code__.co_varnames[: function.__code__.co_argcount]


class Fields(tuple[Any, ...]):
    """The attributes of any class of attrs, by their names, too. attrs makes a class of properties for each."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        for attribute in self:
            if attribute.name == name:
                return attribute
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)


class _TupleClasses:
    """In the place of what makes a class for the attributes of a class."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._taken = frozenset(dir(Fields))

    def __call__(self, cls_name: str, attr_names: list[str]) -> type[tuple[Any, ...]]:
        """`Fields`, unless an attribute is called as a method of tuples."""
        if self._taken.isdisjoint(attr_names):
            return Fields
        made: type[tuple[Any, ...]] = self._original(cls_name, attr_names)
        return made


class _Compiler:
    """In the place of what runs a script of attrs, which defines methods of a class."""

    def __init__(self, original: Any) -> None:
        self._original = original
        self._texts = _Texts()

    def __call__(
        self,
        script: str,
        globs: dict[str, Any] | None,
        locs: dict[str, Any] | None = None,
        filename: str = "",
    ) -> None:
        """Put the methods that the script defines into `locs`, or `globs` without it."""
        begin, *parts = _PART.split(script)
        names = [found[1] if (found := _NAME.match(part)) else "" for part in parts]
        is_known = filename.rpartition(" ")[2].partition(".")[0] in _PACKAGES
        if not is_known or begin or globs is None or not parts or not _METHODS.issuperset(names):
            self._original(script, globs, locs, filename)
            return
        # The text for tracebacks: 2 MB in all.
        linecache.cache.pop(filename, None)
        source = _Source(self._original, script, globs, filename)
        target = globs if locs is None else locs
        for name, part in zip(names, parts, strict=True):
            target[name] = Pending(name, *self._texts.divided(name, part), source)


class _Texts:
    """Divides the texts of methods of one name into what they have in common and the rest."""

    def __init__(self) -> None:
        self._heads: dict[str, str] = {}

    def divided(self, name: str, text: str) -> tuple[str, str]:
        """The beginning, which is one object for many texts, and the rest."""
        head = self._heads.setdefault(name, text)
        if not text.startswith(head):
            pairs = enumerate(zip(head, text, strict=False))
            same = next((place for place, (one, other) in pairs if one != other), len(text))
            if same < _SHORTEST_HEAD:
                return "", text
            # Found out by the first few classes; those before keep the beginning that they have.
            head = self._heads[name] = text[:same]
        return head, text[len(head) :]


class _Source:
    """What compiling methods of one class takes, and what attrs says of them: the module and the name of the class."""

    __slots__ = ("cls", "compile_and_eval", "filename", "module", "names")

    def __init__(self, compile_and_eval: Any, script: str, names: dict[str, Any], filename: str) -> None:
        self.compile_and_eval = compile_and_eval
        self.filename = filename
        self.module = self.cls = ""
        # attrs copies all names of the module, of which annotations could be resolved.
        self.names = {name: value for name, value in names.items() if name in script}

    def compiled(self, text: str, name: str) -> FunctionType:
        """The function of this name that the text defines."""
        made: dict[str, FunctionType] = {}
        self.compile_and_eval(text, self.names, made, self.filename)
        return made[name]


class Pending:
    """A generated method that is not compiled yet, in the place of its function in the class."""

    __slots__ = ("_annotations", "_head", "_made", "_rest", "_source", "name")

    def __init__(self, name: str, head: str, rest: str, source: _Source) -> None:
        self.name = name
        self._head = head
        self._rest = rest
        self._source = source
        self._made: FunctionType | None = None
        self._annotations: dict[str, Any] | None = None

    @property
    def __name__(self) -> str:
        """The name of the method, which attrs asks for."""
        return self.name

    def __setattr__(self, name: str, value: object) -> None:
        match name:
            case "__module__":
                self._source.module = str(value)
            case "__qualname__":
                self._source.cls = str(value).rpartition(".")[0]
            case "__annotations__":
                super().__setattr__("_annotations", value)
            case "__doc__":
                pass  # made of the name of the class
            case _:
                super().__setattr__(name, value)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """The method: compiled, and put into the class that has it."""
        owner = type(instance) if owner is None else owner
        function = self._made
        if function is None:
            # Threads may get here at the same time: each compiles a function that does the same.
            function = self._made = self._compiled()
        # Not found under another name, nor by those that bind it to something else, as `inspect.signature` does.
        home = next((base for base in owner.__mro__ if base.__dict__.get(self.name) is self), None)
        if home is not None:
            setattr(home, self.name, function)
        return function.__get__(instance, owner)

    def _compiled(self) -> FunctionType:
        function = self._source.compiled(self._head + self._rest, self.name)
        function.__module__ = self._source.module
        function.__qualname__ = f"{self._source.cls}.{self.name}"
        function.__doc__ = f"Method generated by attrs for class {self._source.cls}."
        if self._annotations is not None:
            function.__annotations__ = self._annotations
        return function
