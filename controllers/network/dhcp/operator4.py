"""The DHCPv4 operator."""

from contextlib import AbstractAsyncContextManager

from nodespan.controllers.network.dhcp.client4 import Client4, Settings
from nodespan.controllers.network.dhcp.dhcp_sockets import Transport, open_transport4
from nodespan.controllers.network.dhcp.environment import DHCPEnvironment
from nodespan.controllers.network.dhcp.identity import client_id4
from nodespan.controllers.network.dhcp.lease import Client, Lease
from nodespan.controllers.network.dhcp.lease4 import lease_of
from nodespan.controllers.network.dhcp.message4 import Code, decode
from nodespan.controllers.network.dhcp.operator import DHCPOperator
from nodespan.controllers.network.dhcp.output import output_of
from nodespan.controllers.network.operators.base import OperatorContext, OperatorOutput
from nodespan.kernel.packets.who_has import who_has
from nodespan.resources.network import (
    HOSTNAME_ID,
    ConfigLayer,
    DHCP4OperatorSpec,
    HostnameSpec,
    HostnameSpecSpec,
    HostnameStatus,
    HostnameStatusSpec,
    LinkStatusSpec,
    OperatorSpecSpec,
)

# In this order: some servers leave out what does not fit; classless routes come before routers (RFC 3442).
_REQUESTED = (
    Code.SUBNET_MASK,
    Code.CLASSLESS_ROUTES,
    Code.ROUTERS,
    Code.NAME_SERVERS,
    Code.DOMAIN_NAME,
    Code.HOST_NAME,
    Code.MTU,
    Code.TIME_SERVERS,
    Code.SEARCH_DOMAINS,
    Code.RENEWAL_TIME,
    Code.REBINDING_TIME,
)
_ROUTES = frozenset({Code.CLASSLESS_ROUTES, Code.ROUTERS})
_NAMES = frozenset({Code.HOST_NAME})
# The name of machines without one.
_UNNAMED = "localhost"


def requested_options(spec: DHCP4OperatorSpec) -> tuple[Code, ...]:
    """The options to request."""
    unwanted = (_ROUTES if spec.skip_routes else frozenset()) | (_NAMES if spec.skip_hostname_request else frozenset())
    return tuple(code for code in _REQUESTED if code not in unwanted)


class DHCP4Operator(DHCPOperator):
    """A DHCPv4 client on one link."""

    def __init__(self, spec: OperatorSpecSpec, environment: DHCPEnvironment) -> None:
        super().__init__(spec, environment)
        self._options = spec.dhcp4 or DHCP4OperatorSpec()

    def client_name(self, link: LinkStatusSpec) -> bytes:
        """See `DHCPOperator`."""
        return client_id4(self._options.client_identifier, link.type.number, _bytes_of(link.hardware_addr))

    def client(self, link: LinkStatusSpec, now: float, remembered: Lease | None, *, is_held: bool) -> Client:
        """See `DHCPOperator`."""
        settings = Settings(
            hardware_type=link.type.number,
            hardware_address=_bytes_of(link.hardware_addr),
            client_id=self.client_name(link),
            requested=requested_options(self._options),
        )
        return Client4(settings, now=now, random=self.environment.random, remembered=remembered, is_held=is_held)

    def look_around(self, ctx: OperatorContext, client: Client, now: float) -> None:
        """See `DHCPOperator`: the server gets the host's name."""
        assert isinstance(client, Client4)
        spec, status = ctx.find(HostnameSpec, HOSTNAME_ID), ctx.find(HostnameStatus, HOSTNAME_ID)
        name = own_name(
            None if spec is None else spec.spec,
            None if status is None else status.spec,
            client.lease,
            requests_name=not self._options.skip_hostname_request,
        )
        client.call_host(now, name)

    def open_transport(self, link: LinkStatusSpec) -> AbstractAsyncContextManager[Transport]:
        """See `DHCPOperator`."""
        return open_transport4(self.spec.link_name, link.broadcast_addr, self.environment.netns)

    def parse(self, message: bytes, link: LinkStatusSpec, obtained: float) -> Lease:  # noqa: ARG002
        """See `DHCPOperator`."""
        return lease_of(decode(message), obtained)

    def output(self, lease: Lease) -> OperatorOutput:
        """See `DHCPOperator`."""
        return output_of(
            lease,
            self.spec.link_name,
            metric=self._options.route_metric,
            skip_routes=self._options.skip_routes,
            skip_hostname=self._options.skip_hostname_request,
        )

    async def is_taken(self, address: str, link: LinkStatusSpec) -> bool:
        """See `DHCPOperator`."""
        return await who_has(address, self.spec.link_name, link.hardware_addr, self.environment.netns) is not None


def own_name(
    spec: HostnameSpecSpec | None, status: HostnameStatusSpec | None, lease: Lease | None, *, requests_name: bool
) -> str:
    """The name to send to servers: the configured one, else the current one, unless a server gives another.

    `requests_name`: a server may give one, so none is sent before it had the chance.
    """
    if spec is not None and spec.layer.number > ConfigLayer.OPERATOR.number:
        return spec.hostname
    if requests_name and (lease is None or lease.hostname):
        return ""
    name = spec.hostname if spec is not None else status.hostname if status is not None else ""
    return "" if name == _UNNAMED else name


def _bytes_of(hardware_addr: str) -> bytes:
    return bytes.fromhex(hardware_addr.replace(":", ""))
