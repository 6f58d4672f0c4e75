"""Resources as lines: the answer to the most frequent requests, whose client has nothing to do but to print it.

Cells are made by columns, of many resources at once, which takes a tenth of what it takes by rows. A column that is one
field of the spec, as most are, is read from the specs themselves. All others are JSONPath on the specs as plain data,
which is made only for them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import trio

from nodespan.runtime.api import protocol
from nodespan.runtime.codec.plain import LEFT_OUT, field_to_plain, format_time, spec_to_plain
from nodespan.runtime.loading import load
from nodespan.runtime.resource import Resource, ResourceDefinitionSpec, format_version
from nodespan.runtime.resource.metadata import Metadata, Version
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.jsonpath import compile, to_text
from nodespan.runtime.text.table import Table

# The cells of a column, or the one text that all of them have.
Cells = list[str] | str
_INTEGERS = frozenset({int})
_TEXTS = frozenset({str})
# What knows the widths of characters that are not ASCII.
_WIDTHS = "wcwidth"
# How long, in seconds, the loop may be held up.
_SLICE = 0.005
# So many rows are made at once: at first, and at most. Where they take long, fewer.
_FIRST_ROWS = 8
_MOST_ROWS = 1024


class _Specs:
    """The specs of some rows; `cls` is the class of all of them, None if there are several."""

    def __init__(self, resources: Sequence[Resource[Any]]) -> None:
        self.each: list[object] = [resource.spec for resource in resources]
        cls, *others = {*map(type, self.each)}
        self.cls: type[Any] | None = None if others else cls
        self._plain: list[Any] | None = None

    def plain(self) -> list[Any]:
        """All of them as plain data, which is made when the first column needs it."""
        if self._plain is None:
            self._plain = [*map(spec_to_plain, self.each)]
        return self._plain


_Column = Callable[[_Specs], Cells]


class Rows:
    """The table of a type: the headings of its columns behind those that all tables have, and the cells of resources.

    `cells` and `table` raise JSONPathError for a spec that does not fit a column.
    """

    def __init__(self, definition: ResourceDefinitionSpec, *, is_wide: bool = False) -> None:
        self.columns = ["NAMESPACE", "TYPE", "ID", "VERSION"]
        self.columns += [column.name.upper() for column in definition.print_columns]
        self.columns += protocol.WIDE if is_wide else ()
        self._is_wide = is_wide
        self._type = definition.display_type
        self._columns: Sequence[_Column] = [_column(column.json_path) for column in definition.print_columns]

    def cells(self, resources: Sequence[Resource[Any]]) -> list[Cells]:
        """The cells of resources, one at least: for each column one of each resource, or the text of all."""
        metadata = [resource.metadata for resource in resources]
        versions = [one.version for one in metadata]
        specs = _Specs(resources)
        return [
            _alike([one.namespace for one in metadata]),
            self._type,
            _alike([one.id for one in metadata]),
            format_version(versions[0]) if _are_alike(versions) else _formatted(versions),
            *(column(specs) for column in self._columns),
            *(_more(metadata) if self._is_wide else ()),
        ]

    async def table(self, node: str, resources: Sequence[Resource[Any]]) -> Table:
        """All of it, under the name of this node; a checkpoint after each few milliseconds."""
        if not _is_ascii([node, *self.columns]):
            await load(_WIDTHS)
        table = Table(["NODE", *self.columns])
        slice_ends = trio.current_time() + _SLICE
        first, rows = 0, _FIRST_ROWS
        while some := resources[first : first + rows]:
            began = trio.current_time()
            cells = self.cells(some)
            if not _is_ascii(cells):
                await load(_WIDTHS)
            table.add_columns(len(some), [node, *cells])
            first += rows
            now = trio.current_time()
            took = now - began
            rows = min(2 * rows, _MOST_ROWS) if took < _SLICE / 4 else max(1, rows // 2) if took > _SLICE / 2 else rows
            if now >= slice_ends:
                await trio.lowlevel.checkpoint()
                slice_ends = trio.current_time() + _SLICE
        return table


def _more(metadata: Sequence[Metadata]) -> Iterator[Cells]:
    """What a wide table has of the metadata beyond what every table shows."""
    yield _alike([one.owner for one in metadata])
    yield _alike([one.phase.value for one in metadata])
    yield _alike([format_time(one.updated) for one in metadata])
    yield _alike([",".join([f"{name}={value}" for name, value in one.labels.items()]) for one in metadata])


def _formatted(versions: Sequence[Version]) -> list[str]:
    # Each only once: most resources of a kind have one of a few.
    texts = {version: format_version(version) for version in {*versions}}
    return [texts[version] for version in versions]


def names(definition: ResourceDefinitionSpec, resources: Sequence[Resource[Any]]) -> Iterator[str]:
    """`type/id` of each resource, a line each, some lines at a time."""
    start = f"{definition.display_type.lower()}/"
    for first in range(0, len(resources), _MOST_ROWS):
        some = resources[first : first + _MOST_ROWS]
        yield "".join([f"{start}{escaped(resource.metadata.id)}\n" for resource in some])


def _is_ascii(columns: Iterable[Cells]) -> bool:
    return all(cells.isascii() if isinstance(cells, str) else "".join(cells).isascii() for cells in columns)


def _alike(cells: list[str]) -> Cells:
    return cells[0] if _are_alike(cells) else cells


def _are_alike(values: Sequence[object]) -> bool:
    # Most that are not differ at the ends already: resources come by their ids.
    return bool(values[0] == values[-1]) and values.count(values[0]) == len(values)


def _column(path: str) -> _Column:
    template = compile(path)

    def of_plain(specs: _Specs) -> Cells:
        return _alike([template.render(plain, allow_missing=True) for plain in specs.plain()])

    name = path.removeprefix("{").removesuffix("}").removeprefix(".")
    if not name.isidentifier() or path not in (f".{name}", f"{{.{name}}}"):
        return of_plain

    def of_field(specs: _Specs) -> Cells:
        if specs.cls is None:
            return of_plain(specs)
        try:
            values, types = field_to_plain(specs.cls, specs.each, name)
        except LookupError:
            return of_plain(specs)
        if types == _TEXTS:
            return _alike(values)
        if types == _INTEGERS:
            return str(values[0]) if _are_alike(values) else [*map(str, values)]
        return _alike(["" if value is LEFT_OUT else to_text(value) for value in values])

    return of_field
