"""Edits of a file: pure rules from the foreign content to the desired content, and back.

    Whole       the file is ours
    Appended    what others wrote stays, ours stands at its end
    Block       what others wrote stays, ours stands between two lines that mark it

`apply` returns the edited content of a base (None: no file). `strip` removes our part from a file that was changed
since, and returns None where our part cannot be recognised. `foreign` is the content without what an earlier agent
left whose records are lost; what could be the work of others stays.
"""

from typing import Any, TypeAlias

import attrs

from nodespan.controllers.host.host import HostError

_BEGIN = b"# BEGIN nodespan: changes to these lines are overwritten\n"
_END = b"# END nodespan\n"


@attrs.frozen
class Whole:
    """The file is ours; with `must_exist` only if it existed before."""

    content: bytes = attrs.field(repr=False)
    must_exist: bool = False

    def apply(self, base: bytes | None) -> bytes:
        """Our content."""
        if base is None and self.must_exist:
            raise HostError("there is no such file to overwrite: write op: create")
        return self.content

    def strip(self, current: bytes) -> None:  # noqa: ARG002
        """In a changed file nothing is known to be ours."""
        return

    def foreign(self, current: bytes) -> bytes:
        """All of it."""
        return current


@attrs.frozen
class Appended:
    """Our text at the end, after a new line."""

    content: bytes = attrs.field(repr=False)

    def apply(self, base: bytes | None) -> bytes:
        """What others wrote, and ours; once, if it ends with ours already."""
        if base is None:
            raise HostError("there is no such file to append to: write op: create")
        ours = b"\n" + self.content
        return base if base.endswith(ours) else base + ours

    def strip(self, current: bytes) -> bytes | None:
        """All before our text, if that still ends the file."""
        ours = b"\n" + self.content
        return current[: -len(ours)] if current.endswith(ours) else None

    def foreign(self, current: bytes) -> bytes:
        """All of it: another program may have written the same."""
        return current


@attrs.frozen
class Block:
    """Our lines between marks, at the end of what others wrote."""

    lines: bytes = attrs.field(repr=False)

    def apply(self, base: bytes | None) -> bytes:
        """What others wrote, and our lines."""
        others = base or b""
        if others and not others.endswith(b"\n"):
            others += b"\n"
        return others + _BEGIN + self.lines + _END

    def strip(self, current: bytes) -> bytes | None:
        """What stands outside of the marks."""
        others = self.foreign(current)
        return others if others != current else None

    def foreign(self, current: bytes) -> bytes:
        """What stands outside of all marks."""
        while True:
            before, begin, rest = current.partition(_BEGIN)
            _, end, after = rest.partition(_END)
            if not (begin and end):
                return current
            current = before + after


Edit: TypeAlias = Whole | Appended | Block
_KINDS: dict[str, type[Any]] = {"whole": Whole, "appended": Appended, "block": Block}


def edit_to_plain(edit: Edit) -> dict[str, Any]:
    """As plain data: what a later process needs to undo the edit."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(edit, cls))
    return {"kind": kind, **attrs.asdict(edit)}


def edit_from_plain(plain: dict[str, Any]) -> Edit:
    """The edit from plain data. Raises KeyError or TypeError if it is invalid."""
    fields = dict(plain)
    edit: Edit = _KINDS[fields.pop("kind")](**fields)
    return edit
