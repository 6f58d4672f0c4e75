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


@attrs.frozen(kw_only=True)
class PortSelector:
    """Ports, each `80` or `8000-8100`, of a protocol."""

    ports: tuple[str, ...] = ()
    protocol: RuleProtocol | None = None


@attrs.frozen(kw_only=True)
class IngressSource:
    """A network that packets come from. What is in `except` of any source of a rule is in none of them."""

    subnet: str = ""
    except_: str = attrs.field(default="", metadata=wire("except"))


@attrs.frozen(kw_only=True)
class NetworkRuleConfig:
    """From where packets to ports of this node are let in."""

    api_version: Literal["v1alpha1"] = "v1alpha1"
    kind: Literal["NetworkRuleConfig"] = "NetworkRuleConfig"
    name: str = ""
    port_selector: PortSelector = PortSelector()
    ingress: tuple[IngressSource, ...] = ()
