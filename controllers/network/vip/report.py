"""What a virtual IP's operator says of itself and wants, from all of its tasks together."""

from collections.abc import Callable
from typing import Any

import attrs
import trio

from nodespan.controllers.network.operators.base import OperatorContext, OperatorOutput
from nodespan.resources.network import AddressSpecSpec, VIPState, VIPStatusSpec
from nodespan.runtime.codec.plain import format_time


@attrs.frozen(kw_only=True)
class Saying:
    """The parts of the status. Of the reasons for how things are the first is shown that there is.

    `lease_trouble` and `watch_trouble` are with etcd, now, and then nobody is known to lead; `namesake` is with another
    node; `reason` is why the state is what it is, or why the address was given up last.
    """

    state: VIPState = VIPState.WAITING
    leader: str = ""
    lease: str = ""
    lease_trouble: str = ""
    watch_trouble: str = ""
    namesake: str = ""
    reason: str = ""
    problem: str = ""

    @property
    def trouble(self) -> str:
        """Why nothing is known of the election."""
        return self.lease_trouble or self.watch_trouble


class Report:
    """`wall` gives the time of day in nanoseconds."""

    def __init__(self, ctx: OperatorContext, wall: Callable[[], int]) -> None:
        assert ctx.spec.vip is not None
        self._ctx = ctx
        self._ip = ctx.spec.vip.ip
        self._wall = wall
        self._saying = Saying()
        self._since = format_time(wall())
        self._address: AddressSpecSpec | None = None
        # Two that write at a time would leave behind what one of them has just taken away.
        self._writing = trio.Lock()

    @property
    def saying(self) -> Saying:
        """What was said last."""
        return self._saying

    async def say(self, **changes: Any) -> None:
        """Change parts of the status."""
        saying = attrs.evolve(self._saying, **changes)
        if saying == self._saying:
            return
        if saying.state is not self._saying.state:
            self._since = format_time(self._wall())
        self._saying = saying
        await self._write()

    async def want(self, address: AddressSpecSpec | None) -> None:
        """This is the address wanted from now on."""
        self._address = address
        await self._write()

    async def _write(self) -> None:
        async with self._writing:
            saying = self._saying
            status = VIPStatusSpec(
                ip=self._ip,
                link_name=self._ctx.link_name,
                state=saying.state,
                leader="" if saying.trouble else saying.leader,
                since=self._since,
                lease=saying.lease,
                reason=saying.trouble or saying.namesake or saying.reason,
            )
            await self._ctx.report(
                OperatorOutput(
                    addresses=() if self._address is None else (self._address,),
                    vip_status=status,
                    problem=saying.problem or saying.namesake,
                )
            )
