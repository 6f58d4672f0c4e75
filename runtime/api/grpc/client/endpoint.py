"""Where a server is: a host and a port, or a unix socket.

https://host:port    TLS              http://host:port    plain text
host:port            TLS              unix:///run/x.sock  plain text
"""

import urllib.parse

import attrs

_PORTS = {"https": 443, "http": 80}


class EndpointError(ValueError):
    """The text is not an endpoint."""


@attrs.frozen
class Endpoint:
    """`host` is a name or an address without brackets, "" for a unix socket, which has a `path` instead.

    `server_name` is the name in the server's certificate, unless that is the host's.
    """

    host: str
    port: int = 0
    secure: bool = True
    server_name: str = ""
    path: str = ""

    @classmethod
    def unix(cls, path: str) -> "Endpoint":
        """A unix socket."""
        return cls("", secure=False, path=path)

    @classmethod
    def parse(cls, text: str, *, default_port: int | None = None) -> "Endpoint":
        """The endpoint of a URL. Raises EndpointError."""
        scheme, separator, rest = text.partition("://")
        if scheme.startswith("unix:"):
            scheme, separator, rest = "unix", "://", scheme.removeprefix("unix:")
        if not separator:
            scheme, rest = "https", text
        if scheme == "unix" and rest.startswith("/"):
            return cls.unix(rest)
        try:
            parts = urllib.parse.urlsplit(f"//{rest}")
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise EndpointError(f"{text!r} is not an endpoint: {error}") from error
        if scheme not in _PORTS or not host or port == 0 or parts.path.strip("/") or "@" in parts.netloc:
            raise EndpointError(f"{text!r} is not an endpoint: write it like https://192.0.2.1:50000")
        return cls(host, port or default_port or _PORTS[scheme], secure=scheme == "https")

    @property
    def authority(self) -> str:
        """What requests name as their server."""
        return "localhost" if self.path else _join(self.host, self.port)

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else _join(self.host, self.port)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
