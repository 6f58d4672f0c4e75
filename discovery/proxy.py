"""Selects the proxy of a connection from environment variables: pure rules.

`https_proxy` is for TLS, `http_proxy` for plain text, in lower or upper case. `no_proxy` lists, separated by
commas, the exceptions:

    *                    everything                       10.0.0.0/8, fd00::/8     addresses of a network
    example.org          the name and all below it        192.0.2.7, 2001:db8::7   an address
    .example.org         all names below it               with :PORT behind        that port only

A proxy is asked to CONNECT (`http://`, also without it), or speaks SOCKS 5 (`socks5://`; `socks5h://` if it is to look
names up). This machine itself is never reached through a proxy.
"""

import ipaddress
from collections.abc import Mapping

from nodespan.discovery.endpoint_url import DialAddress
from nodespan.runtime.api.grpc.client.proxies import Proxy

_LOCALHOST = "localhost"
_HIGHEST_PORT = 0xFFFF


class ProxyError(ValueError):
    """An unusable proxy. The text names the variable, not its value, which may contain a password."""


def proxy_for(target: DialAddress, environment: Mapping[str, str]) -> str | None:
    """The URL of the proxy for a connection, None for a direct one. Raises ProxyError."""
    name = "http_proxy" if target.insecure else "https_proxy"
    given = _variable(environment, name)
    if not given or bypasses(target.host, target.port, _variable(environment, "no_proxy")):
        return None
    return _checked(given if "://" in given else f"http://{given}", name)


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Whether a host, a name or an address without brackets, bypasses the proxy."""
    name = host.lower().rstrip(".")
    address = _address(name)
    if name == _LOCALHOST or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), name, address, port) for entry in no_proxy.split(","))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _matches(entry: str, name: str, address: _Address | None, port: int) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    network = _network(entry)
    if network is None:
        entry, only_port = _split_port(entry)
        if only_port not in (None, port):
            return False
        network = _network(entry.strip("[]"))
    if network is not None:
        return address is not None and address in network
    if address is not None:
        return False
    suffix = entry.removeprefix("*").rstrip(".")
    if suffix.startswith("."):
        return name.endswith(suffix)
    return name == suffix or name.endswith(f".{suffix}")


def _split_port(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if colon and port.isascii() and port.isdecimal() and int(port[:6]) <= _HIGHEST_PORT:
        return host, int(port)
    return entry, None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper(), "")


def _checked(url: str, name: str) -> str:
    try:
        Proxy.parse(url)
    except ValueError as error:
        raise ProxyError(
            f"{name} names a proxy that cannot be used: {error}; write it like http://proxy.example.org:3128"
        ) from error
    return url
