"""Files of the machine.

EtcFileSpec: a desired file below /etc; EtcFileStatus: a written one. The id is the path below /etc.
MachineFileStatus: the result for an entry of `machine.files`.
"""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "files"


@attrs.frozen(kw_only=True)
class EtcFileSpecSpec:
    """The complete contents, and the permission bits."""

    contents: bytes = attrs.field(repr=False)
    mode: int = 0o644


@attrs.frozen(kw_only=True)
class EtcFileStatusSpec:
    """The version of the spec that the file was written from."""

    spec_version: str = ""


EtcFileSpec = ResourceType("EtcFileSpecs.files.talos.dev", EtcFileSpecSpec, namespace=NAMESPACE, sensitive=True)
EtcFileStatus = ResourceType(
    "EtcFileStatuses.files.talos.dev", EtcFileStatusSpec, singular="EtcFileStatus", namespace=NAMESPACE
)


@attrs.frozen(kw_only=True)
class MachineFileStatusSpec:
    """The result for one entry of `machine.files`; `error` is the reason if it was not applied."""

    path: str = ""
    op: str = ""
    applied: bool = False
    error: str = ""


def machine_file_id(index: int) -> str:
    """The position of the entry in the configuration, with three digits: `007`."""
    return f"{index:03}"


MachineFileStatus = ResourceType(
    "MachineFileStatuses.files.nodespan.dev",
    MachineFileStatusSpec,
    singular="MachineFileStatus",
    namespace=NAMESPACE,
    columns={"Path": ".path", "Op": ".op", "Applied": ".applied", "Error": ".error"},
)

__all__ = [
    "NAMESPACE",
    "EtcFileSpec",
    "EtcFileSpecSpec",
    "EtcFileStatus",
    "EtcFileStatusSpec",
    "MachineFileStatus",
    "MachineFileStatusSpec",
    "machine_file_id",
]
