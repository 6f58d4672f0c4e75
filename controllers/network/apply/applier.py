"""The queue controller around a reconciler of the network: specs of one type in, `NetworkProblem` out.

While the agent takes over from one that was killed, the specs say what that one has done already. Nothing of it is done
again, but what nothing desires any more is removed.
"""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.network.apply.problem_report import ProblemReport, is_not_permitted
from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.controller import (
    Access,
    Driver,
    Output,
    Plan,
    QueueContext,
    QueueController,
    Reconciler,
    Specs,
    mapped,
    primary,
    shared,
)
from nodespan.runtime.resource import Metadata, Pointer

S = TypeVar("S")
W = TypeVar("W")
R = TypeVar("R")


class Applier(QueueController, Generic[S, W, R]):
    """Runs a reconciler of these parts, with conflicts damped."""

    # So many changed specs at a time become one round of work.
    concurrency = 64

    def __init__(
        self, specs: Specs[S], plan: Plan[W], driver: Driver[W, R], *, more_outputs: tuple[Output, ...] = ()
    ) -> None:
        self.inputs = (primary(specs.type), mapped(ConfigStatus, CONFIG_STATUS_ID))
        self.outputs = (shared(NetworkProblem), *more_outputs)
        damper = Damper()
        self._reconciler = Reconciler(
            desired=specs,
            plan=plan,
            driver=driver,
            retries=damper,
            report=ProblemReport(specs.type, damper),
            hold=is_taking_over,
            is_harmless=is_not_permitted,
        )

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Have the next round take the spec up, and wait for its end."""
        await self._reconciler.reconcile(ctx, item.id)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """What goes on with the configuration is a matter of all specs at once."""
        self._reconciler.wake()
        return ()

    async def run(self, ctx: QueueContext) -> None:
        """Follow specs and kernel."""
        await self._reconciler.run(ctx)


def is_taking_over(ctx: Access) -> bool:
    """Whether the agent is taking over from one that was killed."""
    status = ctx.find(ConfigStatus, CONFIG_STATUS_ID)
    return status is not None and status.spec.taking_over
