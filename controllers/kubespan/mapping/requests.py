"""Who asks a router for port mappings, by PCP, NAT-PMP and UPnP. Loaded once that is configured.

Everything has an end: each question is repeated a few times, so many answers are looked at, of so many bytes, and only
those of the router's own address. What a router serves over HTTP is read from its own address only (`upnp`).
"""

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import TypeVar

import attrs
import trio

from nodespan.controllers.common.http_client import Answer, FetchError, Request, fetch
from nodespan.controllers.kubespan.mapping import nat_pmp, pcp, upnp
from nodespan.controllers.kubespan.mapping.mapping import (
    LIFETIME,
    Granted,
    MappingError,
    PortMapping,
    TakenError,
    UnsupportedError,
    check_external,
)
from nodespan.resources.kubespan import MappingProtocol

T = TypeVar("T")

# How long an answer is waited for after each repetition, in seconds: routers answer at once, or not at all.
WAITS = (0.5, 1.0, 2.0)
# The same for giving back: an agent that stops is waited for.
LAST_WAITS = (0.5, 0.5)
SEARCH_WAITS = (1.5, 2.0)
HTTP_TIMEOUT = 5.0
LAST_HTTP_TIMEOUT = 1.5
_LARGEST_ANSWER = 2048
_LARGEST_BODY = 128 * 1024
# Answers to one repetition that are looked at.
_MOST_ANSWERS = 32
DESCRIPTION = "nodespan"


@attrs.frozen
class Requests:
    """The ports are those that routers listen on; `patience` is a factor for all waits."""

    control_port: int = pcp.PORT
    search_port: int = upnp.SEARCH_PORT
    search_address: str = upnp.SEARCH_ADDRESS
    patience: float = 1.0

    @property
    def _within(self) -> float:
        return HTTP_TIMEOUT * self.patience

    async def client(self, gateway: str) -> str:
        """The address that this node has for a gateway. Raises MappingError."""
        try:
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                await asking.connect((gateway, self.control_port))
                return str(asking.getsockname()[0])
        except OSError as error:
            raise MappingError(f"it cannot be reached: {error.strerror}") from error

    async def prepare(self, protocol: MappingProtocol, gateway: str, client: str, port: int) -> PortMapping:
        """What to ask a router for, with what the protocol needs for it. Raises MappingError."""
        mapping = PortMapping(protocol=protocol, gateway=gateway, client=client, internal_port=port, external_port=port)
        if protocol is MappingProtocol.PCP:
            return attrs.evolve(mapping, nonce=secrets.token_hex(pcp.NONCE_SIZE))
        if protocol is MappingProtocol.NAT_PMP:
            return mapping
        found = await self._connection(gateway, client)
        return attrs.evolve(mapping, control_url=found.url, service=found.service)

    async def map(self, mapping: PortMapping) -> Granted:
        """Ask for a mapping, or for more of its time. Raises MappingError, and TakenError for another port to try."""
        match mapping.protocol:
            case MappingProtocol.PCP:
                packet = pcp.request(mapping, LIFETIME)
                granted = await self._ask(mapping.gateway, packet, lambda answer: pcp.answer(answer, mapping), WAITS)
            case MappingProtocol.NAT_PMP:
                granted = await self._map_by_nat_pmp(mapping)
            case _:
                granted = await self._map_by_upnp(mapping)
        check_external(granted.address, granted.mapping.external_port, is_made=True)
        return granted

    async def give_back(self, mapping: PortMapping) -> None:
        """Delete a mapping; one that is not there is none. Raises MappingError."""
        match mapping.protocol:
            case MappingProtocol.PCP:
                packet = pcp.request(mapping, 0)
                await self._ask(mapping.gateway, packet, lambda answer: pcp.answer(answer, mapping), LAST_WAITS)
            case MappingProtocol.NAT_PMP:
                packet = nat_pmp.request(mapping, 0)
                await self._ask(mapping.gateway, packet, lambda answer: nat_pmp.answer(answer, mapping), LAST_WAITS)
            case _:
                await self._give_back_by_upnp(mapping)

    async def _ask(self, gateway: str, packet: bytes, read: Callable[[bytes], T | None], waits: Sequence[float]) -> T:
        try:
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                # The kernel drops what comes from elsewhere.
                await asking.connect((gateway, self.control_port))
                for wait in waits:
                    await asking.send(packet)
                    with trio.move_on_after(wait * self.patience):
                        for _ in range(_MOST_ANSWERS):
                            found = read(await asking.recv(_LARGEST_ANSWER))
                            if found is not None:
                                return found
                        raise MappingError("it answers something else", is_certain=False)
        except ConnectionRefusedError as error:
            raise UnsupportedError(f"nothing listens at its UDP port {self.control_port}") from error
        except OSError as error:
            raise MappingError(f"it cannot be asked: {error.strerror}") from error
        raise MappingError("it does not answer", is_certain=False)

    async def _map_by_nat_pmp(self, mapping: PortMapping) -> Granted:
        # First whether there is an address: without one a mapping is worth nothing, and would have to be given back.
        address = await self._ask(mapping.gateway, nat_pmp.ADDRESS_REQUEST, nat_pmp.address_answer, WAITS)
        check_external(address, mapping.external_port)
        packet = nat_pmp.request(mapping, LIFETIME)
        port, lifetime = await self._ask(mapping.gateway, packet, lambda answer: nat_pmp.answer(answer, mapping), WAITS)
        return Granted(mapping=attrs.evolve(mapping, external_port=port), address=address, lifetime=lifetime)

    async def _connection(self, gateway: str, client: str) -> upnp.Connection:
        url = await self._search(gateway, client)
        answer = await _fetch(Request(url=url, most=_LARGEST_BODY), self._within)
        if answer.status != 200:
            raise MappingError(f"it answers HTTP status {answer.status} instead of its description")
        found = upnp.connections(answer.body, url, gateway)
        failure: MappingError | None = None
        for connection in found:
            try:
                check_external(await _external_address(connection, self._within), 1)
            except MappingError as error:
                failure = failure or error
            else:
                return connection
        assert failure is not None  # there is at least one connection
        raise failure

    async def _search(self, gateway: str, client: str) -> str:
        """The URL of the router's description. Multicast finds it; firewalls know the answer to what is sent to it."""
        try:
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
                asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(client))
                await asking.bind((client, 0))
                for wait in SEARCH_WAITS:
                    for packet in upnp.searches():
                        for address in (self.search_address, gateway):
                            await asking.sendto(packet, (address, self.search_port))
                    with trio.move_on_after(wait * self.patience):
                        for _ in range(_MOST_ANSWERS):
                            data, source = await asking.recvfrom(_LARGEST_ANSWER)
                            url = upnp.location(data, gateway) if source[0] == gateway else None
                            if url is not None:
                                return url
        except OSError as error:
            raise MappingError(f"it cannot be searched for: {error.strerror}") from error
        raise UnsupportedError("no router answers a search")

    async def _map_by_upnp(self, mapping: PortMapping) -> Granted:
        connection = upnp.Connection(mapping.service, mapping.control_url)
        address = await _external_address(connection, self._within)
        check_external(address, mapping.external_port)
        lifetime = LIFETIME
        if await _is_there_already(connection, mapping, self._within):
            return Granted(mapping=attrs.evolve(mapping, foreign=True), address=address)
        if mapping.foreign:
            # One of its own is recorded as such before it is made.
            raise MappingError("the mapping that somebody else had made is gone")
        try:
            await _add(connection, mapping, LIFETIME, self._within)
        except upnp.UpnpFaultError as error:
            if error.code in upnp.CONFLICTS:
                raise TakenError(str(error)) from error
            if error.code != upnp.ONLY_PERMANENT:
                raise
            lifetime = 0
            await _add(connection, mapping, lifetime, self._within)
        return Granted(mapping=attrs.evolve(mapping, foreign=False), address=address, lifetime=lifetime)

    async def _give_back_by_upnp(self, mapping: PortMapping) -> None:
        connection = upnp.Connection(mapping.service, mapping.control_url)
        within = LAST_HTTP_TIMEOUT * self.patience
        try:
            # Somebody may have it by now: the router was reset since, or this agent was killed long ago.
            if await _is_there_already(connection, mapping, within):
                return
            await _call(connection, "DeletePortMapping", _entry(mapping), (), within)
        except TakenError:
            return
        except upnp.UpnpFaultError as error:
            if error.code != upnp.NO_SUCH_ENTRY:
                raise


