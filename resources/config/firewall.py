"""The documents of the ingress firewall."""

import enum
from typing import Literal

import attrs

from nodespan.runtime.resource import wire


class IngressAction(enum.StrEnum):
    """What happens to incoming packets that no rule is about."""

    ACCEPT = "accept"
    BLOCK = "block"


class RuleProtocol(enum.StrEnum):
    """The protocol of the ports of a rule."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ICMPV6 = "icmpv6"


@attrs.frozen(kw_only=True)
class NetworkDefaultActionConfig:
    """What happens to incoming packets that no NetworkRuleConfig is about; `block` makes the rules exceptions of it."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["NetworkDefaultActionConfig"] = "NetworkDefaultActionConfig"
    ingress: IngressAction = IngressAction.ACCEPT
    """What happens to them."""


@attrs.frozen(kw_only=True)
class PortSelector:
    """Ports of a protocol."""

    ports: tuple[str, ...] = ()
    """The ports, each `80` or `8000-8100`."""
    protocol: RuleProtocol | None = None
    """The protocol."""


@attrs.frozen(kw_only=True)
class IngressSource:
    """A network that packets come from."""

    subnet: str = ""
    """The network."""
    except_: str = attrs.field(default="", metadata=wire("except"))
    """A part of the network that is left out. What is left out of any source of a rule is in none of them."""


@attrs.frozen(kw_only=True)
class NetworkRuleConfig:
    """From where packets to ports of this node are let in."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["NetworkRuleConfig"] = "NetworkRuleConfig"
    name: str = ""
    """The name of the rule."""
    port_selector: PortSelector = PortSelector()
    """The ports that the rule is about."""
    ingress: tuple[IngressSource, ...] = ()
    """From where packets to them are let in."""
