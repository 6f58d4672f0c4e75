"""The routes of each link are found by their place in the routing table."""

from typing import Any

import attrs

from nodespan.controllers.network.apply.route_places import RoutePlaces
from nodespan.controllers.network.apply.route_plan import key_of as place_of
from nodespan.controllers.network.apply.route_plan import plan_routes
from nodespan.kernel.links import KernelLink
from nodespan.kernel.routes import KernelRoute, RouteKey, key_of
from nodespan.resources.network import LinkFlags, LinkStatusSpec, RouteSpecSpec, RouteStatusSpec
from nodespan.resources.network.enums import Family, RouteProtocol

LINKS = {
    index: KernelLink(name=f"eth{index}", status=LinkStatusSpec(index=index, flags=LinkFlags.UP)) for index in (2, 3, 4)
}
SPEC = RouteSpecSpec(family=Family.INET6, dst="fe80:5::/64", out_link_name="eth3", priority=9)
PLACE = place_of(SPEC)
# Ports of no connection of this process.
THEIRS, OTHERS = 4_000_002, 4_000_003


def on_link(index: int, protocol: RouteProtocol = RouteProtocol.KERNEL, **changes: Any) -> KernelRoute:
    status = RouteStatusSpec(
        family=Family.INET6, dst="fe80:5::/64", out_link_index=index, priority=9, protocol=protocol
    )
    return KernelRoute(status=attrs.evolve(status, **changes))


class View:
    """A mirror's view, to which the test reports."""

    is_certain = True

    def __init__(self) -> None:
        self.items: dict[RouteKey, tuple[KernelRoute, ...]] = {}
        self.ports: dict[RouteKey, int] = {}
        self._touched: set[RouteKey] = set()

    def report(self, route: KernelRoute, *, gone: bool = False, port: int = 0) -> None:
        key = key_of(route.status)
        if gone:
            del self.items[key]
        else:
            self.items[key] = (route,)
        self.ports[key] = port
        self._touched.add(key)

    def take(self) -> frozenset[RouteKey]:
        taken, self._touched = frozenset(self._touched), set()
        return taken

    def changed_by(self, key: RouteKey) -> int:
        return self.ports.get(key, 0)


def places(*routes: KernelRoute) -> tuple[View, RoutePlaces]:
    view = View()
    for route in routes:
        view.report(route)
    found = RoutePlaces(view)  # type: ignore[arg-type]
    found.take()
    return view, found


def test_all_routes_of_a_place_are_found_together() -> None:
    through = on_link(3, gateway="fe80::1")
    elsewhere = KernelRoute(status=RouteStatusSpec(dst="192.0.2.0/24", out_link_index=3))
    _, found = places(on_link(4), through, on_link(2), elsewhere)
    assert found.items.get(PLACE) == (through, on_link(2), on_link(4))
    assert found.items[PLACE] == found.items.get(PLACE)
    there = key_of(elsewhere.status)
    assert found.items[there] == (elsewhere,)
    assert set(found.items) == {PLACE, there}
    assert len(found.items) == 2


def test_a_change_of_a_links_route_is_one_of_its_place() -> None:
    view, found = places(on_link(2))
    assert found.items.get(PLACE) == (on_link(2),)
    view.report(on_link(4))
    assert found.take() == {PLACE}
    assert found.items.get(PLACE) == (on_link(2), on_link(4))
    assert not found.take()
    for index in (2, 4):
        view.report(on_link(index), gone=True)
    assert found.take() == {PLACE}
    assert found.items.get(PLACE) is None
    assert PLACE not in found.items
    assert not list(found.items)


def test_thousands_of_links_are_none_of_a_place_that_nothing_asks_for() -> None:
    view, found = places(on_link(2))
    other = attrs.evolve(PLACE, priority=256)
    assert found.items.get(other) is None
    for index in range(3, 2003):
        view.report(on_link(index))
    assert not found.take()
    assert len(found.items[PLACE]) == 2001
    view.report(on_link(2), gone=True)
    assert found.take() == {PLACE}
    assert len(found.items[PLACE]) == 2000


def test_a_place_was_changed_by_who_changed_a_route_there_last() -> None:
    view, found = places(on_link(2), on_link(3))
    assert found.changed_by(PLACE) == 0
    assert PLACE in found.items
    view.report(on_link(3), gone=True, port=THEIRS)
    found.take()
    assert found.changed_by(PLACE) == THEIRS
    # Of two that are taken together, the one of another program.
    view.report(on_link(2, mtu=1300), port=OTHERS)
    view.report(on_link(4))
    found.take()
    assert found.changed_by(PLACE) == OTHERS
    view.report(on_link(2))
    found.take()
    assert found.changed_by(PLACE) == 0
    through = on_link(3, gateway="fe80::1")
    view.report(through, port=THEIRS)
    found.take()
    assert found.changed_by(PLACE) == THEIRS


def test_a_place_that_another_link_has_taken_is_refused() -> None:
    """The kernel has one place for all links, although each has such a route for itself."""
    _, found = places(on_link(2))
    plan = plan_routes({"r": SPEC}, {}, {}, LINKS, found.items)
    assert not plan.steps
    assert "there is such a route already, of protocol kernel" in plan.refused["r"]
    own = on_link(3, RouteProtocol.STATIC)
    _, found = places(own)
    assert plan_routes({"r": SPEC}, {}, {}, LINKS, found.items).steps == ()
    (step,) = plan_routes({}, {"r": SPEC}, {}, LINKS, found.items).steps
    assert step.remove == (own,)
