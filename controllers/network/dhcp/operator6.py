"""The DHCPv6 operator."""

from contextlib import AbstractAsyncContextManager

from nodespan.controllers.network.dhcp.client6 import Client6, Settings
from nodespan.controllers.network.dhcp.dhcp_sockets import Transport, open_transport6
from nodespan.controllers.network.dhcp.environment import DHCPEnvironment
from nodespan.controllers.network.dhcp.identity import duid6, iaid_of
from nodespan.controllers.network.dhcp.lease import Client, Lease
from nodespan.controllers.network.dhcp.lease6 import lease_of
from nodespan.controllers.network.dhcp.message6 import Code, decode
from nodespan.controllers.network.dhcp.operator import DHCPOperator
from nodespan.controllers.network.dhcp.output import output_of
from nodespan.controllers.network.operators.base import OperatorOutput
from nodespan.resources.network import DHCP6OperatorSpec, LinkStatusSpec, OperatorSpecSpec

_REQUESTED = (Code.NAME_SERVERS, Code.SEARCH_DOMAINS, Code.TIME_SERVERS, Code.SIMPLE_TIME_SERVERS)


class DHCP6Operator(DHCPOperator):
    """A DHCPv6 client on one link, for addresses."""

    def __init__(self, spec: OperatorSpecSpec, environment: DHCPEnvironment) -> None:
        super().__init__(spec, environment)
        self._options = spec.dhcp6 or DHCP6OperatorSpec()

    def client_name(self, link: LinkStatusSpec) -> bytes:
        """See `DHCPOperator`."""
        return duid6(self._options.client_identifier, link.type.number, _bytes_of(link.hardware_addr))

    def client(self, link: LinkStatusSpec, now: float, remembered: Lease | None, *, is_held: bool) -> Client:
        """See `DHCPOperator`."""
        settings = Settings(
            duid=self.client_name(link),
            iaid=_iaid(link),
            requested=_REQUESTED if self._options.skip_hostname_request else (*_REQUESTED, Code.HOST_NAME),
        )
        return Client6(settings, now=now, random=self.environment.random, remembered=remembered, is_held=is_held)

    def open_transport(self, link: LinkStatusSpec) -> AbstractAsyncContextManager[Transport]:
        """See `DHCPOperator`."""
        return open_transport6(self.spec.link_name, link.index, self.environment.netns)

    def parse(self, message: bytes, link: LinkStatusSpec, obtained: float) -> Lease:
        """See `DHCPOperator`."""
        return lease_of(decode(message), _iaid(link), obtained)

    def output(self, lease: Lease) -> OperatorOutput:
        """See `DHCPOperator`."""
        return output_of(
            lease,
            self.spec.link_name,
            metric=self._options.route_metric,
            skip_hostname=self._options.skip_hostname_request,
        )

    async def is_taken(self, address: str, link: LinkStatusSpec) -> bool:
        """Never called: the kernel detects IPv6 duplicates itself."""
        raise AssertionError(f"nothing to check about {address} on link {link.index}")


def _iaid(link: LinkStatusSpec) -> int:
    return int.from_bytes(iaid_of(_bytes_of(link.hardware_addr)))


def _bytes_of(hardware_addr: str) -> bytes:
    return bytes.fromhex(hardware_addr.replace(":", ""))
