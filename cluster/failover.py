"""Demonstrates failover of a virtual IP: stops its holder, kills the next one, and pings the address throughout."""

import signal
import subprocess
import time
from collections.abc import Callable

from nodespan.cluster.pinging import INTERVAL, Pinging
from nodespan.cluster.plan import Plan, Station
from nodespan.cluster.service import Service, agent_service
from nodespan.cluster.station_processes import NAMESPACES, start
from nodespan.cluster.terminal import Terminal
from nodespan.cluster.virtual_ip import (
    LEASE_TTL,
    VipViews,
    agreed_holder,
    look_at_vip,
    vip_changes,
    vip_table,
    would_take_over_at_once,
)
from nodespan.runtime.cli.errors import CommandError

_LOOK_INTERVAL = 0.05
_PING_TIMEOUT = 0.1
_STOP_PATIENCE = 10.0
_PATIENCE = 30.0
_Processes = dict[Service, "subprocess.Popen[bytes]"]


def demonstrate(plan: Plan, processes: _Processes, terminal: Terminal) -> None:
    """Have the address move twice, and report what happens. Blocks for half a minute. Agents are restarted, and are in
    `processes` then. Raises CommandError where it does not move."""
    namespace = NAMESPACES / plan.discovery.namespace
    with Pinging(namespace, str(plan.vip), timeout=_PING_TIMEOUT) as pings:
        terminal.line(f"\n{plan.discovery.name} pings {plan.vip} every {INTERVAL * 1000:g} ms from now on")
        for number, what in ((signal.SIGTERM, "stopped regularly"), (signal.SIGKILL, "killed (kill -9)")):
            terminal.line(f"waiting until the others have been candidates for {LEASE_TTL:g} s")
            _watch(plan, terminal, would_take_over_at_once)
            _hand_over(plan, processes, terminal, pings, number, what)
    terminal.line("waiting until all others are candidates again")
    _watch(plan, terminal, would_take_over_at_once)
    terminal.line("\nthe final reports of the nodes")
    for line in vip_table(look_at_vip(plan)):
        terminal.line(line)


def _hand_over(
    plan: Plan, processes: _Processes, terminal: Terminal, pings: Pinging, number: signal.Signals, what: str
) -> None:
    before = look_at_vip(plan)
    holder = agreed_holder(before)
    if holder is None:
        raise CommandError("the nodes no longer agree on the holder of the address: see their logs")
    service = agent_service(holder)
    terminal.line(f"\nthe agent of {holder.name}, which has the address, is {what}")
    began = time.monotonic()
    processes[service].send_signal(number)
    _watch(plan, terminal, lambda views: _taken_over(views, holder), before=before, began=began)
    taken = time.monotonic()
    _wait(lambda: pings.answered_since(taken), f"{plan.vip} does not answer {plan.discovery.name}")
    last, next_one = pings.silence(began)
    terminal.line(
        f"the client had no answer for {next_one - last:.2f} s: "
        f"from {max(0.0, last - began):.2f} s to {next_one - began:.2f} s"
    )
    if number == signal.SIGKILL:
        terminal.line(f"before that, the kernel of {holder.name} kept the address until its lifetime ended")
    # An agent that is stopped regularly waits until all of its tasks have ended.
    processes[service].wait(_STOP_PATIENCE)
    processes[service] = start(holder, service.command, log=service.log)
    terminal.line(f"{service.title} is restarted\n")


def _taken_over(views: VipViews, holder: Station) -> bool:
    """Whether all nodes but the former holder agree on another one."""
    return agreed_holder({node: view for node, view in views.items() if node != holder}) is not None


def _watch(
    plan: Plan,
    terminal: Terminal,
    until: Callable[[VipViews], bool],
    *,
    before: VipViews | None = None,
    began: float | None = None,
) -> None:
    """Report each change of the nodes' views until a condition holds; with the time since `began`, if it is given.

    Raises CommandError if it takes too long.
    """
    deadline = time.monotonic() + _PATIENCE
    views: VipViews = look_at_vip(plan) if before is None else before
    while True:
        known, views = views, look_at_vip(plan)
        for line in vip_changes(known, views):
            terminal.line(f"  {line}" if began is None else f"  {time.monotonic() - began:5.2f} s  {line}")
        if until(views):
            return
        if time.monotonic() > deadline:
            table = "\n".join(vip_table(views))
            raise CommandError(f"the address {plan.vip} did not settle within {_PATIENCE:g} s:\n{table}")
        time.sleep(_LOOK_INTERVAL)


def _wait(until: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not until():
        if time.monotonic() > deadline:
            raise CommandError(otherwise)
        time.sleep(_LOOK_INTERVAL)
