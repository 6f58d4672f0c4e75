"""The machine that the node runs on."""

import datetime

import attrs

from nodespan.runtime.resource import ResourceType, wire

NAMESPACE = "runtime"
PROC_SYS = "proc.sys."
SYS = "sys."
TIME_ID = "node"
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


@attrs.frozen(kw_only=True)
class KernelParamSpecSpec:
    """The desired value of a kernel parameter."""

    value: str
    """The value, as it is written to the file of the parameter."""
    ignore_errors: bool = False
    """Whether it is no problem that the kernel has none of this name."""


@attrs.frozen(kw_only=True)
class KernelParamStatusSpec:
    """A kernel parameter that the agent sets."""

    current: str = ""
    """Its value."""
    default: str = ""
    """Its value before the agent, which comes back."""
    unsupported: bool = False
    """Whether the kernel has none of this name."""


# Some values are secrets, as `stable_secret` is; which of them, statuses know by the modes of their files.
KernelParamSpec = ResourceType(
    "KernelParamSpecs.runtime.talos.dev", KernelParamSpecSpec, namespace=NAMESPACE, sensitive=True
)
KernelParamDefaultSpec = ResourceType(
    "KernelParamDefaultSpecs.runtime.talos.dev", KernelParamSpecSpec, namespace=NAMESPACE
)
KernelParamStatus = ResourceType(
    "KernelParamStatuses.runtime.talos.dev",
    KernelParamStatusSpec,
    singular="KernelParamStatus",
    namespace=NAMESPACE,
    aliases=("sysctls", "kernelparameters", "kernelparams"),
    columns={"Current": ".current", "Default": ".default", "Unsupported": ".unsupported"},
)


@attrs.frozen(kw_only=True)
class KernelModuleSpecSpec:
    """A kernel module to load."""

    name: str = attrs.field(metadata=wire("string"))
    """The name of the module, which the originals call `string`."""
    parameters: tuple[str, ...] = ()
    """Its parameters, as `name=value`."""


@attrs.frozen(kw_only=True)
class KernelModuleStatusSpec:
    """A kernel module that is configured; all is empty for one that is not loaded."""

    type: str = ""
    """`built-in` or `dynamic`."""
    state: str = ""
    """`live`, `loading`, `unloading`, or `built-in`."""
    size: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """Its size in bytes."""
    reference_count: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """How many use it."""
    dependencies: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """The modules that use it, as the kernel lists them."""
    address: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """Where it is in memory, as far as the kernel tells."""


KernelModuleSpec = ResourceType("KernelModuleSpecs.runtime.talos.dev", KernelModuleSpecSpec, namespace=NAMESPACE)
KernelModuleStatus = ResourceType(
    "KernelModuleStatuses.runtime.talos.dev",
    KernelModuleStatusSpec,
    singular="KernelModuleStatus",
    namespace=NAMESPACE,
    aliases=("module", "modules"),
    columns={"Type": ".type", "State": ".state"},
)


@attrs.frozen(kw_only=True)
class LoadedKernelModuleSpec:
    """A module that the kernel has loaded, as it lists it. The id is its name."""

    size: int = 0
    """Its size in bytes."""
    reference_count: int = 0
    """How many use it."""
    dependencies: tuple[str, ...] = attrs.field(default=(), metadata=wire(omit_empty=True))
    """The modules that use it, as the kernel lists them."""
    state: str = ""
    """`Live`, `Loading` or `Unloading`."""
    address: str = ""
    """Where it is in memory, as far as the kernel tells."""


LoadedKernelModule = ResourceType(
    "LoadedKernelModules.runtime.talos.dev",
    LoadedKernelModuleSpec,
    namespace=NAMESPACE,
    columns={"State": ".state"},
)


@attrs.frozen(kw_only=True)
class TimeStatusSpec:
    """Whether the clock may be relied on."""

    synced: bool = False
    """A time service keeps it, the boot timeout has passed, or the configuration leaves it to others."""
    epoch: int = 0
    """How often it was set by more than a quarter of an hour."""
    sync_disabled: bool = False
    """Whether the configuration leaves it to others."""


@attrs.frozen(kw_only=True)
class AdjtimeStatusSpec:
    """How the kernel corrects its clock."""

    offset: datetime.timedelta = datetime.timedelta()
    """What is still to be corrected."""
    frequency_adjustment_ratio: float = 1.0
    """How much faster it runs than it would by itself."""
    max_error: datetime.timedelta = datetime.timedelta()
    """How wrong it is at most."""
    est_error: datetime.timedelta = datetime.timedelta()
    """How wrong it probably is."""
    status: str = ""
    """The flags of the kernel: `STA_PLL | STA_NANO`."""
    constant: int = 0
    """The time constant of the correction."""
    sync_status: bool = False
    """Whether a time service vouches for it."""
    state: str = ""
    """`TIME_OK`, `TIME_ERROR`, or about a leap second."""


@attrs.frozen(kw_only=True)
class NTPSourceSpec:
    """A server or clock as the time service of the machine has it. The id is its name or address."""

    service: str
    """`chrony` or `systemd-timesyncd`."""
    state: str = ""
    """What the service makes of it: `selected`, `combined`, `unusable` and so on."""
    selected: bool = False
    """Whether the clock follows it."""
    stratum: int = 0
    """How far it is from a reference clock; 0 for not known."""
    reach: int = 0
    """How many of the last eight requests were answered."""
    offset: datetime.timedelta | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    """How far its time was from that of this machine, None for not known."""


TimeStatus = ResourceType(
    "TimeStatuses.v1alpha1.talos.dev",
    TimeStatusSpec,
    singular="TimeStatus",
    namespace=NAMESPACE,
    columns={"Synced": ".synced"},
)
AdjtimeStatus = ResourceType(
    "AdjtimeStatuses.v1alpha1.talos.dev",
    AdjtimeStatusSpec,
    singular="AdjtimeStatus",
    namespace=NAMESPACE,
    columns={
        "Offset": ".offset",
        "EstError": ".estError",
        "MaxError": ".maxError",
        "Status": ".status",
        "Sync": ".syncStatus",
    },
)
NTPSource = ResourceType(
    "NTPSources.time.nodespan.dev",
    NTPSourceSpec,
    namespace=NAMESPACE,
    columns={
        "Service": ".service",
        "State": ".state",
        "Selected": ".selected",
        "Stratum": ".stratum",
        "Reach": ".reach",
        "Offset": ".offset",
    },
)

__all__ = [
    "ENVIRONMENT_ID",
    "KERNEL_CMDLINE_ID",
    "NAMESPACE",
    "PROC_SYS",
    "SYS",
    "TIME_ID",
    "AdjtimeStatus",
    "AdjtimeStatusSpec",
    "Environment",
    "EnvironmentSpec",
    "KernelCmdline",
    "KernelCmdlineSpec",
    "KernelModuleSpec",
    "KernelModuleSpecSpec",
    "KernelModuleStatus",
    "KernelModuleStatusSpec",
    "KernelParamDefaultSpec",
    "KernelParamSpec",
    "KernelParamSpecSpec",
    "KernelParamStatus",
    "KernelParamStatusSpec",
    "LoadedKernelModule",
    "LoadedKernelModuleSpec",
    "NTPSource",
    "NTPSourceSpec",
    "TimeStatus",
    "TimeStatusSpec",
]
