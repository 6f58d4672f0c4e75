"""Which kernel modules the configuration names, and what /proc/modules and /sys say of one. Pure."""

from typing import Final

from nodespan.controllers.common.kernel_names import MODULE_NAME, MODULE_PARAMETER
from nodespan.controllers.common.quoting import quote
from nodespan.resources.config import KernelModuleConfig, MachineConfigSpec
from nodespan.resources.runtime import KernelModuleSpecSpec, KernelModuleStatusSpec, LoadedKernelModuleSpec

_STATES: Final = {"Live": "live", "Loading": "loading", "Unloading": "unloading"}
_FIELDS = 6
# What the kernel lists is bounded, as all that comes from outside is.
_MOST = 4096
BUILT_IN = KernelModuleStatusSpec(type="built-in", state="built-in")


def configured_modules(config: MachineConfigSpec) -> dict[str, KernelModuleSpecSpec]:
    """The specs by their ids, which are the names; a document wins over the main document."""
    named = [(module.name, module.parameters) for module in config.machine.kernel.modules]
    named += [(document.name, document.parameters) for document in config.documents_of(KernelModuleConfig)]
    return {name: KernelModuleSpecSpec(name=name, parameters=parameters) for name, parameters in named if name}


def module_fault(spec: KernelModuleSpecSpec) -> str:
    """Why a module is not loaded, "" if nothing speaks against it: the names go to a program."""
    if not MODULE_NAME.fullmatch(spec.name):
        return f"{quote(spec.name)} is not the name of a kernel module: write it as lsmod shows it"
    for parameter in spec.parameters:
        if not MODULE_PARAMETER.fullmatch(parameter):
            return f"{quote(parameter)} is not a parameter of a module: write it like name=value"
    return ""


def kernel_name(name: str) -> str:
    """The name of a module as the kernel has it."""
    return name.replace("-", "_")


def resolved_name(said: str) -> str:
    """The first module that an alias stands for, from what `modprobe -R` prints; "" for none."""
    names = said.split()
    return names[0] if names and MODULE_NAME.fullmatch(names[0]) else ""


def built_in_modules(text: str) -> frozenset[str]:
    """The names, in the kernel's form, of what `modules.builtin` lists as paths: `kernel/fs/ext4/ext4.ko`."""
    names = (line.strip().rpartition("/")[2].partition(".ko")[0] for line in text.splitlines())
    return frozenset(map(kernel_name, names))


def listed_modules(text: str) -> dict[str, LoadedKernelModuleSpec]:
    """The modules of the text of /proc/modules, by their names in the kernel."""
    found: dict[str, LoadedKernelModuleSpec] = {}
    for line in text.splitlines()[:_MOST]:
        fields = line.split()
        if len(fields) < _FIELDS:
            continue
        name, size, count, others, state, address = fields[:_FIELDS]
        found[name] = LoadedKernelModuleSpec(
            size=int(size) if size.isdecimal() else 0,
            reference_count=int(count) if count.isdecimal() else 0,
            dependencies=tuple(filter(None, others.strip("-").split(","))),
            state=state,
            address=address,
        )
    return found


def status_of(module: LoadedKernelModuleSpec) -> KernelModuleStatusSpec:
    """The status of a configured module that the kernel lists."""
    return KernelModuleStatusSpec(
        type="dynamic",
        state=_STATES.get(module.state, module.state.lower()),
        size=module.size,
        reference_count=module.reference_count,
        dependencies=module.dependencies,
        address=module.address,
    )
