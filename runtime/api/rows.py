"""Resources as rows of a table: the answer to the most frequent request, whose client then needs no JSONPath.

A column that is one field of the spec, as most are, is read from the spec itself. All others are JSONPath on the spec
as plain data, which is made only for them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nodespan.runtime.codec.plain import LEFT_OUT, field_to_plain, spec_to_plain
from nodespan.runtime.resource import Resource, ResourceDefinitionSpec, format_version
from nodespan.runtime.text.jsonpath import compile, to_text

# From the spec, and what makes plain data of it, to the text of a cell.
_Cell = Callable[[object, Callable[[], Any]], str]


class Rows:
    """The table of a type: the headings of its columns behind those that all tables have, and the cells of resources.

    `cells` raises JSONPathError for a spec that does not fit a column.
    """

    def __init__(self, definition: ResourceDefinitionSpec) -> None:
        self.columns = ["NAMESPACE", "TYPE", "ID", "VERSION"]
        self.columns += [column.name.upper() for column in definition.print_columns]
        self._type = definition.display_type
        self._cells: Sequence[_Cell] = [_cell(column.json_path) for column in definition.print_columns]

    def cells(self, resource: Resource[Any]) -> list[str]:
        """The cells of a resource."""
        metadata, spec = resource.metadata, resource.spec
        plain: list[Any] = []

        def to_plain() -> Any:
            if not plain:
                plain.append(spec_to_plain(spec))
            return plain[0]

        fixed = [metadata.namespace, self._type, metadata.id, format_version(metadata.version)]
        return [*fixed, *(cell(spec, to_plain) for cell in self._cells)]


def _cell(path: str) -> _Cell:
    template = compile(path)

    def of_plain(_spec: object, to_plain: Callable[[], Any]) -> str:
        return template.render(to_plain(), allow_missing=True)

    name = path.removeprefix("{").removesuffix("}").removeprefix(".")
    if not name.isidentifier() or path not in (f".{name}", f"{{.{name}}}"):
        return of_plain

    def of_field(spec: object, to_plain: Callable[[], Any]) -> str:
        try:
            value = field_to_plain(spec, name)
        except LookupError:
            return of_plain(spec, to_plain)
        return "" if value is LEFT_OUT else to_text(value)

    return of_field
