"""Adds and removes routing rules over rtnetlink."""

from nodespan.kernel import rtnl
from nodespan.kernel.prefixes import parse_prefix
from nodespan.kernel.rtnetlink import RtnlSocket, attribute, number8, number32, zero_terminated
from nodespan.kernel.rtnl import NLM_F_CREATE, NLM_F_EXCL
from nodespan.kernel.rules import KernelRule
from nodespan.resources.network.enums import RouteProtocol
from nodespan.resources.network.routing_rule import RoutingRuleSpecSpec

_DST = 1
_SRC = 2
_IIFNAME = 3
_PRIORITY = 6
_FWMARK = 10
_TABLE = 15
_FWMASK = 16
_OIFNAME = 17
_PADDING = 18
_PROTOCOL = 21
_SUPPRESS_PREFIXLEN = 14
# What a spec can say, and what the kernel says of any rule.
_PLAIN = frozenset({_DST, _SRC, _IIFNAME, _PRIORITY, _FWMARK, _TABLE, _FWMASK, _OIFNAME, _PADDING, _PROTOCOL})
_NO_PREFIXLEN = b"\xff" * 4

_BYTE = 0xFF
_INVERT = 0x2

# Marks the rules that come from specs, so that a restarted agent recognizes them.
OWN_PROTOCOL = RouteProtocol.STATIC


def add_rule(kernel: RtnlSocket, spec: RoutingRuleSpecSpec) -> None:
    """Add the rule. Raises OSError: EEXIST if an equal rule exists."""
    src, dst = parse_prefix(spec.src), parse_prefix(spec.dst)
    table = spec.table.number
    attributes = [number32(_PRIORITY, spec.priority), number32(_TABLE, table), number8(_PROTOCOL, OWN_PROTOCOL.number)]
    attributes += [attribute(number, prefix.packed) for number, prefix in ((_SRC, src), (_DST, dst)) if prefix]
    attributes += [
        zero_terminated(number, name) for number, name in ((_IIFNAME, spec.iif_name), (_OIFNAME, spec.oif_name)) if name
    ]
    if spec.fw_mark or spec.fw_mask:
        attributes.append(number32(_FWMARK, spec.fw_mark))
    if spec.fw_mask:
        attributes.append(number32(_FWMASK, spec.fw_mask))
    fields = (
        *(spec.family.number, dst.length if dst else 0, src.length if src else 0, 0),
        *(table if table <= _BYTE else 0, 0, 0, spec.action.number, 0),
    )
    kernel.change(rtnl.RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, fields, *attributes)


def delete_rule(kernel: RtnlSocket, seen: KernelRule) -> None:
    """Remove exactly this rule. Raises OSError: ENOENT if it does not exist."""
    # All attributes that were read are sent, so that another rule of the same priority does not match.
    family, dst_length, src_length, tos, table, _, _, action, flags = seen.header
    fields = (family, dst_length, src_length, tos, table, 0, 0, action, flags & _INVERT)
    attributes = [attribute(number, data) for number, data in seen.attributes if number != _PADDING]
    kernel.change(rtnl.RTM_DELRULE, 0, fields, *attributes)


def is_plain(seen: KernelRule) -> bool:
    """Whether a rule matches by nothing, and does nothing, that `add_rule` cannot say: ports, a user, the opposite."""
    if seen.header and (seen.header[3] or seen.header[8] & _INVERT):
        return False
    return all(
        number in _PLAIN or (number == _SUPPRESS_PREFIXLEN and data == _NO_PREFIXLEN)
        for number, data in seen.attributes
    )
