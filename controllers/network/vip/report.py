"""The status and the desired address of a virtual IP, from all tasks of its operator together."""

from typing import Any

import attrs
import trio

from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.network.operators.base import OperatorContext, OperatorOutput
from nodespan.controllers.network.vip.tally import tally_of
from nodespan.resources.network import AddressSpecSpec, VIPState, VIPStatusSpec


@attrs.frozen(kw_only=True)
class Status:
    """The parts of the status. Of the reasons the first one that there is gets shown.

    `lease_trouble` and `watch_trouble` are failures of etcd at this moment, and then no leader is known;
    `cloud_trouble` is one of the cloud that routes the address; `namesake` is about another node; `reason` is why the
    state is what it is, or why the address was last given up.
    """

    state: VIPState = VIPState.WAITING
    leader: str = ""
    lease: str = ""
    lease_trouble: str = ""
    watch_trouble: str = ""
    cloud_trouble: str = ""
    namesake: str = ""
    reason: str = ""
    problem: str = ""

    @property
    def trouble(self) -> str:
        """Why the state of the election is not known."""
        return self.lease_trouble or self.watch_trouble


class Report:
    """`clock` is for what is shown only."""

    def __init__(self, ctx: OperatorContext, clock: WallOffset) -> None:
        assert ctx.spec.vip is not None
        self._ctx = ctx
        self._ip = ctx.spec.vip.ip
        self._clock = clock
        self._status = Status()
        self.tally = tally_of(ctx.link_name, ctx.spec.vip.ip)
        self._since = clock.now()
        self._is_shown = False
        self._address: AddressSpecSpec | None = None
        # Two concurrent writes could leave behind what one of them has just removed.
        self._writing = trio.Lock()

    @property
    def status(self) -> Status:
        """The parts as they were last reported."""
        return self._status

    async def update(self, **changes: Any) -> None:
        """Change parts of the status."""
        status = attrs.evolve(self._status, **changes)
        if status == self._status:
            return
        if status.state is not self._status.state:
            self._since = self._clock.now()
        self._status = status
        self.tally.elected(status.leader)
        await self._write()

    async def begin(self) -> None:
        """Show that the operator is at work, before anything is known."""
        if not self._is_shown:
            await self._write()

    async def set_address(self, address: AddressSpecSpec | None) -> None:
        """Replace the desired address; None is none."""
        self._address = address
        await self._write()

    async def show_again(self) -> None:
        """The wall clock was set: correct the times that are shown."""
        if self._is_shown:
            await self._write()

    async def _write(self) -> None:
        self._is_shown = True
        async with self._writing:
            parts = self._status
            trouble = parts.problem or parts.trouble or parts.cloud_trouble or parts.namesake
            status = VIPStatusSpec(
                ip=self._ip,
                link_name=self._ctx.link_name,
                state=parts.state,
                leader="" if parts.trouble else parts.leader,
                since=self._clock.text(self._since),
                lease=parts.lease,
                reason=parts.trouble or parts.cloud_trouble or parts.namesake or parts.reason,
                trouble=trouble,
            )
            await self._ctx.report(
                OperatorOutput(
                    addresses=() if self._address is None else (self._address,),
                    vip_status=status,
                    problem=trouble,
                )
            )
