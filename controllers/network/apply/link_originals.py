"""What links that the agent did not make were like before it changed them, so that they can be made so again.

A change is undone when nothing desires it any more, if the link still is as it was changed to: what another program has
changed since is theirs. The record is kept on disk, for a process that is killed cannot undo anything, and the one
after it would take for the original what it finds. A reboot ends it, and so does another network namespace: then links
are as they always were.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from nodespan.controllers.common.boot_clock import BootClock, NamespaceClock
from nodespan.kernel.changes.link_changes import LinkChange
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import LinkFlags, LinkSpecSpec
from nodespan.runtime.whole_file import replace_file

Value = bool | int | str
FIELDS = ("hardware_addr", "mtu", "multicast", "up")


@attrs.frozen
class Original:
    """One field of a link: what it was, and what it was changed to."""

    before: Value
    after: Value


@attrs.frozen
class Originals:
    """The changed fields of one link, by name. The index distinguishes the link from a later one of its name."""

    index: int
    fields: Mapping[str, Original]


def current(link: KernelLink) -> dict[str, Value]:
    """The fields as they are."""
    status = link.status
    return {
        "hardware_addr": status.hardware_addr,
        "mtu": status.mtu,
        "multicast": LinkFlags.MULTICAST in status.flags,
        "up": LinkFlags.UP in status.flags,
    }


def decided(spec: LinkSpecSpec) -> frozenset[str]:
    """The fields that a spec has a say in."""
    says = {
        "hardware_addr": bool(spec.hardware_addr),
        "mtu": bool(spec.mtu),
        "multicast": spec.multicast is not None,
        "up": True,
    }
    return frozenset(name for name, is_said in says.items() if is_said)


def changed(known: Originals | None, link: KernelLink, change: LinkChange) -> Originals | None:
    """What is on record once a link has been changed; None for nothing."""
    index = link.status.index
    fields = dict(known.fields) if known is not None and known.index == index else {}
    for name, value in current(link).items():
        desired = getattr(change, name)
        if desired is not None:
            before = fields[name].before if name in fields else value
            fields[name] = Original(before, desired)
    return Originals(index, fields) if fields else None


def restoration(known: Originals | None, link: KernelLink, kept: Iterable[str] = ()) -> LinkChange | None:
    """The change that makes a link be as it was, but for the fields that are to stay; None if there is none to make."""
    if known is None or known.index != link.status.index:
        return None
    seen = current(link)
    values = {
        name: original.before
        for name, original in known.fields.items()
        if name not in kept and seen[name] == original.after != original.before
    }
    return LinkChange(index=link.status.index, **values) if values else None  # type: ignore[arg-type]


def forgotten(known: Originals | None, kept: Iterable[str]) -> Originals | None:
    """What stays on record when all but these fields have been dealt with."""
    fields = {} if known is None else {name: known.fields[name] for name in kept if name in known.fields}
    return Originals(known.index, fields) if known is not None and fields else None


def inherited(known: Originals | None, earlier: Originals | None) -> Originals | None:
    """What is on record of a link that was changed under another name earlier."""
    if known is None or earlier is None or known.index != earlier.index:
        return known or earlier
    both = known.fields.keys() & earlier.fields.keys()
    merged = {name: Original(earlier.fields[name].before, known.fields[name].after) for name in both}
    return Originals(known.index, {**earlier.fields, **known.fields, **merged})


class LinkOriginals:
    """The record of all links, in a file unless the path is None. All calls but `get` block."""

    def __init__(self, path: Path | None, clock: BootClock | None = None) -> None:
        self._path = path
        self._clock = NamespaceClock() if clock is None else clock
        self._links: dict[str, Originals] = {}

    def copy(self) -> "LinkOriginals":
        """The same record, of the same file, for a worker thread to change; the other one is given up for it."""
        twin = LinkOriginals(self._path, self._clock)
        twin._links = dict(self._links)
        return twin

    def load(self) -> None:
        """Take up what an earlier process has left. Raises OSError.

        A file that makes no sense is put aside, and ValueError raised; the next call finds none.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            given = json.loads(self._path.read_bytes())
            if given["boot"] == self._clock.boot:
                self._links = {name: _read(entry) for name, entry in given["links"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._path.rename(self._path.with_suffix(".damaged"))
            raise ValueError(
                f"{self._path} made no sense and was put aside as {aside.name}: what links were like before they were "
                "changed can no longer be told, so they will stay as they are"
            ) from error

    def get(self, name: str) -> Originals | None:
        """What is known of a link."""
        return self._links.get(name)

    def set(self, name: str, originals: Originals | None) -> None:
        """Record this of a link. Raises OSError."""
        if self._links.get(name) == originals:
            return
        if originals is None:
            del self._links[name]
        else:
            self._links[name] = originals
        if self._path is not None:
            links = {
                name: {"index": one.index, "fields": {key: attrs.astuple(value) for key, value in one.fields.items()}}
                for name, one in self._links.items()
            }
            replace_file(self._path, json.dumps({"boot": self._clock.boot, "links": links}))


def _read(entry: Mapping[str, object]) -> Originals:
    match entry:
        case {"index": int() as index, "fields": dict() as fields} if fields.keys() <= set(FIELDS):
            return Originals(index, {name: Original(*pair) for name, pair in fields.items()})
    raise ValueError("not a link")
