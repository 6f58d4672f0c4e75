"""runtime.KernelCmdlineController: shows the line that the kernel was booted with."""

from pathlib import Path

from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline, KernelCmdlineSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive


class KernelCmdlineController(Controller):
    """Writes `cmdline` once. Where there is no such file there is no such resource."""

    name = "runtime.KernelCmdlineController"
    outputs = (exclusive(KernelCmdline),)

    def __init__(self, *, path: Path = Path("/proc/cmdline")) -> None:
        self._path = path

    async def run(self, ctx: ControllerContext) -> None:
        """Read the file and end."""
        if self._path.exists():
            text = self._path.read_text(encoding="utf-8", errors="replace").strip()
            await ctx.put(KernelCmdline, KERNEL_CMDLINE_ID, KernelCmdlineSpec(cmdline=text))
