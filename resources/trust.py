"""Whom the node trusts: certificate authorities that the configuration adds, and the bundle of all there are."""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "secrets"
TRUST_BUNDLE_ID = "ca-bundle"


@attrs.frozen(kw_only=True)
class TrustedRootSpec:
    """What became of one entry of the configuration, which `source` names.

    `subjects` are those of its certificates. `installed` is where the system has them, "" if it does not; `error` is
    why they cannot be used at all, or the system not be told.
    """

    source: str = ""
    subjects: tuple[str, ...] = ()
    installed: str = ""
    error: str = ""


@attrs.frozen(kw_only=True)
class TrustBundleSpec:
    """`path` is a file of all the authorities, those of the system included; `digest` changes when any of them does.

    `added` are those that the configuration adds, as PEM.
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
