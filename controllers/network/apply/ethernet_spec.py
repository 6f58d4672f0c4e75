"""network.EthernetSpecController: gives network cards their settings, and restores what they had before.

Nothing is opened and no driver is asked before there is a spec. Drivers notify of changes, so that what another program
changes is put right, and less and less often if it keeps doing so.
"""

import errno
import functools
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import attrs
import trio

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.interests import LinkAtIndex, LinkNamed
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.link_follower import LinkFollower
from nodespan.controllers.network.apply.prior_objects import load_record
from nodespan.kernel.hardware.ethtool_news import DriverNews, open_driver_news
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import LINKS_WITHOUT_QUEUES, KernelLink, Links
from nodespan.resources.network import EthernetSpec, EthernetSpecSpec
from nodespan.runtime.controller import Access, Applied, Decision, Driver, Look, Plan, Specs
from nodespan.runtime.loading import load

if TYPE_CHECKING:
    from nodespan.kernel.hardware.ethernet_settings import EthernetSettings
    from nodespan.kernel.hardware.ethtool_netlink import EthtoolNetlink

_PLAN = "nodespan.controllers.network.apply.ethernet_plan"
_NETLINK = "nodespan.kernel.hardware.ethtool_netlink"

_KIND = "ethernet"
_Seen: TypeAlias = tuple[dict[int, "EthernetSettings"], dict[int, str], str]


@attrs.frozen
class EthernetWork:
    """A link that is to have these settings; None: those that it had before."""

    name: str
    index: int
    spec: EthernetSpecSpec | None


class EthernetSpecController(Applier[EthernetSpecSpec, EthernetWork, frozenset[int]]):
    """What no spec names is never touched."""

    name = "network.EthernetSpecController"

    def __init__(
        self, *, netns: str | None = None, kernel: KernelAccess | None = None, prior: PriorState | None = None
    ) -> None:
        specs = Specs(EthernetSpec)
        record = prior or PriorState(None)
        driver = EthernetDriver(kernel or NetworkNamespace(netns), specs, record)
        super().__init__(specs, EthernetPlan(specs, driver, record), driver)


class EthernetDriver(Driver[EthernetWork, frozenset[int]]):
    """A mirror of the links, the drivers' notifications, and what drivers report of the links that specs are about."""

    def __init__(self, kernel: KernelAccess, specs: Specs[EthernetSpecSpec], prior: PriorState) -> None:
        self.links = LinkTable()
        self.settings: dict[int, EthernetSettings] = {}
        # Why the driver of a link could not be asked.
        self.silent: dict[int, str] = {}
        # Why no driver can be asked, "" if they can.
        self.lacking = ""
        self._kernel = kernel
        self._specs = specs
        self._prior = prior
        self._wake: Callable[[], None] = lambda: None
        self._stack = AsyncExitStack()
        self._follower: LinkFollower | None = None
        # Links whose drivers have news; None: all.
        self._due: set[int] | None = None

    def find(self, name: str) -> KernelLink | None:
        """The link of a spec, by any of its names."""
        return self.links.real(name) or self.links.other(name)

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        """Opens nothing yet."""
        self._wake = wake
        async with AsyncExitStack() as self._stack:
            try:
                yield
            finally:
                self._follower = None

    async def observe(self, look: Look) -> Collection[Hashable]:
        """The links that changed, and those whose drivers have news; their settings are read."""
        if self._follower is None:
            if not look.ids:
                return ()
            await self._begin()
        assert self._follower is not None
        topics = set(await self._follower.take())
        due, self._due = self._due, set()
        about = {link.status.index for id in self._specs.ids() if (link := self.find(id)) is not None}
        asked = {link.status.index for id in look.ids if (link := self.find(id)) is not None}
        changed = {topic.at for topic in topics if isinstance(topic, LinkAtIndex)}
        # Before work, the worker reads them anyway.
        wanted = about if due is None or look.everything else about & (asked | changed | due)
        if wanted:
            await self._read(look, frozenset(wanted))
        for index in self.settings.keys() - about:
            del self.settings[index]
        for index in self.silent.keys() - about:
            del self.silent[index]
        return topics | {LinkAtIndex(index) for index in wanted}

    async def _read(self, look: Look, indexes: frozenset[int]) -> None:
        def is_as_before(seen: _Seen) -> bool:
            return seen == (self.settings, self.silent, self.lacking)

        found, silent, self.lacking = await look.read(
            functools.partial(_settings_of, self._kernel.netns, indexes), is_as_before
        )
        if not self.lacking:
            self.settings = {index: each for index, each in self.settings.items() if index not in silent} | found
            self.silent = {index: text for index, text in self.silent.items() if index not in indexes} | silent

    async def _begin(self) -> None:
        for index in tuple(self.links):
            # Those of an earlier run.
            self.links.set(index, None)
        await load(_PLAN, _NETLINK)
        await load_record(self._prior)
        mirror = self._kernel.mirror(Links(), self._wake, LINKS_WITHOUT_QUEUES)
        self._follower = LinkFollower(await self._stack.enter_async_context(mirror), self.links)
        news = self._stack.enter_context(open_driver_news(self._kernel.netns))
        if news is not None:
            nursery = await self._stack.enter_async_context(trio.open_nursery())
            self._stack.callback(nursery.cancel_scope.cancel)
            nursery.start_soon(self._listen, news)
        self._due = None

    async def _listen(self, news: DriverNews) -> None:
        while True:
            indexes = await news.receive()
            self._due = None if indexes is None or self._due is None else self._due | indexes
            self._wake()

    def job(self, work: Mapping[str, EthernetWork]) -> Callable[[], Applied[frozenset[int]]]:
        """Set what differs, link by link."""
        return functools.partial(_apply, self._kernel.netns, self._prior, work, frozenset(self.links))

    async def applied(self, ctx: Access, result: frozenset[int]) -> None:  # noqa: ARG002
        """Ask the drivers of these links again."""
        if self._due is not None:
            self._due |= result


