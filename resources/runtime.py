"""The machine that the node runs on."""

import attrs

from runtime.resource import ResourceType

NAMESPACE = "runtime"


@attrs.frozen(kw_only=True)
class KernelCmdlineSpec:
    """The line that the kernel was booted with."""

    cmdline: str = ""


KernelCmdline = ResourceType(
    "KernelCmdlines.runtime.talos.dev",
    KernelCmdlineSpec,
    namespace=NAMESPACE,
    aliases=("cmdline",),
    columns={"Cmdline": ".cmdline"},
)
