"""A model of the kernel's addresses, routes and rules: what is asked of it over rtnetlink, it does.

With what makes taking back hard: an IPv4 address takes its secondaries with it, and the last one of a link all routes.
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from socket import AF_INET
from typing import Any

import attrs
from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, rtnl

from nodespan.kernel import rtnetlink
from nodespan.kernel.addresses import read_address
from nodespan.kernel.routes import read_route
from nodespan.kernel.rtnetlink import Message, Request, RtnlSocket, fixed_size, integer, message_of
from nodespan.resources.network import LinkFlags

_KINDS = {
    rtnl.RTM_GETADDR: rtnl.RTM_NEWADDR,
    rtnl.RTM_GETROUTE: rtnl.RTM_NEWROUTE,
    rtnl.RTM_GETRULE: rtnl.RTM_NEWRULE,
}
_PERMANENT = 0x80
_STATIC_PADDING = 0x3FFF


class Killed(BaseException):
    """The process was killed."""


@attrs.define
class ModelKernel(RtnlSocket):
    """Objects by type, each as the body of its message, in the order in which they were made."""

    objects: dict[int, list[bytes]] = attrs.field(factory=lambda: {kind: [] for kind in _KINDS.values()})
    # After so many changes the process is killed.
    changes_left: int = 1 << 30
    interrupted: bool = False
    netns: None = None

    @contextlib.contextmanager
    def open(self, _netns: object = None) -> Iterator["ModelKernel"]:
        """A connection."""
        yield self

    def mirror(self, kind: Any, on_change: Any, aspect: Any = None) -> Any:
        """Not needed: tests look at the objects themselves."""
        raise NotImplementedError

    def state(self) -> dict[int, list[bytes]]:
        """All that there is, in an order that does not depend on how it came about."""
        return {kind: sorted(bodies) for kind, bodies in self.objects.items()}

    def link(self, index: int = 0, *, name: str = "") -> Message | None:
        del name
        up = LinkFlags.UP
        return message_of(rtnl.RTM_NEWLINK, _packed(rtnl.RTM_NEWLINK, (0, 1, index, up, 0)))

    def dump(self, type: int, family: int = 0) -> Iterator[Message]:
        kind = _KINDS[type]
        found = [message_of(kind, body) for body in self.objects[kind]]
        yield from (message for message in found if family in (0, message.family))

    def dump_links(self) -> Iterator[Message]:
        yield from self.dump(rtnl.RTM_GETLINK)

    def dump_matching(self, type: int, fields: tuple[int, ...], *attributes: bytes) -> Iterator[Message]:
        yield from self.dump(type, fields[0])

    def change(self, type: int, flags: int, fields: tuple[int, ...], *attributes: bytes) -> None:
        if not self.changes_left:
            raise Killed
        self.changes_left -= 1
        makes = type in self.objects
        kind = type if makes else type - 1
        asked = _normal(message_of(kind, _packed(kind, fields) + b"".join(attributes)))
        same = [body for body in self.objects[kind] if _is_same(message_of(kind, body), asked, adding=makes)]
        if makes:
            self._make(kind, flags, asked, same)
        elif not same:
            missing = {rtnl.RTM_NEWADDR: errno.EADDRNOTAVAIL, rtnl.RTM_NEWROUTE: errno.ESRCH}.get(kind, errno.ENOENT)
            raise OSError(missing, os.strerror(missing))
        else:
            self._remove(kind, same[0])

    def request_all(self, requests: Sequence[Request]) -> dict[int, OSError]:
        refusals: dict[int, OSError] = {}
        for position, request in enumerate(requests):
            try:
                self.change(request.type, request.flags, request.fields, *request.attributes)
            except OSError as error:
                refusals[position] = error
        return refusals

    def _make(self, kind: int, flags: int, asked: Message, same: list[bytes]) -> None:
        if same and (not flags & NLM_F_REPLACE or kind == rtnl.RTM_NEWRULE):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if not same and not flags & NLM_F_CREATE:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        assert not (flags & NLM_F_EXCL and flags & NLM_F_REPLACE)
        if kind == rtnl.RTM_NEWADDR and same:
            # In place, only lifetimes and the metric change.
            before = message_of(kind, same[0])
            changed = dict(before.attributes)
            for number in (6, 9):
                changed.pop(number, None)
                if number in asked.attributes:
                    changed[number] = asked.attributes[number]
            bits = integer(changed, 8) & ~_PERMANENT | integer(asked.attributes, 8) & _PERMANENT
            asked = _with(before, changed, bits)
        if same:
            self.objects[kind][self.objects[kind].index(same[0])] = _body(asked)
        else:
            self.objects[kind].append(_body(asked))

    def _remove(self, kind: int, body: bytes) -> None:
        self.objects[kind].remove(body)
        if kind != rtnl.RTM_NEWADDR:
            return
        gone = read_address(message_of(kind, body))
        if gone.family.number != AF_INET:
            return
        on_link = [
            (each, read_address(message_of(kind, each)))
            for each in self.objects[kind]
            if message_of(kind, each).family == AF_INET and message_of(kind, each).fields[4] == gone.link_index
        ]
        if not on_link:
            routes = self.objects[rtnl.RTM_NEWROUTE]
            routes[:] = [
                each
                for each in routes
                if gone.link_index not in read_route(message_of(rtnl.RTM_NEWROUTE, each)).links
                or message_of(rtnl.RTM_NEWROUTE, each).family != AF_INET
            ]


def _packed(kind: int, fields: tuple[int, ...]) -> bytes:
    blank = message_of(kind, bytes(fixed_size(kind)))
    return _body(attrs.evolve(blank, fields=fields, attributes={}))


def _body(message: Message) -> bytes:
    packed = rtnetlink._FIXED_PARTS[message.type].pack(*message.fields)
    return packed + b"".join(rtnetlink.attribute(number, data) for number, data in sorted(message.attributes.items()))


def _with(message: Message, attributes: dict[int, bytes], bits: int) -> Message:
    family, length, _, scope, index = message.fields
    attributes = {**attributes, 8: bits.to_bytes(4, "little")}
    return attrs.evolve(message, fields=(family, length, bits & 0xFF, scope, index), attributes=attributes)


def _normal(message: Message) -> Message:
    """As the kernel would show it."""
    if message.type == rtnl.RTM_NEWADDR:
        attributes = dict(message.attributes)
        forever = 6 not in attributes or attributes[6][4:8] == b"\xff" * 4
        bits = integer(attributes, 8) & ~_PERMANENT | (_PERMANENT if forever else 0)
        if forever:
            attributes.pop(6, None)
        else:
            attributes[6] = attributes[6][:8] + bytes(8)
        return _with(message, attributes, bits)
    attributes = {number: data for number, data in message.attributes.items() if number != _STATIC_PADDING}
    fields = message.fields
    if message.type == rtnl.RTM_NEWROUTE:
        fields = (*fields[:-1], 0)
        if 6 not in attributes and fields[0] != AF_INET:
            attributes[6] = (1024).to_bytes(4, "little")
    if message.type == rtnl.RTM_NEWRULE and 10 in attributes:
        attributes.setdefault(16, b"\xff" * 4)
    return attrs.evolve(message, fields=fields, attributes=attributes)


def _is_same(there: Message, asked: Message, *, adding: bool) -> bool:
    if there.family != asked.family:
        return False
    if there.type == rtnl.RTM_NEWADDR:
        mine, theirs = read_address(there), read_address(asked)
        own = (mine.local or mine.address.partition("/")[0], mine.address.partition("/")[2], mine.link_index)
        return own == (
            theirs.local or theirs.address.partition("/")[0],
            theirs.address.partition("/")[2],
            theirs.link_index,
        )
    if there.type == rtnl.RTM_NEWROUTE:
        mine_, theirs_ = read_route(there).status, read_route(asked).status
        slot = (mine_.table, mine_.dst, mine_.priority) == (theirs_.table, theirs_.dst, theirs_.priority)
        if adding:
            # Of IPv4; the plans add beside others only where the kernel lets them.
            return slot
        return slot and (mine_.gateway, mine_.protocol) == (theirs_.gateway, theirs_.protocol)
    return (there.fields, dict(there.attributes)) == (asked.fields, dict(asked.attributes))
