"""Hetzner Cloud: a private address is an alias IP of one server, a public one a floating IP that one server has.

Which of them it is follows from the address and the networks of the server: a private address in one of their ranges
is an alias IP there. The aliases of a server in a network can only be set all together; so those beside the virtual IP
are read and kept, of this server and of the one that loses it.
"""

import ipaddress
import random
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from nodespan.controllers.network.vip.clouds.api import (
    ATTEMPTS,
    WAITS,
    Access,
    CloudAPI,
    CloudError,
    ConflictError,
    Dialect,
    Failure,
    Permit,
    field,
    metadata,
    no_permit,
    optional,
)
from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from nodespan.resources.network import VIPHCloudSpec
from nodespan.runtime.text.escaping import bounded

_NAME = "Hetzner Cloud"
_MOST_DIGITS = 18
# Lists of aliases are read, and set all together: two virtual IPs of one agent do so one after the other.
_LISTS: trio.lowlevel.RunVar[trio.Lock] = trio.lowlevel.RunVar("aliases at Hetzner Cloud")
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


def _failure(content: Any) -> Failure:
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, dict):
        return Failure()
    return Failure(code=str(error.get("code") or ""), message=str(error.get("message") or ""))


_DIALECT = Dialect(
    name=_NAME,
    authorize=lambda token: {"Authorization": f"Bearer {token}"},
    headers={"User-Agent": "nodespan hcloud"},
    failure=_failure,
    again_codes=("conflict", "rate_limit_exceeded", "bad_gateway", "timeout"),
)


class HCloud:
    """A virtual IP at Hetzner Cloud."""

    def __init__(
        self, ip: str, spec: VIPHCloudSpec, endpoints: Endpoints, access: Access, source: random.Random | None = None
    ) -> None:
        self._ip = ipaddress.ip_address(ip)
        self._api = CloudAPI(endpoints.hcloud, spec.api_token, _DIALECT, access=access, random=source)
        self._metadata = endpoints.hcloud_metadata.rstrip("/")
        self._endpoints = endpoints
        self._access = access
        self._random = source
        self._device = spec.device_id
        # 0 for a floating IP, None as long as that is not known.
        self._network: int | None = spec.network_id or None

    async def resolve(self) -> None:
        """See `Cloud`."""
        if not self._device:
            url = f"{self._metadata}/instance-id"
            self._device = _id(await metadata(url, _NAME, access=self._access()))
        if self._network is None:
            self._network = await self._find_network() if self._is_private() else 0

    def _is_private(self) -> bool:
        return any(self._ip in network for network in _PRIVATE if network.version == self._ip.version)

    async def _find_network(self) -> int:
        server = field(await self._api.get(f"servers/{self._device}"), dict, "server")
        networks = [field(network, int, "network") for network in field(server, list, "private_net")]
        if not networks:
            raise CloudError(
                f'trying to assign private vip (alias IP) "{self._ip}", '
                "but no private network is assigned to the server"
            )
        for number in networks:
            network = await self._api.get(f"networks/{number}")
            if self._ip in _network(field(network, str, "network", "ip_range")):
                return number
        return 0

    async def acquire(self, permit: Permit) -> None:
        """See `Cloud`."""
        network = self._network
        if network:
            await self._with_lists(lambda: self._acquire_alias(network, permit))
        else:
            floating = await self._floating_ip()
            if optional(floating, int, "server") != self._device:
                path = f"floating_ips/{field(floating, int, 'id')}/actions/assign"
                await self._api.post(path, {"server": self._device}, permit)

    async def _acquire_alias(self, network: int, permit: Permit) -> None:
        own: list[str] = []
        for server in await self._api.get_all("servers", "servers"):
            number = field(server, int, "id")
            aliases = _aliases(server, network)
            if number == self._device:
                own = aliases
            elif str(self._ip) in aliases:
                await self._set_aliases(number, network, _without(aliases, str(self._ip)), permit)
        if str(self._ip) not in own:
            await self._set_aliases(self._device, network, [*own, str(self._ip)], permit)

    async def is_ours(self) -> bool:
        """See `Cloud`."""
        if self._network:
            server = field(await self._api.get(f"servers/{self._device}"), dict, "server")
            return str(self._ip) in _aliases(server, self._network)
        return optional(await self._floating_ip(), int, "server") == self._device

    async def release(self) -> None:
        """See `Cloud`. A floating IP stays assigned until the next holder takes it."""
        network = self._network
        if network:
            await self._with_lists(lambda: self._release_alias(network))

    async def _release_alias(self, network: int) -> None:
        server = field(await self._api.get(f"servers/{self._device}"), dict, "server")
        aliases = _aliases(server, network)
        if str(self._ip) in aliases:
            await self._set_aliases(self._device, network, _without(aliases, str(self._ip)), no_permit)

    async def _with_lists(self, change: Callable[[], Awaitable[None]]) -> None:
        """Read lists and set them; anew where another machine was faster. Raises CloudError."""
        for attempt in range(1, ATTEMPTS):
            try:
                async with _lists():
                    await change()
            except ConflictError:
                await trio.sleep(WAITS.spread(WAITS.after(attempt), self._random))
            else:
                return
        async with _lists():
            await change()

    async def _set_aliases(self, server: int, network: int, aliases: list[str], permit: Permit) -> None:
        body = {"network": network, "alias_ips": aliases}
        path = f"servers/{server}/actions/change_alias_ips"
        await self._api.post(path, body, permit, rests_on_reading=True)

    async def _floating_ip(self) -> Any:
        for floating in await self._api.get_all("floating_ips", "floating_ips"):
            if self._ip in _network(field(floating, str, "ip")):
                return floating
        raise CloudError(
            f'error assigning "{self._ip}" to server {self._device} in network 0: floating IP / alias IP is not found'
        )


def _lists() -> trio.Lock:
    try:
        return _LISTS.get()
    except LookupError:
        lock = trio.Lock()
        _LISTS.set(lock)
        return lock


def _aliases(server: Any, network: int) -> list[str]:
    """The alias IPs of a server in a network."""
    for each in field(server, list, "private_net"):
        if field(each, int, "network") == network:
            return [alias for alias in optional(each, list, "alias_ips") or () if isinstance(alias, str)]
    return []


def _without(aliases: list[str], ip: str) -> list[str]:
    return [alias for alias in aliases if alias != ip]


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A range, or an address by itself; a floating IPv6 address is a whole network."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise CloudError(f"{_NAME} has {bounded(text)!r} where a network or an address belongs") from error


def _id(data: bytes) -> int:
    text = data.decode("ascii", errors="replace").strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text)):
        raise CloudError(f"the metadata service of {_NAME} does not tell the number of this server: is it one of its?")
    return int(text)
