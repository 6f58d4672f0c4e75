"""Where the APIs of the clouds are."""

import attrs


@attrs.frozen(kw_only=True)
class Endpoints:
    """Where the APIs and the metadata services of the clouds are."""

    hcloud: str = "https://api.hetzner.cloud/v1"
    hcloud_metadata: str = "http://169.254.169.254/hetzner/v1/metadata"
    equinix_metal: str = "https://api.equinix.com/metal/v1"
    equinix_metal_metadata: str = "https://metadata.platformequinix.com/metadata"
