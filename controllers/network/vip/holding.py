"""Adds a virtual IP to its link, keeps it while the lease is valid, and makes sure that it is removed afterwards."""

from collections.abc import Awaitable, Callable

import trio

from nodespan.controllers.network.operators.base import OperatorContext
from nodespan.controllers.network.vip.environment import VIPEnvironment
from nodespan.controllers.network.vip.fencing import kernel_deadline
from nodespan.controllers.network.vip.report import Report
from nodespan.controllers.network.vip.vip_rules import held_address, held_prefix, is_as_held
from nodespan.etcd import LeaseGoneError, LeaseKeeper
from nodespan.kernel.addresses import list_addresses
from nodespan.kernel.packets.announcement import announce
from nodespan.resources.network import (
    AddressSpec,
    AddressStatus,
    LinkStatus,
    NetworkProblem,
    VIPState,
    address_id,
    network_problem_id,
)
from nodespan.runtime.background import background

# How long the applier may take, in seconds: to put the address on the link, and to take it away.
_TAKING = 2.0
GIVING_UP = 3.0
# The applier announces the address when it has put it on the link. One frame may be lost, which a neighbour that knows
# the address from another node would not notice for a minute: so it is announced again, after so many seconds each.
_ANNOUNCE_AGAIN = (1.0, 1.0)


class NotAppliedError(Exception):
    """The address could not be added to the link; says why."""


class Holding:
    """The address of one virtual IP on its link. To be used by one task at a time."""

    def __init__(self, ctx: OperatorContext, report: Report, environment: VIPEnvironment) -> None:
        assert ctx.spec.vip is not None
        self._ctx = ctx
        self._report = report
        self._environment = environment
        self._ip = ctx.spec.vip.ip
        self._id = address_id(ctx.link_name, held_prefix(self._ip))
        # Until it is certain that it is gone.
        self.is_held = False

    async def hold(self, keeper: LeaseKeeper) -> str:
        """Have the address until the lease is not valid, and return the reason; `give_up` confirms that it is gone.

        Raises NotAppliedError.
        """
        self.is_held = True
        try:
            await self._renew(keeper)
            async with background(lambda: self._keep_renewed(keeper)):
                await self._wait_applied(keeper)
                await self._report.update(state=VIPState.LEADER, reason="", problem="")
                self._ctx.log.info("took the virtual IP", ip=self._ip, lease=keeper.lease.hex)
                async with background(lambda: self._announce_again(keeper)):
                    return await keeper.wait_invalid()
        finally:
            with trio.CancelScope(shield=True):
                await self._report.set_address(None)
                await self._report.update(state=VIPState.CANDIDATE)

    async def give_up(self, *, patience: float = GIVING_UP) -> bool:
        """Remove the address and return whether that is confirmed; waits for that up to `patience` seconds."""
        await self._report.set_address(None)
        if not self.is_held:
            return True
        with trio.move_on_after(patience):
            await self._until(self._is_gone)
            self.is_held = False
            return True
        return False

    async def remove_leftover(self) -> bool:
        """Remove the address that an earlier agent held by election, and return whether that is confirmed."""
        if not await self._is_off_link():
            self.is_held = True
            self._ctx.log.info("removes the virtual IP that an earlier agent left", ip=self._ip)
            # An address whose time is over: the applier makes sure that it is not there.
            await self._report.set_address(held_address(self._ctx.spec, self._environment.clock()))
            with trio.move_on_after(GIVING_UP):
                await self._until(self._is_off_link)
        return await self.give_up()

    async def _renew(self, keeper: LeaseKeeper) -> None:
        deadline = kernel_deadline(keeper.valid_until, keeper.lease.ttl)
        await self._report.set_address(held_address(self._ctx.spec, deadline))

    async def _keep_renewed(self, keeper: LeaseKeeper) -> None:
        try:
            while True:
                await keeper.wait_renewed()
                await self._renew(keeper)
        except LeaseGoneError:
            # `wait_invalid` ends too, with the reason.
            return

    async def _wait_applied(self, keeper: LeaseKeeper) -> None:
        became_invalid = False
        with trio.move_on_after(_TAKING) as limit:

            async def stop_when_invalid() -> None:
                nonlocal became_invalid
                await keeper.wait_invalid()
                became_invalid = True
                limit.cancel()

            async with background(stop_when_invalid):
                await self._until(self._is_observed)
            return
        if became_invalid:
            # The caller finds the lease invalid as well, and gives the address up.
            return
        problem = self._ctx.find(NetworkProblem, network_problem_id(AddressSpec.name, self._id))
        why = f"it was not there {_TAKING:g} s later" if problem is None else problem.spec.message
        raise NotAppliedError(f"{self._ctx.link_name} could not be given the address: {why}")

    async def _announce_again(self, keeper: LeaseKeeper) -> None:
        spec = self._ctx.spec.vip
        link = self._ctx.find(LinkStatus, self._ctx.link_name)
        if spec is None or link is None or not spec.gratuitous_arp:
            return
        for pause in _ANNOUNCE_AGAIN:
            await trio.sleep(pause)
            # This process may have been stopped meanwhile, and another node may have the address.
            if keeper.is_valid:
                try:
                    announce(self._ip, self._ctx.link_name, link.spec.hardware_addr, self._environment.netns)
                except OSError as error:
                    self._ctx.log.warning("cannot announce the virtual IP", ip=self._ip, reason=str(error))

    async def _is_observed(self) -> bool:
        return self._ctx.find(AddressStatus, self._id) is not None

    async def _is_gone(self) -> bool:
        return self._ctx.find(AddressSpec, self._id) is None and await self._is_off_link()

    async def _is_off_link(self) -> bool:
        """By the kernel itself: the resources may lag behind, at the start of the agent by all addresses."""
        link = self._ctx.find(LinkStatus, self._ctx.link_name)
        if link is None:
            return True
        found = await trio.to_thread.run_sync(list_addresses, self._environment.netns)
        return not any(each.link_index == link.spec.index and is_as_held(each, self._ip) for each in found)

    async def _until(self, check: Callable[[], Awaitable[bool]]) -> None:
        while True:
            # Taken before the check: a change during it counts.
            change = self._ctx.next_change
            if await check():
                return
            await change.wait()
