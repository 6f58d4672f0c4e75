"""files.EtcFileConfigController and runtime.UdevRuleController: configured files below /etc, and rules of udev as one.

files.EtcFileController writes them, restores what was there, and has udev read its rules.
"""

from nodespan.controllers.host.etc_files import ETC_FILE_INPUT, ETC_FILE_OUTPUTS, EtcFiles
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    EtcFileConfig,
    MachineConfig,
    MachineConfigSpec,
    UdevRulesConfig,
)
from nodespan.resources.files import EtcFileSpecSpec
from nodespan.runtime.controller import Controller, ControllerContext, weak

UDEV_RULES = "udev/rules.d/99-nodespan.rules"


def configured_rules(config: MachineConfigSpec) -> tuple[str, ...]:
    """The rules of the document if there is one, else those of the main document."""
    documents = config.documents_of(UdevRulesConfig)
    return documents[0].rules if documents else config.machine.udev.rules


def rules_text(rules: tuple[str, ...]) -> str:
    """The file: a rule on each line, a line break within one as udev reads it on."""
    return "".join(line.strip("\n").replace("\n", "\\\n") + "\n" for line in rules)


class EtcFileConfigController(Controller):
    """One EtcFileSpec for each document. Validation decides which paths are allowed."""

    name = "files.EtcFileConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), ETC_FILE_INPUT)
    outputs = ETC_FILE_OUTPUTS

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        files = EtcFiles(ctx)
        async for _ in ctx:
            config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
            documents = () if config is None else config.spec.documents_of(EtcFileConfig)
            await files.publish(
                {file.name: EtcFileSpecSpec(contents=file.contents.encode(), mode=file.mode) for file in documents}
            )


class UdevRuleController(Controller):
    """Writes one EtcFileSpec, while there are rules."""

    name = "runtime.UdevRuleController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), ETC_FILE_INPUT)
    outputs = ETC_FILE_OUTPUTS

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        files = EtcFiles(ctx)
        async for _ in ctx:
            config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
            rules = () if config is None else configured_rules(config.spec)
            await files.publish(
                {UDEV_RULES: EtcFileSpecSpec(contents=rules_text(rules).encode(), mode=0o644)} if rules else {}
            )