def _entry(mapping: PortMapping) -> dict[str, str | int]:
    return {"NewRemoteHost": "", "NewExternalPort": mapping.external_port, "NewProtocol": "UDP"}


async def _is_there_already(connection: upnp.Connection, mapping: PortMapping, within: float) -> bool:
    """Whether such a mapping was made by somebody else. Raises TakenError if the port is mapped elsewhere."""
    names = ("NewInternalClient", "NewInternalPort", "NewPortMappingDescription")
    try:
        found = await _call(connection, "GetSpecificPortMappingEntry", _entry(mapping), names, within)
    except upnp.UpnpFaultError:
        # There is none, or the router shows none: then it refuses what it must.
        return False
    client, port, description = (found[name] for name in names)
    if (client, port) != (mapping.client, str(mapping.internal_port)):
        raise TakenError("the external port is taken")
    # Some routers shorten the description, or leave it out.
    return description != DESCRIPTION and not mapping.granted


async def _add(connection: upnp.Connection, mapping: PortMapping, lifetime: int, within: float) -> None:
    arguments = {
        **_entry(mapping),
        "NewInternalPort": mapping.internal_port,
        "NewInternalClient": mapping.client,
        "NewEnabled": 1,
        "NewPortMappingDescription": DESCRIPTION,
        "NewLeaseDuration": lifetime,
    }
    await _call(connection, "AddPortMapping", arguments, (), within)


async def _external_address(connection: upnp.Connection, within: float) -> IPv4Address:
    found = await _call(connection, "GetExternalIPAddress", {}, ("NewExternalIPAddress",), within)
    try:
        return IPv4Address(found["NewExternalIPAddress"])
    except AddressValueError as error:
        raise MappingError("it has no external address") from error


async def _call(
    connection: upnp.Connection,
    action: str,
    arguments: Mapping[str, str | int],
    names: Sequence[str],
    within: float,
) -> dict[str, str]:
    headers, body = upnp.call(connection.service, action, arguments)
    request = Request(url=connection.url, method="POST", headers=headers, body=body, most=_LARGEST_BODY)
    answer = await _fetch(request, within)
    return upnp.result(answer.status, answer.body, action, names)


async def _fetch(request: Request, within: float) -> Answer:
    try:
        with trio.fail_after(within):
            return await fetch(request, None)
    except FetchError as error:
        raise MappingError(f"over HTTP: {error}", is_certain=False) from error
    except trio.TooSlowError as error:
        raise MappingError("over HTTP: it does not answer in time", is_certain=False) from error
