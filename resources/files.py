"""Files of the machine.

EtcFileSpec: a desired file below /etc; EtcFileStatus: a written one. The id is the path below /etc.
MachineFileStatus: the result for an entry of `machine.files`.
"""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "files"


@attrs.frozen(kw_only=True)
class EtcFileSpecSpec:
    """A desired file below /etc."""

    contents: bytes = attrs.field(repr=False)
    """The complete contents."""
    mode: int = 0o644
    """The permission bits."""


@attrs.frozen(kw_only=True)
class EtcFileStatusSpec:
    """A file below /etc that was written."""

    spec_version: str = ""
    """The version of the EtcFileSpec that the file was written from."""


EtcFileSpec = ResourceType("EtcFileSpecs.files.talos.dev", EtcFileSpecSpec, namespace=NAMESPACE, sensitive=True)
EtcFileStatus = ResourceType(
    "EtcFileStatuses.files.talos.dev", EtcFileStatusSpec, singular="EtcFileStatus", namespace=NAMESPACE
)


@attrs.frozen(kw_only=True)
class MachineFileStatusSpec:
    """The result for one entry of `machine.files`."""

    path: str = ""
    """The path of the file."""
    op: str = ""
    """What is done: `create`, `append` or `overwrite`."""
    applied: bool = False
    """Whether the file is as the entry says."""
    error: str = ""
    """Why the entry was not applied, "" if it was."""


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
