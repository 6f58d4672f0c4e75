"""Resources as a table: the answer to the most frequent request, whose client then needs no JSONPath.

Cells are made by columns, of many resources at once, which takes a tenth of what it takes by rows. A column that is one
field of the spec, as most are, is read from the specs themselves. All others are JSONPath on the specs as plain data,
which is made only for them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nodespan.runtime.codec.plain import LEFT_OUT, field_to_plain, spec_to_plain
from nodespan.runtime.resource import Resource, ResourceDefinitionSpec, format_version
from nodespan.runtime.text.jsonpath import compile, to_text

# From specs, and what makes plain data of them, to the texts of a column.
_Column = Callable[[Sequence[object], Callable[[], list[Any]]], list[str]]
# The cells of a column, or the one text that all of them have.
Cells = list[str] | str
_INTEGERS = frozenset({int})
_TEXTS = frozenset({str})


class Rows:
    """The table of a type: the headings of its columns behind those that all tables have, and the cells of resources.

    `cells` raises JSONPathError for a spec that does not fit a column.
    """

    def __init__(self, definition: ResourceDefinitionSpec) -> None:
        self.columns = ["NAMESPACE", "TYPE", "ID", "VERSION"]
        self.columns += [column.name.upper() for column in definition.print_columns]
        self._type = definition.display_type
        self._columns: Sequence[_Column] = [_column(column.json_path) for column in definition.print_columns]

    def cells(self, resources: Sequence[Resource[Any]]) -> list[Cells]:
        """The cells of resources, one at least: for each column one of each resource, or the text of all."""
        metadata = [resource.metadata for resource in resources]
        specs = [resource.spec for resource in resources]
        plain: list[Any] = []

        def to_plain() -> list[Any]:
            if not plain:
                plain.extend(map(spec_to_plain, specs))
            return plain

        # As text, each version only once: most resources of a kind have one of a few.
        versions = {version: format_version(version) for version in {one.version for one in metadata}}
        columns = [
            [one.namespace for one in metadata],
            [one.id for one in metadata],
            [versions[one.version] for one in metadata],
            *(column(specs, to_plain) for column in self._columns),
        ]
        namespace, *others = map(_alike, columns)
        return [namespace, self._type, *others]


def _alike(cells: list[str]) -> Cells:
    return cells[0] if cells.count(cells[0]) == len(cells) else cells


def _column(path: str) -> _Column:
    template = compile(path)

    def of_plain(_specs: Sequence[object], to_plain: Callable[[], list[Any]]) -> list[str]:
        return [template.render(plain, allow_missing=True) for plain in to_plain()]

    name = path.removeprefix("{").removesuffix("}").removeprefix(".")
    if not name.isidentifier() or path not in (f".{name}", f"{{.{name}}}"):
        return of_plain

    def of_field(specs: Sequence[object], to_plain: Callable[[], list[Any]]) -> list[str]:
        try:
            values, types = field_to_plain(specs, name)
        except LookupError:
            return of_plain(specs, to_plain)
        if types == _TEXTS:
            return values
        if types == _INTEGERS:
            return [*map(str, values)]
        return ["" if value is LEFT_OUT else to_text(value) for value in values]

    return of_field
