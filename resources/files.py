"""EtcFileSpec: a file below /etc as it is wanted; EtcFileStatus: it has been written. The id is the path below /etc."""

import attrs

from runtime.resource import ResourceType

NAMESPACE = "files"


@attrs.frozen(kw_only=True)
class EtcFileSpecSpec:
    """The whole contents, and the permission bits."""

    contents: bytes = attrs.field(repr=False)
    mode: int = 0o644


@attrs.frozen(kw_only=True)
class EtcFileStatusSpec:
    """The version of the spec that the file was written from."""

    spec_version: str = ""


EtcFileSpec = ResourceType("EtcFileSpecs.files.talos.dev", EtcFileSpecSpec, namespace=NAMESPACE, sensitive=True)
EtcFileStatus = ResourceType("EtcFileStatuses.files.talos.dev", EtcFileStatusSpec, namespace=NAMESPACE)

__all__ = [
    "NAMESPACE",
    "EtcFileSpec",
    "EtcFileSpecSpec",
    "EtcFileStatus",
    "EtcFileStatusSpec",
]
