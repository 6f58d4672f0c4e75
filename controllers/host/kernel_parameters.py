"""Kernel parameters as they are: recorded before the first change, set, and put back.

Theory of operation. A parameter that is desired has a record in a journal, made before any of those that are desired
together with it is written: the value before, and those of the other parameters that a write changes too (forwarding of
all links is that of each). So a process that is killed at any point leaves behind what its successor needs to put
everything back. After a write the kernel's own form of the value is recorded: what differs from that later is another
program's doing. It is put right, damped if that repeats. When the parameter is no longer desired, the value before is
written, unless another program changed it since: then it stays as that program left it.

Some are desired to be at least what a default says. What others have made higher, before or since, stays, and counts as
the value before.

Two records can be about one parameter: its own, and one that has it beside. The value before is what was there before
the first of them, in both. While both are desired its own decides; afterwards the one that remains does.

Where packets are forwarded, the kernel turns off the large receive offload of cards, and leaves it off. The links that
lose it by a write are on record too, and have it again once no parameter of the agent forwards any more; but not those
that have to do without it for another reason by then: another program forwards, or a bridge has the link.

A setting of a link goes with its link: under a new name it is put back there, or goes on if that is desired. A link
that is made again under the name begins with a record of its own.
"""

import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.common.journal import Journal
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.kernel_parameter_rules import (
    Parameter,
    beside,
    exceeds,
    gives,
    is_above,
    one_line,
    opposite,
    parameter_of,
)
from nodespan.resources.runtime import KernelParamSpecSpec, KernelParamStatusSpec
from nodespan.runtime.text.escaping import bounded

if TYPE_CHECKING:
    from nodespan.kernel.hardware.large_receive import LargeReceive

# A page, which is what the kernel gives for a parameter at most.
_LONGEST = 4096
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES, errno.EROFS})
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV})
_KIND = "param"
# Links that had the large receive offload, by index.
_LARGE_RECEIVE = "lro"
# In sysfs a link has an entry of this name for each link that is on top of it.
_ABOVE = "upper_"
_HIDDEN = "(secret)"


class MissingError(HostError):
    """The kernel has no such parameter, or not yet."""


def index_of_link(name: str) -> int:
    """The index of a link of the network namespace of this process, 0 if there is none of the name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def name_of_link(index: int) -> str:
    """The name of a link of the network namespace of this process, "" if there is none of the index."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


