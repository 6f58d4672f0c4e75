"""What an operator is: a loop on one link that reports all its specs whenever they change.

The `network.OperatorSpecController` runs it while its link exists, restarts it when it fails, and removes its specs
when it has ended.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import attrs
import trio

from nodespan.resources.network import (
    AddressSpecSpec,
    DHCPLeaseSpec,
    HostnameSpecSpec,
    LinkSpecSpec,
    OperatorSpecSpec,
    ResolverSpecSpec,
    RouteSpecSpec,
    TimeServerSpecSpec,
    VIPStatusSpec,
)
from nodespan.runtime.controller import Logger
from nodespan.runtime.controller.context import Access
from nodespan.runtime.loading import load
from nodespan.runtime.resource import KindLike, Resource

S = TypeVar("S")


@attrs.frozen(kw_only=True)
class OperatorOutput:
    """All specs of an operator at one time, its status, and its problem."""

    addresses: tuple[AddressSpecSpec, ...] = ()
    links: tuple[LinkSpecSpec, ...] = ()
    routes: tuple[RouteSpecSpec, ...] = ()
    hostname: HostnameSpecSpec | None = None
    resolvers: ResolverSpecSpec | None = None
    time_servers: TimeServerSpecSpec | None = None
    vip_status: VIPStatusSpec | None = None
    dhcp_lease: DHCPLeaseSpec | None = None
    problem: str = ""


class OperatorContext:
    """An operator's spec, its access to the state, and turns: `async for _ in ctx` gives one at first and on changes.

    `stopping` is set when the operator must stop by itself; it is cancelled if that takes too long. A task takes
    `next_change`, checks what it waits for, and only then waits for the event: no change is missed in between.
    """

    def __init__(
        self, access: Access, spec: OperatorSpecSpec, report: Callable[[OperatorOutput], Awaitable[None]]
    ) -> None:
        self.spec = spec
        self.link_name = spec.link_name
        self.log: Logger = access.log.bind(link=spec.link_name)
        self.stopping = trio.Event()
        self._access = access
        self._report = report
        # Replaced at each change; `__anext__` is for one reader, this is for any number of tasks.
        self.next_change = trio.Event()
        self._woken = trio.Event()
        self._woken.set()

    def find(self, kind: KindLike[S], id: str) -> Resource[S] | None:
        """The resource, None if there is none; the kind must be an input of the OperatorSpecController."""
        return self._access.find(kind, id)

    def list(self, kind: KindLike[S]) -> tuple[Resource[S], ...]:
        """All resources of a kind that is an input of the OperatorSpecController."""
        return tuple(self._access.list(kind))

    async def report(self, output: OperatorOutput) -> None:
        """Replace the desired output. Returns when it is written, not when it is applied."""
        await self._report(output)

    def wake(self) -> None:
        """Notify the operator that resources may have changed."""
        self._woken.set()
        self.next_change.set()
        self.next_change = trio.Event()

    def stop(self) -> None:
        """Ask the operator to stop."""
        self.stopping.set()
        self.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        await self._woken.wait()
        self._woken = trio.Event()


class Operator(ABC):
    """One operator of one link, for as long as its spec does not change.

    `hands_over`: another node waits for what it holds, so it gets time to release it before the agent stops.
    """

    hands_over: bool = False

    @abstractmethod
    async def run(self, ctx: OperatorContext) -> None:
        """Run until `ctx.stopping` is set, or cancelled. If it returns earlier it is restarted after a second."""


OperatorFactory = Callable[[OperatorSpecSpec], Operator]


class LoadedOperator(Operator):
    """An operator whose module is loaded when the operator begins: most nodes have no use for most of them."""

    def __init__(self, module: str, make: Callable[[], Operator], *, hands_over: bool = False) -> None:
        self.hands_over = hands_over
        self._module = module
        self._make = make
        self._operator: Operator | None = None

    async def run(self, ctx: OperatorContext) -> None:
        """See `Operator`."""
        if self._operator is None:
            await load(self._module)
            self._operator = self._make()
        await self._operator.run(ctx)
