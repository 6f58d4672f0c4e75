"""DHCPv4Config and DHCPv6Config."""

from collections.abc import Iterator

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at
from nodespan.controllers.config.notation import is_hex_bytes
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.resources.config.network import (
    ClientIdentifier,
    DHCPv4Config,
    DHCPv6Config,
)

RULES = RuleSet()


@RULES.document(DHCPv4Config, DHCPv6Config)
def check_dhcp(dhcp: DHCPv4Config | DHCPv6Config) -> Iterator[Finding]:
    """DHCPv4Config and DHCPv6Config."""
    yield from required(dhcp, ("name", dhcp.name))
    is_duid = dhcp.client_identifier is ClientIdentifier.DUID
    if is_duid and not dhcp.duid_raw:
        yield at("duidRaw", message="clientIdentifier duid needs duidRaw", hint="write the DUID in hexadecimal")
    if dhcp.duid_raw and not is_duid:
        yield at("duidRaw", message="duidRaw is used only with clientIdentifier: duid")
    if dhcp.duid_raw and not is_hex_bytes(dhcp.duid_raw):
        yield at("duidRaw", message=f"{quote(dhcp.duid_raw)} is not a hexadecimal text")
