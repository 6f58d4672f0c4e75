"""Where a member of etcd is."""

from urllib.parse import urlsplit

from nodespan.etcd.errors import EndpointError

CLIENT_PORT = 2379


def parse_endpoint(text: str) -> str:
    """The endpoint in its one form, `https://HOST:PORT`. Raises EndpointError."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or CLIENT_PORT
    except ValueError as error:
        raise EndpointError(f"{text!r} is not an etcd endpoint: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise EndpointError(f"{text!r} is not an etcd endpoint: write http:// or https:// before the host")
    if not parts.hostname or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise EndpointError(f"{text!r} is not an etcd endpoint: write it as https://HOST:{CLIENT_PORT}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"
