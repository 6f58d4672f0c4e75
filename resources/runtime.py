"""The machine that the node runs on."""

import attrs

from nodespan.runtime.resource import ResourceType

NAMESPACE = "runtime"
ENVIRONMENT_ID = "machined"
KERNEL_CMDLINE_ID = "cmdline"


@attrs.frozen(kw_only=True)
class KernelCmdlineSpec:
    """The kernel command line."""

    cmdline: str = ""
    """The arguments, as the kernel shows them in `/proc/cmdline`."""


KernelCmdline = ResourceType(
    "KernelCmdlines.runtime.talos.dev",
    KernelCmdlineSpec,
    namespace=NAMESPACE,
    aliases=("cmdline",),
    columns={"Cmdline": ".cmdline"},
)


@attrs.frozen(kw_only=True)
class EnvironmentSpec:
    """Environment variables for the programs of the machine."""

    variables: tuple[str, ...] = attrs.field(default=(), repr=False)
    """The variables as `NAME=value`, sorted. They may hold passwords of proxies."""


Environment = ResourceType(
    "Environments.runtime.talos.dev",
    EnvironmentSpec,
    namespace=NAMESPACE,
    aliases=("env",),
    columns={"Variables": ".variables"},
    # May contain passwords of proxies.
    sensitive=True,
)

__all__ = [
    "ENVIRONMENT_ID",
    "KERNEL_CMDLINE_ID",
    "NAMESPACE",
    "Environment",
    "EnvironmentSpec",
    "KernelCmdline",
    "KernelCmdlineSpec",
]
