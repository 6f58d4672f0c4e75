"""XML of a stranger as a tree of elements: no document types, hence no entities; so many elements, so deep.

What is read of it is ASCII. The encoding that it names is not heeded: expat would have Python look for it, which
imports modules by the stranger's word, and refuses some that routers use. Read as Latin-1, each byte is a character,
and those of ASCII are themselves in all the encodings that such documents have.
"""

import codecs
from collections.abc import Iterator
from xml.parsers import expat

import attrs

MOST_ELEMENTS = 4000
DEEPEST = 32


class XmlError(ValueError):
    """It is no XML, or none that is read here."""


@attrs.define
class Element:
    """An element, by its name without the prefix; its text is what stands directly in it."""

    name: str
    text: str = ""
    children: "list[Element]" = attrs.field(factory=list)

    def walk(self) -> "Iterator[Element]":
        """The element and all below it, in the order of the text."""
        yield self
        for child in self.children:
            yield from child.walk()

    def first(self, name: str) -> "Element | None":
        """The first element of this name, the element itself included."""
        return next((each for each in self.walk() if each.name == name), None)

    def value(self, name: str) -> str:
        """The text of the first element of this name, without white space around it; "" for none."""
        found = self.first(name)
        return "" if found is None else found.text.strip()


def parse(data: bytes) -> Element:
    """The root element. The size of the data is the caller's to bound. Raises XmlError."""
    reader = _Reader()
    parser = expat.ParserCreate("iso-8859-1")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.add
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(data.removeprefix(codecs.BOM_UTF8), True)  # noqa: FBT003 (it takes no names)
    except expat.ExpatError as error:
        raise XmlError(f"it is no XML: {expat.errors.messages.get(error.code, error.code)}") from error
    assert reader.root is not None  # expat refuses a document without one
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, attributes: object) -> None:  # noqa: ARG002 (expat gives them)
        self._count += 1
        if self._count > MOST_ELEMENTS or len(self._open) >= DEEPEST:
            raise XmlError("it has too many elements, or too deep ones")
        element = Element(name.rpartition(":")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, name: str) -> None:  # noqa: ARG002 (expat gives it)
        self._open.pop()

    def add(self, text: str) -> None:
        self._open[-1].text += text

    def refuse(self, *declaration: object) -> None:  # noqa: ARG002 (expat gives it)
        raise XmlError("it declares a document type")
