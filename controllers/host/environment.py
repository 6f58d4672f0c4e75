"""runtime.EnvironmentController: the variables for our own connections and for services.

Later sources win: the agent's own, `talos.environment` of the kernel command line, `machine.env`, EnvironmentConfig
documents. The agent's own variables are not passed on to services.
"""

import os
import re
from collections.abc import Mapping

import trio

from nodespan.controllers.common.cmdline import parameters
from nodespan.controllers.host.etc_files import ETC_FILE_INPUT, ETC_FILE_OUTPUTS, EtcFiles
from nodespan.controllers.host.host import Host
from nodespan.resources.config import MACHINE_CONFIG_ID, EnvironmentConfig, MachineConfig, MachineConfigSpec
from nodespan.resources.files import EtcFileSpecSpec
from nodespan.resources.runtime import ENVIRONMENT_ID, KERNEL_CMDLINE_ID, Environment, EnvironmentSpec, KernelCmdline
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

USER_FILE = "environment.d/50-nodespan.conf"
SYSTEM_FILE = "systemd/system.conf.d/50-nodespan.conf"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = "# Written by nodespan from the machine configuration.\n"


def configured_environment(config: MachineConfigSpec | None, cmdline: str) -> dict[str, str]:
    """The configured variables of all sources."""
    given = (value.partition("=") for value in parameters(cmdline).get("talos.environment", ()))
    variables = {name: value for name, equals, value in given if name and equals}
    if config is not None:
        variables |= config.machine.env
        for document in config.documents_of(EnvironmentConfig):
            variables |= document.variables
    return variables


def environment_files(variables: Mapping[str, str]) -> dict[str, EtcFileSpecSpec]:
    """The files that pass the variables to services and sessions; none without variables.

    What their syntax cannot express is left out, see `unfit_variables`.
    """
    unfit = unfit_variables(variables)
    fitting = {name: value for name, value in sorted(variables.items()) if name not in unfit}
    if not fitting:
        return {}
    # This syntax cannot express an empty value.
    with_value = {name: value for name, value in fitting.items() if value}
    users = "".join(f'{name}="{_quoted(value).replace("$", "$$")}"\n' for name, value in with_value.items())
    system = " ".join(f'"{name}={_quoted(value).replace("%", "%%")}"' for name, value in fitting.items())
    return {
        USER_FILE: EtcFileSpecSpec(contents=f"{_HEADER}{users}".encode()),
        # Only the service manager reads it, and proxies have passwords.
        SYSTEM_FILE: EtcFileSpecSpec(
            contents=f"{_HEADER}[Manager]\nDefaultEnvironment={system}\n".encode(), mode=0o600
        ),
    }


def unfit_variables(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Variables that systemd's files cannot express: invalid names, or values of several lines."""
    return tuple(
        sorted(
            name
            for name, value in variables.items()
            if not _NAME.fullmatch(name) or any(ord(character) < 32 for character in value)
        )
    )


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


class EnvironmentController(Controller):
    """Writes `machined` and, on a machine with systemd, the files it reads."""

    name = "runtime.EnvironmentController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(KernelCmdline, KERNEL_CMDLINE_ID), ETC_FILE_INPUT)
    outputs = (exclusive(Environment), *ETC_FILE_OUTPUTS)

    def __init__(self, host: Host, *, own: Mapping[str, str] | None = None) -> None:
        self._host = host
        self._own = dict(os.environ if own is None else own)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        files = EtcFiles(ctx)
        async for _ in ctx:
            config, line = ctx.find(MachineConfig, MACHINE_CONFIG_ID), ctx.find(KernelCmdline, KERNEL_CMDLINE_ID)
            variables = configured_environment(
                None if config is None else config.spec, "" if line is None else line.spec.cmdline
            )
            everything = sorted(f"{name}={value}" for name, value in (self._own | variables).items())
            await ctx.put(Environment, ENVIRONMENT_ID, EnvironmentSpec(variables=tuple(everything)))
            # Without a configuration the machine is left alone, whatever the kernel command line says.
            has_systemd = await trio.to_thread.run_sync(self._host.exists, "/etc/systemd")
            is_told = has_systemd and config is not None
            unfit = ", ".join(unfit_variables(variables)) if is_told else ""
            message = f"services do not get these variables (invalid name, or a value of several lines): {unfit}"
            await files.publish(
                environment_files(variables) if is_told else {}, problems={"machine.env": message} if unfit else {}
            )
