"""A virtual IP shared by three nodes, with a real etcd, while things break; and what cannot be had, on one node."""

import contextlib
import functools
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
import trio

from tests.mesh.vip_faults import FAULTS, Fault
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually
from tests.support.vip_lab import LINK, VIP, Lab, Node, vip_lab
from tests.support.vip_recorder import now

pytestmark = [pytest.mark.needs_link("veth", "bridge"), pytest.mark.needs_program("etcd", "nft", "unshare")]

# Seconds that a fault may take, from a lab in good order to the next.

T = TypeVar("T")


class Place:
    """A lab for several tests, with a trio of its own in a thread. One in which a test failed is given up."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._lab: Lab | None = None

    def do(self, fault: Fault) -> float:
        """Have a fault happen in the lab."""
        try:
            return self._call(functools.partial(self._happen, fault))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the lab up."""
        self._lab = None
        self._stack.close()

    async def _happen(self, fault: Fault) -> float:
        assert self._lab is not None
        since = now()
        try:
            with trio.fail_after(PATIENCE):
                return await fault(self._lab)
        finally:
            self._lab.record.check(since)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        if self._lab is None:
            self._lab, self._token = self._stack.enter_context(_lab_in_a_thread())
        return trio.from_thread.run(function, trio_token=self._token)


@contextlib.contextmanager
def _lab_in_a_thread() -> Iterator[tuple[Lab, trio.lowlevel.TrioToken]]:
    began: queue.Queue[tuple[Lab, trio.lowlevel.TrioToken, trio.Event] | BaseException] = queue.Queue()

    async def live() -> None:
        async with vip_lab() as lab:
            end = trio.Event()
            began.put((lab, trio.lowlevel.current_trio_token(), end))
            await end.wait()

    def run() -> None:
        try:
            trio.run(live)
        except BaseException as error:
            began.put(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    given = began.get()
    if isinstance(given, BaseException):
        thread.join()
        raise given
    lab, token, end = given
    try:
        yield lab, token
    finally:
        token.run_sync_soon(end.set)
        thread.join()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_at_most_one_node_owns_the_address_and_one_soon_does_when(
    place: Place, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    taken = place.do(fault)
    record_property(f"{fault.__name__}_seconds", round(taken, 2))


_WITHOUT_ETCD = f"""\
machine:
  type: controlplane
  network:
    interfaces:
      - interface: {LINK}
        vip: {{ip: {VIP}}}
"""

_SEVERAL = """\
---
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: {ip}
link: {link}
"""

_NODESPAN = """\
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {{endpoints: [{endpoints}]}}
vip: {{leaseTTL: 3s}}
"""

V6, TAKEN, OUTSIDE, OWN = "2001:db8::100", "192.0.2.101", "203.0.113.9", "192.0.2.102"


def problems(node: Node) -> str:
    return "\n".join(f"{id} {spec['message']}" for id, spec in node.agent.specs("networkproblems").items())


async def test_a_failure_of_one_virtual_ip_is_reported_for_that_one_only() -> None:
    async with vip_lab(count=1, start=False) as lab:
        (node,) = lab.nodes
        client = lab.client
        client.run("ip", "address", "add", f"{TAKEN}/32", "dev", LINK)
        for inside, host in ((node.namespace, "1"), (client, "2")):
            inside.run("ip", "address", "add", f"2001:db8::{host}/64", "dev", LINK, "nodad")
        node.namespace.run("ip", "address", "add", f"{OWN}/24", "dev", LINK)
        node.config.write_text(_WITHOUT_ETCD)
        await node.start()
        await node.is_("refused")
        assert "no etcd endpoints are configured" in node.status("reason")
        assert "no etcd endpoints are configured" in problems(node)

        several = "".join(_SEVERAL.format(ip=ip, link=LINK) for ip in (V6, TAKEN, OUTSIDE, OWN))
        endpoints = ", ".join(lab.etcd.endpoints)
        node.config.write_text(_WITHOUT_ETCD + several + _NODESPAN.format(endpoints=endpoints))
        for ip in (VIP, V6):
            await node.is_("leader", ip)
            assert node.has_address(ip)
            client.run("ping", "-c", "1", "-W", "2", ip)
        for ip, reason in (
            (TAKEN, f"{_mac_of(lab)} on {LINK} has the address {TAKEN} already"),
            (OUTSIDE, f"{OUTSIDE} is in none of the networks of {LINK} (192.0.2.0/24)"),
            (OWN, f"{LINK} has the address {OWN}/24 already, and not by election"),
        ):
            await node.is_("refused", ip)
            assert reason in node.status("reason", ip)
            assert reason in problems(node)
        assert not node.has_address(TAKEN)
        assert VIP not in problems(node)
        assert V6 not in problems(node)

        client.run("ip", "address", "del", f"{TAKEN}/32", "dev", LINK)
        node.namespace.run("ip", "address", "del", f"{OWN}/24", "dev", LINK)
        for ip in (TAKEN, OWN):
            await node.is_("leader", ip)
        await eventually(lambda: TAKEN not in problems(node) and OWN not in problems(node))
        await node.stop()
        assert not any(node.has_address(ip) for ip in (VIP, V6, TAKEN, OWN))


def _mac_of(lab: Lab) -> str:
    shown = lab.client.run("ip", "-oneline", "link", "show", LINK)
    return shown.split("link/ether ")[1].split()[0]