@attrs.frozen(kw_only=True)
class Record:
    """What is to be put back. Values are in the kernel's own form.

    `value` is the desired one, `reads` what the kernel makes of it ("" until it was written). `index` is that of the
    link that it is a setting of, else 0. `others` are the values before and after of the parameters beside it, `links`
    the indexes of the links that these are of, and `restoring` those of them that are about to be put back with it.
    """

    before: str
    value: str
    reads: str = ""
    index: int = 0
    others: Mapping[str, tuple[str, str]] = attrs.field(factory=dict)
    links: Mapping[str, int] = attrs.field(factory=dict)
    restoring: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As the journal has it."""
        return attrs.asdict(self, recurse=False) | {"others": {path: list(both) for path, both in self.others.items()}}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Record":
        """From the journal."""
        others = {path: (str(before), str(after)) for path, (before, after) in plain["others"].items()}
        return cls(**{**plain, "others": others, "restoring": tuple(map(str, plain.get("restoring", ())))})


@attrs.define
class Outcome:
    """What came of one turn, by the ids of specs. `waiting` are problems that may go by themselves."""

    statuses: dict[str, KernelParamStatusSpec] = attrs.field(factory=dict)
    problems: dict[str, str] = attrs.field(factory=dict)
    waiting: dict[str, str] = attrs.field(factory=dict)
    # Texts for the log: what was put right, and what was left as others changed it.
    news: list[str] = attrs.field(factory=list)


class KernelParameters:
    """The parameters of one agent; thread-safe. All calls block.

    Parameters of the network are those of the namespace of this process, whatever the root of the host is. The others
    are those below that root, and are refused where the machine is not the agent's.
    """

    def __init__(
        self,
        host: Host,
        journal: Journal,
        *,
        own: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        link_index: Callable[[str], int] = index_of_link,
        link_name: Callable[[int], str] = name_of_link,
        large_receive: "LargeReceive | None" = None,
    ) -> None:
        self._host = host
        self._journal = journal
        self._own = own
        self._clock = clock
        self._link_index = link_index
        self._link_name = link_name
        self._large_receive = large_receive
        self._damper = Damper()
        # Why records are not put back, by name.
        self._stuck: dict[str, str] = {}
        self._lock = threading.Lock()

    def open(self) -> str:
        """Read the record of earlier processes; returns what is wrong with it, "" for nothing. Raises OSError."""
        return self._journal.load()

    @property
    def has_records(self) -> bool:
        """Whether there is anything to put back. Raises OSError."""
        return bool(self._journal.names(_KIND) or self._journal.names(_LARGE_RECEIVE))

    def left_behind(self) -> list[str]:
        """What is still to be put back, with the reason where it is known. Raises OSError."""
        with self._lock:
            names = sorted(self._journal.names(_KIND))
            links = {name: self._journal.get(name) for name in sorted(self._journal.names(_LARGE_RECEIVE))}
            return [
                *(self._stuck.get(name) or f"{_parameter(name).absolute} was not put back" for name in names),
                *(self._stuck.get(name) or f"rx-lro of {link} was not turned on again" for name, link in links.items()),
            ]

    def turn(
        self, desired: Mapping[str, KernelParamSpecSpec], *, may_undo: bool, minimums: Collection[str] = ()
    ) -> Outcome:
        """Set what is desired and, if that is allowed, put back what is no longer. Raises OSError of the journal.

        Of those whose ids are `minimums`, higher values of others stay.
        """
        with self._lock:
            outcome = Outcome()
            self._follow_links()
            found = {id: parameter for id in desired if (parameter := parameter_of(id)) is not None}
            kept = frozenset(_name(parameter) for parameter in found.values())
            if may_undo:
                managed = self._journal.names(_KIND)
                for name in sorted(managed - kept, key=lambda each: (_parameter(each).rank, each)):
                    self._try_to_put_back(name, kept, managed, outcome)
                self._put_back_large_receive(outcome)
            for name in self._stuck.keys() & kept:
                self._no_longer_stuck(name)
            current = self._record(found, desired, outcome)
            for id in sorted(current, key=lambda each: (found[each].rank, each)):
                self._set(id, found[id], desired[id], outcome, is_minimum=id in minimums)
            return outcome

    # What was there before.

    def _record(
        self, found: Mapping[str, Parameter], desired: Mapping[str, KernelParamSpecSpec], outcome: Outcome
    ) -> list[str]:
        """Record all that is desired and not on record yet; returns the ids of those that are there."""
        there: list[str] = []
        changes: dict[str, Any] = {}
        for id, parameter in found.items():
            try:
                current = self._read(parameter)
                if self._record_of(parameter) is None:
                    changes[_name(parameter)] = Record(
                        before=self._before(parameter, current),
                        value=desired[id].value,
                        index=self._index(parameter),
                    ).to_plain()
                there.append(id)
            except MissingError as error:
                if desired[id].ignore_errors:
                    outcome.statuses[id] = KernelParamStatusSpec(unsupported=True)
                elif parameter.link_name:
                    outcome.waiting[id] = str(error)
                else:
                    outcome.problems[id] = str(error)
            except (HostError, OSError) as error:
                outcome.problems[id] = _reason(parameter, error, "read")
        self._journal.change(changes)
        return there

    def _follow_links(self) -> None:
        """Have the records of links that were renamed be about their new names."""
        changes: dict[str, Any] = {}
        for name in self._journal.names(_KIND):
            parameter, record = _parameter(name), Record.of(self._journal.get(name))
            after = self._renamed(parameter, record.index)
            paths = {path: self._renamed(Parameter(path), index).path for path, index in record.links.items()}
            if after == parameter and all(path == new for path, new in paths.items()):
                continue
            moved = attrs.evolve(
                record,
                others={paths.get(path, path): both for path, both in record.others.items()},
                links={paths[path]: index for path, index in record.links.items()},
                restoring=tuple(paths.get(path, path) for path in record.restoring),
            )
            if after != parameter:
                changes.setdefault(name, None)
            changes[_name(after)] = moved.to_plain()
        self._journal.change(changes)

    def _renamed(self, parameter: Parameter, index: int) -> Parameter:
        """The parameter of the link of this index, which may have another name by now."""
        if not index or self._link_index(parameter.link_name) == index:
            return parameter
        name = self._link_name(index)
        return parameter.of_link(name) if name else parameter

    def _record_of(self, parameter: Parameter) -> Record | None:
        """The record of a parameter; None for that of a link that is gone, though there is another of its name."""
        plain = self._journal.get(_name(parameter))
        record = None if plain is None else Record.of(plain)
        return None if record is None or record.index != self._index(parameter) else record

    def _before(self, parameter: Parameter, current: str) -> str:
        """What a parameter was before any record was about it: by its own record, or one that has it beside."""
        own = self._record_of(parameter)
        if own is not None:
            return own.before
        for _, record in self._records_beside(parameter):
            before, after = record.others[parameter.path]
            if current == after:
                return before
        return current

    def _records_beside(self, parameter: Parameter) -> list[tuple[str, Record]]:
        """The records that have this parameter among their others, by name."""
        if parameter.sys:
            return []
        plains = ((name, self._journal.get(name)) for name in sorted(self._journal.names(_KIND)))
        return [(name, Record.of(plain)) for name, plain in plains if parameter.path in plain["others"]]

    # Setting.

    def _set(
        self, id: str, parameter: Parameter, spec: KernelParamSpecSpec, outcome: Outcome, *, is_minimum: bool
    ) -> None:
        record, now = self._record_of(parameter), self._clock()
        if record is None:
            # The link went in this moment; the next turn sees.
            return
        try:
            current = self._read(parameter)
            if is_minimum:
                record, spec = _raised(record, spec, current)
            if record.value != spec.value:
                self._damper.forget(id)
                record = attrs.evolve(record, value=spec.value, reads="")
            if record.restoring:
                # It is desired again, before all of it was put back.
                record = attrs.evolve(record, reads="", restoring=())
            if one_line(current) == one_line(record.reads or spec.value):
                self._journal.change({_name(parameter): attrs.evolve(record, reads=current).to_plain()})
                self._damper.holds(id)
            elif self._damper.may_try(id, now):
                if record.reads:
                    outcome.news.append(
                        f"{parameter.absolute} was changed to {self._shown(parameter, current)} by another program, "
                        f"and is {self._shown(parameter, spec.value)} again"
                    )
                current = self._write_recorded(parameter, record, outcome)
                self._damper.done(id, now)
            if self._damper.is_damped(id, now):
                outcome.problems[id] = (
                    f"{parameter.absolute} keeps being changed by another program, at the moment to "
                    f"{self._shown(parameter, current)}: find out which (sysctl.d, tuned, Docker), or do not name it"
                )
            outcome.statuses[id] = KernelParamStatusSpec(
                current=self._shown(parameter, current, bounded), default=self._shown(parameter, record.before, bounded)
            )
        except MissingError as error:
            outcome.waiting[id] = str(error)
        except (HostError, OSError) as error:
            self._damper.failed(id, now)
            outcome.problems[id] = _reason(parameter, error, f"set to {self._shown(parameter, spec.value)}")

    def _write_recorded(self, parameter: Parameter, record: Record, outcome: Outcome) -> str:
        """Write the value, with a record before and after; returns what the kernel makes of it."""
        others = dict(record.others)
        links = dict(record.links)
        for path in self._paths_beside(parameter):
            value = self._read_beside(path)
            if value is not None and path not in others:
                others[path] = (self._before(Parameter(path), value), value)
                if index := self._index(Parameter(path)):
                    links[path] = index
        record = attrs.evolve(record, links=links)
        self._journal.change({_name(parameter): attrs.evolve(record, others=others).to_plain()})
        if forwards := _forwards(parameter, record):
            self._record_large_receive(outcome)
        try:
            self._write_beside(parameter, record.value, others)
        finally:
            # A write that fails takes it from none.
            if forwards:
                self._keep_those_that_lost_large_receive(outcome)
        reads = self._read(parameter)
        for path, (before, _) in tuple(others.items()):
            after = self._read_beside(path)
            if after is None:
                del others[path]
            else:
                # Kept if it is the same, too: putting back the parameter may change it.
                others[path] = (before, after)
        self._journal.change({_name(parameter): attrs.evolve(record, reads=reads, others=others).to_plain()})
        return reads

    def _write_beside(self, parameter: Parameter, value: str, others: Iterable[str]) -> None:
        """Write. What that changes of parameters with a record of their own is not another program's doing."""
        marked: dict[str, Record] = {}
        for path in others:
            record = self._record_of(Parameter(path))
            if record is not None and record.reads and self._read_beside(path) == record.reads:
                marked[path] = record
        if marked:
            plains = {path: attrs.evolve(record, reads="").to_plain() for path, record in marked.items()}
            self._journal.change({_name(Parameter(path)): plain for path, plain in plains.items()})
        self._write(parameter, value)
        same = {path: record for path, record in marked.items() if self._read_beside(path) == record.reads}
        if same:
            self._journal.change({_name(Parameter(path)): record.to_plain() for path, record in same.items()})

    # The large receive offload, which forwarding takes away.

    def _links_with_large_receive(self, outcome: Outcome) -> dict[int, str]:
        try:
            return self._offload().links()
        except OSError as error:
            outcome.news.append(f"which links have rx-lro is not known, and it may stay off: {error.strerror}")
            return {}

    def _record_large_receive(self, outcome: Outcome) -> None:
        links = self._links_with_large_receive(outcome)
        self._journal.change({f"{_LARGE_RECEIVE}/{index}": name for index, name in links.items()})

    def _keep_those_that_lost_large_receive(self, outcome: Outcome) -> None:
        links = self._links_with_large_receive(outcome)
        self._journal.change({f"{_LARGE_RECEIVE}/{index}": None for index in links})

    def _put_back_large_receive(self, outcome: Outcome) -> None:
        records = sorted(self._journal.names(_LARGE_RECEIVE))
        if not records:
            return
        parameters = ((_parameter(name), Record.of(self._journal.get(name))) for name in self._journal.names(_KIND))
        if any(_forwards(parameter, record) for parameter, record in parameters):
            return
        for name in records:
            link, now = str(self._journal.get(name)), self._clock()
            index = int(name.partition("/")[2])
            if self._damper.may_try(name, now):
                try:
                    reason = self._no_large_receive(index)
                    if reason:
                        outcome.news.append(f"rx-lro of {self._link_name(index) or link} stays off: {reason}")
                    else:
                        self._offload().turn_on(index)
                except OSError as error:
                    self._damper.failed(name, now)
                    self._stuck[name] = f"rx-lro of {link} cannot be turned on again: {error.strerror}"
                else:
                    self._journal.change({name: None})
                    self._no_longer_stuck(name)
            if name in self._stuck:
                outcome.problems[name] = self._stuck[name]

    def _no_large_receive(self, index: int) -> str:
        """Why the kernel would have turned it off on a link by now, without any doing of the agent; "" if it would not.

        What is asked of a link on top of another, such as a VLAN or a bond, the kernel takes from the one below, too.
        """
        name = self._link_name(index)
        if not name:
            return ""
        links = self._with_links_above(name) if self._is_in_sysfs(name) else [name]
        for link in links:
            if self._is_in_sysfs(link) and (self._sysfs_of(link) / "brport").exists():
                return f"{link} is a port of a bridge"
        for family in ("ipv4", "ipv6"):
            for each in ("all", *links):
                parameter = Parameter(f"net/{family}/conf/{each}/forwarding")
                value = self._read_beside(parameter.path)
                if value is not None and value.strip() != "0":
                    return f"packets are forwarded, for {parameter.absolute} is {quote(one_line(value))}"
        return ""

    def _with_links_above(self, name: str) -> list[str]:
        """A link, and those that are on top of it at any distance."""
        found = [name]
        for link in found:
            above = (file.name.removeprefix(_ABOVE) for file in sorted(self._sysfs_of(link).glob(f"{_ABOVE}*")))
            found += [each for each in above if each not in found]
        return found

    def _sysfs_of(self, link: str) -> Path:
        return self._own / "sys/class/net" / link

    def _is_in_sysfs(self, link: str) -> bool:
        """Whether sysfs shows this link: it shows those of the namespace that it was mounted in."""
        return _text(self._sysfs_of(link) / "ifindex") in ("", str(self._link_index(link)))

    def _offload(self) -> "LargeReceive":
        if self._large_receive is None:
            from nodespan.kernel.hardware.large_receive import KernelLargeReceive

            self._large_receive = KernelLargeReceive()
        return self._large_receive

    # Putting back.

    def _try_to_put_back(self, name: str, kept: Set[str], managed: Set[str], outcome: Outcome) -> None:
        """Less and less often, if it fails. What fails is a problem."""
        now = self._clock()
        if self._damper.may_try(name, now):
            text = self._put_back(name, kept, managed, outcome)
            if text:
                self._damper.failed(name, now)
                self._stuck[name] = text
            else:
                self._no_longer_stuck(name)
        if name in self._stuck:
            outcome.problems[_parameter(name).absolute.lstrip("/").replace("/", ".")] = self._stuck[name]

    def _no_longer_stuck(self, name: str) -> None:
        self._stuck.pop(name, None)
        self._damper.forget(name)

    def _put_back(self, name: str, kept: Set[str], managed: Set[str], outcome: Outcome) -> str:
        """Put back one that is not desired; returns why it cannot be, "" if it was.

        `kept` are the records of those that are desired, `managed` all that were.
        """
        parameter, record = _parameter(name), Record.of(self._journal.get(name))
        try:
            current = self._read(parameter)
        except MissingError:
            self._forget(name)
            return ""
        except (HostError, OSError) as error:
            return _reason(parameter, error, "put back")
        if record.index != self._index(parameter):
            # Of a link that is gone: the one that has its name now is as others made it.
            self._forget(name)
            return ""
        covered = self._covered(parameter, kept)
        target = _chosen(parameter, record.before) if covered is None else covered
        ours = {one_line(text) for text in (record.reads, record.value) if text}
        is_there = one_line(_chosen(parameter, current)) == one_line(target)
        if record.reads and not record.restoring and not is_there and one_line(current) not in ours:
            outcome.news.append(
                f"{parameter.absolute} was changed to {self._shown(parameter, current)} by another program, and is "
                "left as it is"
            )
            self._forget(name, left=current)
            return ""
        untouched: tuple[str, ...] = ()
        if covered is None:
            untouched = record.restoring or tuple(self._untouched_beside(record, kept, managed))
        if untouched and not record.restoring:
            # The write changes them, so that a successor could not tell any more which are to be put back.
            self._journal.change({name: attrs.evolve(record, restoring=untouched).to_plain()})
        try:
            # Of a pair of which one is in effect, the other puts back both.
            if not is_there and not (target == "0" and opposite(parameter) in untouched):
                self._write_beside(parameter, target, record.others)
        except OSError as error:
            return _reason(parameter, error, f"put back to {self._shown(parameter, target)}")
        failed = self._put_back_beside(record, untouched)
        if failed:
            self._journal.change({name: attrs.evolve(record, restoring=tuple(failed)).to_plain()})
            return "; ".join(failed.values())
        self._forget(name, left=target if covered is None else None)
        return ""

    def _put_back_beside(self, record: Record, paths: Iterable[str]) -> dict[str, str]:
        """Put back these of its others, one by one; returns why some cannot be."""
        failed: dict[str, str] = {}
        for path in paths:
            before, _ = record.others[path]
            parameter = Parameter(path)
            if self._read_beside(path) in (None, before):
                continue
            try:
                self._write(parameter, before)
            except OSError as error:
                # Of a link that went in this moment nothing is left.
                if error.errno not in _MISSING:
                    failed[path] = _reason(parameter, error, f"put back to {self._shown(parameter, before)}")
        return failed

    def _covered(self, parameter: Parameter, kept: Set[str]) -> str | None:
        """The value that another parameter gives this one, which is still desired; None if none does."""
        for name, record in self._records_beside(parameter):
            before, after = record.others[parameter.path]
            if name in kept and before != after and gives(_parameter(name), parameter, after == record.reads):
                return after
        return None

    def _untouched_beside(self, record: Record, kept: Set[str], managed: Set[str]) -> list[str]:
        """What the writes changed besides, as far as nobody else changed it since, and no other spec is about it."""
        return [
            path
            for path, (_, after) in record.others.items()
            if _name(Parameter(path)) not in managed
            and self._covered(Parameter(path), kept) is None
            and self._read_beside(path) == after
        ]

    def _forget(self, name: str, *, left: str | None = None) -> None:
        """Forget a record. `left` is the value that others are to find, if no other parameter gives another."""
        changes: dict[str, Any] = {name: None}
        if left is not None:
            path = _parameter(name).path
            for other, record in self._records_beside(_parameter(name)):
                changes[other] = attrs.evolve(record, others={**record.others, path: (left, left)}).to_plain()
            changes[name] = None
        self._journal.change(changes)

    # Files.

    def _paths_beside(self, parameter: Parameter) -> Iterable[str]:
        base = (self._own if parameter.is_of_namespace else self._host.root) / "proc/sys"
        for pattern in beside(parameter):
            for file in base.glob(pattern):
                path = str(file.relative_to(base))
                if path != parameter.path and not is_above(Parameter(path), parameter):
                    yield path

    def _read_beside(self, path: str) -> str | None:
        """None for one that is gone, or cannot be read: then there is nothing to put back."""
        try:
            return self._read(Parameter(path))
        except (HostError, OSError):
            return None

    def _shown(self, parameter: Parameter, value: str, form: Callable[[str], str] | None = None) -> str:
        """A value for people. What the system shows to root alone (`stable_secret`, keys) is a secret here too."""
        try:
            is_secret = not self._file(parameter).stat().st_mode & stat.S_IROTH
        except (HostError, OSError):
            is_secret = True
        if is_secret:
            return _HIDDEN
        return quote(bounded(one_line(value))) if form is None else form(one_line(value))

    def _file(self, parameter: Parameter) -> Path:
        if parameter.is_of_namespace:
            return self._own / parameter.absolute.lstrip("/")
        if parameter.sys and parameter.link_name:
            if not self._is_in_sysfs(parameter.link_name):
                link = self._sysfs_of(parameter.link_name)
                raise HostError(f"{link} is a link of another network namespace: mount /sys in the one of the agent")
            return self._own / parameter.absolute.lstrip("/")
        if self._host.refusal:
            raise HostError(self._host.refusal)
        return self._host.root / parameter.absolute.lstrip("/")

    def _read(self, parameter: Parameter) -> str:
        file = self._file(parameter)
        try:
            with file.open("rb", buffering=0) as stream:
                data = stream.read(_LONGEST + 1) or b""
        except OSError as error:
            if error.errno in _MISSING:
                raise MissingError(self._missing(parameter)) from error
            raise
        if len(data) > _LONGEST:
            raise HostError(f"{file} has more than {_LONGEST} bytes, which no kernel parameter has")
        try:
            return data.decode().rstrip("\n")
        except UnicodeDecodeError as error:
            raise HostError(f"{file} is not text") from error

    def _missing(self, parameter: Parameter) -> str:
        if parameter.link_name:
            return f"there is no {parameter.absolute}: it is set when there is a link {parameter.link_name}"
        if not parameter.is_of_namespace and self._host.root != Path("/"):
            return f"there is no {parameter.absolute} below {self._host.root}, where --root has it looked for"
        return (
            f"there is no {parameter.absolute}: look whether the name is right, and whether the kernel module that it "
            "is a parameter of is loaded (KernelModuleConfig)"
        )

    def _write(self, parameter: Parameter, value: str) -> None:
        # A write that is in two parts would be two values.
        descriptor = os.open(self._file(parameter), os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
        try:
            os.write(descriptor, f"{value}\n".encode())
        finally:
            os.close(descriptor)

    def _index(self, parameter: Parameter) -> int:
        return self._link_index(parameter.link_name) if parameter.link_name else 0


def _forwards(parameter: Parameter, record: Record) -> bool:
    return parameter.is_forwarding and record.value.strip() != "0"


def _raised(record: Record, spec: KernelParamSpecSpec, current: str) -> tuple[Record, KernelParamSpecSpec]:
    """The record and the spec of a minimum, where others have made the value higher."""
    if exceeds(current, spec.value) and current not in (record.reads, record.value):
        record = attrs.evolve(record, before=current)
    return record, attrs.evolve(spec, value=record.before) if exceeds(record.before, spec.value) else spec


def _name(parameter: Parameter) -> str:
    return f"{_KIND}/{parameter.absolute}"


def _parameter(name: str) -> Parameter:
    absolute = name.removeprefix(f"{_KIND}/")
    for root, is_sys in (("/proc/sys/", False), ("/sys/", True)):
        if absolute.startswith(root):
            return Parameter(absolute.removeprefix(root), sys=is_sys)
    raise ValueError(f"{name!r} is not the name of a record of a kernel parameter")


def _chosen(parameter: Parameter, value: str) -> str:
    """What to write for a value of sysfs that reads as a choice, as `always [madvise] never`; others as they are."""
    words = value.split()
    chosen = [word[1:-1] for word in words if len(word) > 2 and word.startswith("[") and word.endswith("]")]
    return chosen[0] if parameter.sys and len(chosen) == 1 and "\n" not in value else value


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _reason(parameter: Parameter, error: HostError | OSError, what: str) -> str:
    if isinstance(error, HostError):
        return str(error)
    hint = ""
    if error.errno in _FORBIDDEN and os.geteuid():
        hint = ": start the agent as root"
    elif what == "read":
        hint = ", so it could not be put back, and is left as it is"
    elif error.errno in _FORBIDDEN:
        hint = ": the system protects it (a container, lockdown, or a unit without the capability)"
    elif error.errno == errno.EINVAL:
        hint = ": the kernel does not take this value"
    return f"{parameter.absolute} cannot be {what}: {error.strerror}{hint}"
