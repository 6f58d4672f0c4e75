"""Parses the URL of a discovery service into the address to dial.

    https://host/path    host:443, TLS        grpc://host        host:443, TLS        http://host    host:80, plain text

A port in the URL wins; path and query are ignored. A redirect names only host:port and keeps TLS or plain text.
"""

import urllib.parse

import attrs

_PORTS = {"https": 443, "grpc": 443, "http": 80}
_HIGHEST_PORT = 0xFFFF


class EndpointURLError(ValueError):
    """The text is not a valid discovery service URL."""


@attrs.frozen
class DialAddress:
    """`address` is host:port, with IPv6 addresses in brackets; `insecure` is plain text instead of TLS."""

    address: str
    insecure: bool = False

    @property
    def host(self) -> str:
        """The name or the IP address, without brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.address.rpartition(":")[2])


def parse_endpoint_url(url: str) -> DialAddress:
    """The address to dial for a URL. Raises EndpointURLError."""
    hint = "write it like https://discovery.example.org:3000/"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise EndpointURLError(f"{url!r} is not a URL of a discovery service, {hint}") from error
    default = _PORTS.get(parts.scheme)
    if default is None or not host or port == 0 or any(character.isspace() for character in host):
        raise EndpointURLError(f"{url!r} is not a URL of a discovery service, {hint}")
    return DialAddress(_join(host, port or default), insecure=parts.scheme == "http")


def redirected(current: DialAddress, endpoint: str) -> DialAddress:
    """The address to dial after a redirect to host:port. Raises EndpointURLError."""
    try:
        parts = urllib.parse.urlsplit(f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise EndpointURLError(f"the service redirects to {endpoint!r}, which is not host:port") from error
    if not host or not port or parts.netloc != endpoint or "@" in endpoint:
        raise EndpointURLError(f"the service redirects to {endpoint!r}, which is not host:port")
    return attrs.evolve(current, address=_join(host, port))


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
