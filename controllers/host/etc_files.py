"""Publishes the files below /etc that one controller desires."""

from collections.abc import Mapping

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.common.publication import Publication
from nodespan.resources.config import MachineConfig
from nodespan.resources.files import EtcFileSpec, EtcFileSpecSpec
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.controller import ControllerContext, shared, weak
from nodespan.runtime.resource import FrozenMapping

# To be declared by a controller that publishes such files.
ETC_FILE_INPUT = weak(EtcFileSpec)
ETC_FILE_OUTPUTS = (shared(EtcFileSpec), shared(NetworkProblem))


class EtcFiles:
    """Publishes the files. A file that another controller already owns stays its own and is reported as a problem."""

    def __init__(self, ctx: ControllerContext) -> None:
        self._ctx = ctx
        self._publication: Publication[str, EtcFileSpecSpec] = Publication(ctx, EtcFileSpec)
        self._problems = Problems(ctx, MachineConfig)

    async def publish(
        self, files: Mapping[str, EtcFileSpecSpec], *, problems: Mapping[str, str] = FrozenMapping()
    ) -> None:
        """Replace the published files, by path below /etc; `problems`, by key, concern their sources."""
        taken: dict[str, str] = {}
        for path in files:
            found = self._ctx.find(EtcFileSpec, path)
            if found is not None and found.metadata.owner != self._ctx.name:
                taken[f"/etc/{path}"] = f"/etc/{path} is written by {found.metadata.owner} already: name it only once"
        await self._publication.publish({"": {p: spec for p, spec in files.items() if f"/etc/{p}" not in taken}})
        every = {**problems, **taken}
        await self._problems.show(every, loud=frozenset(every))
