"""The typed face of pyroute2's rtnetlink: messages, their attributes, and a kernel to ask."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ifinfmsg.plugins.bond import bond
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from controllers.network.kernel.netns import in_netns

# pyroute2 carries no types; what is used of it is described by the protocols below.
_IPRoute: Any = IPRoute
_MarshalRtnl: Any = MarshalRtnl
_LinkInfo: Any = ifinfmsg.ifinfo
_BOND_OPTIONS: tuple[Any, ...] = bond.nla_map

AF_UNSPEC = 0
DUMP_INTERRUPTED = 0x10
ENODEV = 19


class Message(Protocol):
    """A message or a nest of attributes: header fields by key, attributes (decoded when asked) by name."""

    def __getitem__(self, field: str) -> Any: ...
    def get_attr(self, name: str) -> Any: ...
    def get_attrs(self, name: str) -> list[Any]: ...


class Kernel(Protocol):
    """What is asked of the kernel. Every call blocks; NetlinkError carries an errno as `code`."""

    def link(self, command: str, *, index: int = 0) -> Iterable[Message]: ...
    def get_addr(self) -> Iterable[Message]: ...
    def get_routes(self, *, family: int) -> Iterable[Message]: ...
    def get_rules(self, *, family: int) -> Iterable[Message]: ...


class Parser(Protocol):
    """Splits what a subscription received into messages."""

    def parse(self, data: bytes) -> Iterable[Message]: ...


class _Bond(bond):
    # With the options that the kernel learnt after pyroute2's list was made.
    nla_map: tuple[Any, ...] = (
        *_BOND_OPTIONS,
        ("IFLA_BOND_PEER_NOTIF_DELAY", "uint32"),
        ("IFLA_BOND_AD_LACP_ACTIVE", "uint8"),
        ("IFLA_BOND_MISSED_MAX", "uint8"),
        ("IFLA_BOND_NS_IP6_TARGET", "hex"),
    )


_LinkInfo.register_link_kind(module={"bond": _Bond})


def make_parser() -> Parser:
    """A parser of rtnetlink messages; for one thread."""
    parser: Parser = _MarshalRtnl()
    return parser


@contextmanager
def open_kernel(netns: str | None) -> Iterator[Kernel]:
    """A connection to the kernel in a network namespace (a path; None: the own one).

    Opened, used and closed in one worker thread: what is inside the block runs in that namespace.
    """
    with in_netns(netns), _IPRoute() as kernel:
        yield kernel


def raw(message: Message, name: str) -> bytes:
    """The undecoded bytes of an attribute, b"" if it is missing."""
    for slot in message["attrs"]:
        if slot.name == name:
            attribute = slot.cell[1]
            return bytes(attribute.data[attribute.offset + 4 : attribute.offset + attribute.length])
    return b""


def hardware_address(message: Message, name: str) -> str:
    """Lower-case colon hex of any length (a MAC, InfiniBand's 20 bytes, a tunnel's address); "" if missing."""
    return raw(message, name).hex(":")


def number(message: Message, name: str) -> int:
    """A numeric attribute, 0 if it is missing."""
    return int(message.get_attr(name) or 0)


def text(message: Message, name: str) -> str:
    """A text attribute, "" if it is missing."""
    return str(message.get_attr(name) or "")


def prefix(message: Message, name: str, length_field: str) -> str:
    """`10.0.0.0/8` from an address attribute and the length in the header; "" for the prefix that holds everything."""
    length = message[length_field]
    address = message.get_attr(name)
    if address is None or length == 0:
        return ""
    return f"{address}/{length}"
