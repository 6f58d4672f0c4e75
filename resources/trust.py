"""Trust: certificate authorities from the configuration, and the bundle of all authorities."""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "secrets"
TRUST_BUNDLE_ID = "ca-bundle"


@attrs.frozen(kw_only=True)
class TrustedRootSpec:
    """The result for one entry of the configuration, which `source` names.

    `subjects` are those of its certificates. `installed` is their path in the system's store, "" if not installed;
    `error` is why they cannot be used, or not be installed.
    """

    source: str = ""
    subjects: tuple[str, ...] = ()
    installed: str = ""
    error: str = ""


@attrs.frozen(kw_only=True)
class TrustBundleSpec:
    """`path` is a file with all authorities, also the system's; `digest` changes with any of them.

    `added` are those of the configuration, as PEM.
    """

    path: str = ""
    digest: str = ""
    added: str = attrs.field(default="", repr=False)


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
