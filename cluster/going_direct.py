"""Demonstrates the relay: two nodes that cannot send each other UDP, and the moment when they can again."""

import time

from nodespan.cluster.commands import ALLOW_UDP, BLOCK_UDP
from nodespan.cluster.peers import MeshView, changes, kubespan_address, look, specs_of, table
from nodespan.cluster.pinging import INTERVAL, Pinging
from nodespan.cluster.plan import Plan
from nodespan.cluster.station_processes import NAMESPACES, run
from nodespan.cluster.terminal import Terminal
from nodespan.runtime.cli.errors import CommandError

_LOOK_INTERVAL = 0.2
# A direct path is found within two minutes.
_PATIENCE = 150.0
# So long it is watched afterwards: what is lost shows a moment later.
_AFTERWARDS = 3.0


def pings_between(plan: Plan) -> Pinging:
    """Pings from the first node to the last one."""
    first, last = plan.nodes[0], plan.nodes[-1]
    return Pinging(NAMESPACES / first.namespace, kubespan_address(last))


def is_direct(view: MeshView) -> bool:
    """Whether all peers are up, and none over a relay."""
    return all(seen.is_up and not seen.relay for seen in view.values())


def is_relayed(view: MeshView) -> bool:
    """Whether all peers are up over a relay."""
    return all(seen.is_up and bool(seen.relay) for seen in view.values())


def demonstrate_relay(plan: Plan, terminal: Terminal) -> None:
    """Show the pair on the relay, let it send UDP, and show how it goes direct. Blocks. Raises CommandError."""
    first, target = plan.nodes[0].name, plan.nodes[-1].name
    terminal.line("\nthe relay and the paths, as the nodes show them")
    for node in plan.nodes:
        for spec in specs_of(node, "kubespanrelaystatuses"):
            terminal.line(
                f"  {node.name}: {spec['endpoint']} is {spec['state']}, others reach it at {spec['endpoints']}"
            )
    view = look(plan)
    for line in table(view):
        terminal.line(f"  {line}")
    with pings_between(plan) as pings:
        began = time.monotonic()
        terminal.line(f"\n{first} pings {target} every {INTERVAL * 1000:g} ms from now on")
        time.sleep(_AFTERWARDS)
        allowed = time.monotonic()
        allow_udp(plan)
        terminal.line("UDP is let through now: the nodes do not know, they keep looking")
        while not is_direct(view):
            if time.monotonic() - allowed > _PATIENCE:
                raise CommandError(f"no direct path was found within {_PATIENCE:g} s: see the logs of the nodes")
            time.sleep(_LOOK_INTERVAL)
            before, view = view, look(plan)
            for line in changes(before, view):
                terminal.line(f"  {time.monotonic() - allowed:5.1f} s  {line}")
        direct = time.monotonic()
        time.sleep(_AFTERWARDS)
        terminal.line(f"both ends are direct {direct - allowed:.1f} s after it became possible")
        try:
            last, next_one = pings.silence(began)
        except ValueError:
            raise CommandError(f"{target} answers no ping") from None
        terminal.line(f"the longest time without an answer was {next_one - last:.2f} s")
        terminal.line(
            f"the round trip was {pings.median(began, allowed) * 1000:.2f} ms over the relay, "
            f"and is {pings.median(direct, direct + _AFTERWARDS) * 1000:.2f} ms now"
        )


def allow_udp(plan: Plan) -> None:
    """Let UDP through again."""
    run(("ip", "netns", "exec", plan.internet.namespace, "nft", "-f", "-"), stdin=ALLOW_UDP)


def block_udp(plan: Plan) -> None:
    """Let UDP through no more."""
    run(("ip", "netns", "exec", plan.internet.namespace, "nft", "-f", "-"), stdin=BLOCK_UDP)
