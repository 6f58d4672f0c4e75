"""Trust: certificate authorities from the configuration, and the bundle of all authorities."""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "secrets"
TRUST_BUNDLE_ID = "ca-bundle"


@attrs.frozen(kw_only=True)
class TrustedRootSpec:
    """The result for one entry of the configuration."""

    source: str = ""
    """The document and name of the entry."""
    subjects: tuple[str, ...] = ()
    """The subjects of its certificates."""
    installed: str = ""
    """Where the certificates are in the system's store, "" if they are not there."""
    error: str = ""
    """Why the certificates cannot be used or installed, "" if they can."""


@attrs.frozen(kw_only=True)
class TrustBundleSpec:
    """The bundle of all trusted authorities."""

    path: str = ""
    """A file with all authorities, the system's included."""
    digest: str = ""
    """A digest of that file, which changes with any of them."""
    added: str = attrs.field(default="", repr=False)
    """The authorities of the configuration, as PEM."""


TrustedRoot = ResourceType(
    "TrustedRoots.secrets.nodespan.dev",
    TrustedRootSpec,
    namespace=NAMESPACE,
    columns={"Source": ".source", "Subjects": ".subjects", "Installed": ".installed", "Error": ".error"},
)
TrustBundle = ResourceType(
    "TrustBundles.secrets.nodespan.dev",
    TrustBundleSpec,
    namespace=NAMESPACE,
    columns={"Path": ".path", "Digest": ".digest"},
)

__all__ = [
    "NAMESPACE",
    "TRUST_BUNDLE_ID",
    "TrustBundle",
    "TrustBundleSpec",
    "TrustedRoot",
    "TrustedRootSpec",
]
