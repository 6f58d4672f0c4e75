"""Controllers that look at the system the agent runs on."""

from nodespan.controllers.runtime.kernel_cmdline import KernelCmdlineController

# What the entry point of the family stands for.
controllers = (KernelCmdlineController,)
