"""files.EtcFileConfigController: the configured files below /etc."""

from nodespan.controllers.host.etc_files import ETC_FILE_INPUT, ETC_FILE_OUTPUTS, EtcFiles
from nodespan.resources.config import MACHINE_CONFIG_ID, EtcFileConfig, MachineConfig
from nodespan.resources.files import EtcFileSpecSpec
from nodespan.runtime.controller import Controller, ControllerContext, weak


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
