"""The documents for the kernel and its devices, and the same sections of the main document."""

from collections.abc import Iterator, Mapping
from typing import Final

from nodespan.controllers.common.kernel_names import MODULE_NAME, MODULE_PARAMETER, file_of_parameter
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, at, under, warn
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.resources.config.host import KernelModuleConfig, SysctlConfig, SysfsConfig, UdevRulesConfig
from nodespan.resources.config.main import KernelModule, Machine

RULES = RuleSet()

_MODULE_HINT: Final = "write the name as lsmod shows it, like br_netfilter"


@RULES.document(SysctlConfig)
def check_sysctls(document: SysctlConfig) -> Iterator[Finding]:
    """SysctlConfig."""
    yield from under(("params",), check_parameters("sysctl", document.params))


@RULES.document(SysfsConfig)
def check_sysfs(document: SysfsConfig) -> Iterator[Finding]:
    """SysfsConfig."""
    yield from under(("params",), check_parameters("sysfs", document.params))


def check_parameters(what: str, parameters: Mapping[str, str]) -> Iterator[Finding]:
    """Names of kernel parameters. That two of them are one file is a warning: the original lets chance decide."""
    first: dict[str, str] = {}
    for name in parameters:
        path = file_of_parameter(name)
        if not name:
            yield _on_key("", message=f"a {what} key is empty", hint="write it like net.ipv4.ip_forward: '1'")
        elif not path:
            yield _on_key(name, message=f"{quote(name)} names no file", hint="write it like net.ipv4.ip_forward")
        elif path in first:
            message = f"{quote(name)} and {quote(first[path])} are one parameter, and the last of them counts"
            yield warn(name, message=message, hint="keep one of the two")
        first.setdefault(path, name)


def _on_key(*path: str, message: str, hint: str) -> Finding:
    return Finding(path=path, message=message, hint=hint, on_key=True)


@RULES.document(KernelModuleConfig)
def check_module_document(document: KernelModuleConfig) -> Iterator[Finding]:
    """KernelModuleConfig."""
    yield from required(document, ("name", document.name))
    yield from _check_module(document, ())


def _check_module(module: KernelModule | KernelModuleConfig, path: Path) -> Iterator[Finding]:
    """Warnings: the original finds out when it loads the module."""
    if module.name and not MODULE_NAME.fullmatch(module.name):
        message = f"{quote(module.name)} is not the name of a kernel module, and is not loaded"
        yield warn(*path, "name", message=message, hint=_MODULE_HINT)
    for index, parameter in enumerate(module.parameters):
        if not MODULE_PARAMETER.fullmatch(parameter):
            message = f"{quote(parameter)} is not a parameter of a module, so the module is not loaded"
            yield warn(*path, "parameters", index, message=message, hint="write it like name=value")


@RULES.document(UdevRulesConfig)
def check_udev_rules(document: UdevRulesConfig) -> Iterator[Finding]:
    """UdevRulesConfig."""
    yield from _check_rules(document.rules)


def _check_rules(rules: tuple[str, ...]) -> Iterator[Finding]:
    for index, rule in enumerate(rules):
        if "\0" in rule:
            yield at("rules", index, message="a rule of udev is text", hint="take the zero byte out")


def check_kernel_sections(machine: Machine) -> Iterator[Finding]:
    """`machine.sysctls`, `sysfs`, `kernel` and `udev`."""
    yield from under(("sysctls",), check_parameters("sysctl", machine.sysctls))
    yield from under(("sysfs",), check_parameters("sysfs", machine.sysfs))
    for index, module in enumerate(machine.kernel.modules):
        path = ("kernel", "modules", index)
        if not module.name:
            yield at(*path, "name", message="a kernel module needs a name", hint=_MODULE_HINT)
        yield from _check_module(module, path)
    yield from under(("udev",), _check_rules(machine.udev.rules))
