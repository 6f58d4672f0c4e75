"""UPnP Internet Gateway Devices: the texts of the search, the description, and the calls of a WAN connection. Pure.

A search by UDP is answered with the URL of the router's description, XML which names the services that make mappings
and the URL of each; they are called by SOAP. Every URL has to be one of the router's own address, by plain HTTP: a
router does not get this node to call another machine.

Routers keep what one of them calls a lease, in seconds; many know only permanent mappings and refuse a lease with 725.
"""

import urllib.parse
from collections.abc import Iterable, Mapping

import attrs

from nodespan.controllers.kubespan.mapping.bounded_xml import Element, XmlError, parse
from nodespan.controllers.kubespan.mapping.mapping import MappingError, UnsupportedError
from nodespan.runtime.text.escaping import in_markup

SEARCH_ADDRESS = "239.255.255.250"
SEARCH_PORT = 1900
# The kinds of service that make mappings, the better first.
SERVICES = tuple(
    f"urn:schemas-upnp-org:service:{name}" for name in ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
)
_DEVICES = tuple(f"urn:schemas-upnp-org:device:InternetGatewayDevice:{version}" for version in (1, 2))
# A router has one connection, or a few.
_MOST_CONNECTIONS = 4
_LONGEST_URL = 512

NO_SUCH_ENTRY = 714
CONFLICTS = (718, 729)
ONLY_PERMANENT = 725
_WORDS = {
    401: "it has no such action",
    402: "it finds the request malformed",
    501: "the action failed",
    606: "it does not allow it",
    718: "the external port is taken",
    724: "it maps no other external port than the internal one",
    725: "it makes only permanent mappings",
    728: "it has no room for another mapping",
    729: "the external port is taken",
}


class UpnpFaultError(MappingError):
    """The router refused a call with a code."""

    def __init__(self, code: int) -> None:
        super().__init__(_WORDS.get(code, f"it refuses with the code {code}"))
        self.code = code


@attrs.frozen
class Connection:
    """A service that makes mappings: its kind and the URL that it is called at."""

    service: str
    url: str


def searches() -> tuple[bytes, ...]:
    """The packets of a search."""
    return tuple(
        "\r\n".join(
            (
                "M-SEARCH * HTTP/1.1",
                f"HOST: {SEARCH_ADDRESS}:{SEARCH_PORT}",
                'MAN: "ssdp:discover"',
                "MX: 1",
                f"ST: {device}",
                "",
                "",
            )
        ).encode()
        for device in _DEVICES
    )


def location(packet: bytes, gateway: str) -> str | None:
    """The URL of the description in an answer to a search; None if it has none of the router's own."""
    status, _, rest = packet.decode("latin-1").partition("\r\n")
    if not (status.startswith("HTTP/1.") and status.split(" ")[1:2] == ["200"]):
        return None
    for line in rest.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "location":
            return own_url(value.strip(), "", gateway)
    return None


def own_url(url: str, base: str, gateway: str) -> str | None:
    """The URL, which may be relative to a base; None if it is not one of the router's, by plain HTTP."""
    try:
        joined = urllib.parse.urljoin(base, url)
        parts = urllib.parse.urlsplit(joined)
        is_own = parts.scheme == "http" and parts.hostname == gateway and parts.username is None and parts.port != 0
    except ValueError:
        return None
    return joined if is_own and len(joined) <= _LONGEST_URL and joined.isascii() and joined.isprintable() else None


def connections(description: bytes, url: str, gateway: str) -> tuple[Connection, ...]:
    """The services in a description that make mappings, the better first. Raises MappingError."""
    root = _parsed(description)
    base = own_url(root.value("URLBase") or url, url, gateway) or url
    found: list[Connection] = []
    for element in root.walk():
        if element.name == "service" and element.value("serviceType") in SERVICES:
            control = own_url(element.value("controlURL"), base, gateway)
            if control is not None:
                found.append(Connection(element.value("serviceType"), control))
    if not found:
        raise UnsupportedError("its description names no service that makes mappings")
    return tuple(sorted(found, key=lambda each: SERVICES.index(each.service))[:_MOST_CONNECTIONS])


def call(service: str, action: str, arguments: Mapping[str, str | int]) -> tuple[Mapping[str, str], bytes]:
    """The headers and the body of a call."""
    parts = "".join(f"<{name}>{in_markup(str(value), quotes=False)}</{name}>" for name, value in arguments.items())
    body = (
        '<?xml version="1.0"?>\r\n'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
        f'<s:Body><u:{action} xmlns:u="{service}">{parts}</u:{action}></s:Body></s:Envelope>\r\n'
    )
    headers = {"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": f'"{service}#{action}"'}
    return headers, body.encode()


def result(status: int, body: bytes, action: str, names: Iterable[str]) -> dict[str, str]:
    """The named values of an answer, "" for what it lacks. Raises UpnpFaultError, MappingError."""
    root = _parsed(body)
    if root.first("Fault") is not None:
        code = root.value("errorCode")
        # Longer ones are none, and int() of a very long one would take its time.
        raise UpnpFaultError(int(code) if code.isascii() and code.isdecimal() and len(code) <= 4 else 501)
    answered = root.first(f"{action}Response")
    if status != 200 or answered is None:
        raise MappingError(f"it answers the action {action} with HTTP status {status} and no result", is_certain=False)
    return {name: answered.value(name) for name in names}


def _parsed(data: bytes) -> Element:
    try:
        return parse(data)
    except XmlError as error:
        raise MappingError(f"what it answers cannot be read: {error}", is_certain=False) from error