class EthernetPlan(Plan[EthernetWork]):
    """Compares what the drivers report with the specs. Of several specs for one link, that of its real name decides."""

    def __init__(self, specs: Specs[EthernetSpecSpec], driver: EthernetDriver, prior: PriorState) -> None:
        self._specs = specs
        self._driver = driver
        self._prior = prior

    def concerned(self, topics: Iterable[Hashable]) -> set[str]:
        """The specs of these links, by the name that each has for its link."""
        found = set(topics)
        named = {topic.name for topic in found if isinstance(topic, LinkNamed)}
        return named | {
            id
            for id in self._specs.ids()
            if (link := self._driver.find(id)) is not None and LinkAtIndex(link.status.index) in found
        }

    def decide(self, id: str) -> Mapping[str, Decision[EthernetWork]]:
        """Decide on all specs of a link together."""
        link = self._driver.find(id)
        if link is None:
            # Nothing is left of a link's settings when it is gone.
            return {id: Decision() if id in self._specs.leaving else Decision(waiting=f"there is no link {id}")}
        ids = [other for other in self._specs.ids() if self._driver.find(other) is link]
        desired = sorted((other for other in ids if other in self._specs.desired), key=lambda o: (o != link.name, o))
        if not desired:
            return {other: self._decide(link, None) for other in ids}
        owner = desired[0]
        decided = self._decide(link, self._specs.desired[owner])
        beside = Decision[EthernetWork](
            refused=f"{link.name} has its settings from the EthernetConfig {owner}: make one document of the two"
        )
        return {
            other: decided if other == owner else beside if other in self._specs.desired else Decision()
            for other in ids
        }

    def _decide(self, link: KernelLink, spec: EthernetSpecSpec | None) -> Decision[EthernetWork]:
        from nodespan.controllers.network.apply import ethernet_plan

        index = link.status.index
        record = ethernet_plan.from_plain(self._prior.journal.get(_slot(index)))
        settings = self._driver.settings.get(index)
        if self._driver.lacking:
            return Decision(refused=self._driver.lacking)
        if index in self._driver.silent:
            # The worker asks it again, and with every try less often.
            return Decision(work=EthernetWork(link.name, index, spec), instead=self._driver.silent[index])
        if settings is None:
            return Decision(waiting=f"the driver of {link.name} was not asked yet")
        steps = ethernet_plan.plan(spec, settings, record)
        if steps.values or steps.noted != record or steps.kept != record:
            work = EthernetWork(link.name, index, spec)
            return Decision(work=work, instead=ethernet_plan.in_words(steps.values, settings))
        return Decision(refused=steps.refused, warning=steps.warning)


def _settings_of(netns: str | None, indexes: frozenset[int]) -> "_Seen":
    """In a worker thread; also of which links the driver does not answer, with what it says (a card that hangs).

    The third is why no driver can be asked, "" if they can.
    """
    from nodespan.kernel.hardware.ethtool_netlink import open_ethtool_netlink

    found: dict[int, EthernetSettings] = {}
    silent: dict[int, str] = {}
    try:
        with open_ethtool_netlink(netns) as ethtool:
            for index in indexes:
                try:
                    found[index] = ethtool.settings(index)
                except OSError as error:
                    silent[index] = f"its driver does not answer: {error.strerror}"
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return {}, {}, str(error.strerror)
    return found, silent, ""


def _apply(
    netns: str | None, prior: PriorState, work: Mapping[str, EthernetWork], known: frozenset[int]
) -> Applied[frozenset[int]]:
    """In a worker thread. `known` are all links that there are."""
    from nodespan.controllers.network.apply import ethernet_plan
    from nodespan.kernel.hardware.ethtool_netlink import open_ethtool_netlink

    failed: dict[str, Exception] = {}
    with open_ethtool_netlink(netns) as ethtool:
        for id, each in work.items():
            slot = _slot(each.index)
            record = ethernet_plan.from_plain(prior.journal.get(slot))
            try:
                earlier = _settings(ethtool, each)
                steps = ethernet_plan.plan(each.spec, earlier, record)
                # On record before it is done, for the process may be killed in between.
                prior.journal.change({slot: ethernet_plan.to_plain(steps.noted)})
                refusals = ethtool.change(each.index, steps.change)
                made = steps.kept
                if steps.values:
                    settings = _settings(ethtool, each)
                    made = ethernet_plan.after_refusal(steps, record, earlier, settings, refusals)
                prior.journal.change({slot: ethernet_plan.to_plain(made)})
            except OSError as error:
                failed[id] = error
                continue
            if refusals:
                failed[id] = _refusal(each.name, refusals)
    gone = prior.journal.names(_KIND) - {_slot(index) for index in known}
    prior.journal.change(dict.fromkeys(gone))
    return Applied(result=frozenset(each.index for each in work.values()), failed=failed)


def _settings(ethtool: "EthtoolNetlink", work: EthernetWork) -> "EthernetSettings":
    """What the driver reports. Raises OSError, which says whose driver it is."""
    try:
        return ethtool.settings(work.index)
    except OSError as error:
        raise OSError(error.errno, f"the driver of {work.name} does not answer: {error.strerror}") from error


def _refusal(link: str, refusals: Mapping[str, OSError]) -> OSError:
    """One error of those of the groups; the first decides what kind it is."""
    first = next(iter(refusals.values()))
    said = "; ".join(f"its {group}: {error.strerror}" for group, error in refusals.items())
    return OSError(first.errno, f"{link} does not take {said}")


def _slot(index: int) -> str:
    return f"{_KIND}/{index}"
