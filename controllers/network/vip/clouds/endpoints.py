"""Where the APIs of the clouds are."""

import ssl
from collections.abc import Callable

import attrs


@attrs.frozen(kw_only=True)
class Endpoints:
    """Where the APIs and the metadata services of the clouds are, and how TLS is spoken with them."""

    hcloud: str = "https://api.hetzner.cloud/v1"
    hcloud_metadata: str = "http://169.254.169.254/hetzner/v1/metadata"
    equinix_metal: str = "https://api.equinix.com/metal/v1"
    equinix_metal_metadata: str = "https://metadata.platformequinix.com/metadata"
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context

    def tls_for(self, url: str) -> ssl.SSLContext | None:
        """How TLS is spoken with the server of a URL, None for one without."""
        return self.tls() if url.startswith("https:") else None
