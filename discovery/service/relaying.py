"""The relay as a part of a service: made from its options, and what its metrics and its page show."""

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator
from html import escape
from typing import TYPE_CHECKING

from nodespan.discovery.service.client_address import Trust, client_address
from nodespan.discovery.service.status_pages import html_page
from nodespan.runtime.api.grpc import Call, source_of
from nodespan.runtime.api.pages import Page, Respond
from nodespan.runtime.metrics import Family, Kind, Metric
from nodespan.runtime.process.logger import Logger

if TYPE_CHECKING:
    from nodespan.discovery.relay.relay import Relay, RelayOptions

_WAYS = ("in", "out", "across")
_REASONS = "one for each [reason](relay.md#metrics-and-a-page)"
_GAUGES = {
    name: Metric(name=f"relay_{name}", text=text, remedy=remedy)
    for name, text, remedy in (
        ("clients", "Nodes that have an address here.", "at `relay_clients_limit` further nodes are refused"),
        ("clusters", "Clusters that these nodes are of.", ""),
        ("clients_limit", "Nodes that may have an address here.", ""),
        ("ports_free", "Ports that can be given away.", "near 0: give the relay more ports"),
        ("sources", "Addresses that may be answered.", ""),
        ("queued_bytes", "Bytes that wait for nodes to read them.", "grows: nodes on slow links"),
    )
}
PACKETS = Metric(
    name="relay_packets_total",
    text="Packets: from the world (in), to the world (out), between nodes (across).",
    kind=Kind.COUNTER,
    labels=("way",),
    series="3",
)
BYTES = Metric(name="relay_bytes_total", text="Bytes of these packets.", kind=Kind.COUNTER, labels=("way",), series="3")
DROPPED = Metric(
    name="relay_dropped_total",
    text="Packets that were not carried.",
    kind=Kind.COUNTER,
    labels=("reason",),
    series=_REASONS,
    remedy="of reason `rate`: nodes send more than the relay carries for each; others: someone tries it out",
)
REFUSED = Metric(
    name="relay_refused_total",
    text="Nodes that were given no address.",
    kind=Kind.COUNTER,
    labels=("reason",),
    series=_REASONS,
    remedy="the relay is full, or someone tries it out: its log has the reason",
)
METRICS = (*_GAUGES.values(), PACKETS, BYTES, DROPPED, REFUSED)


def make_relay(
    options: "RelayOptions",
    trust: Trust,
    log: Logger,
    certificate_names: Callable[[], Collection[str]] | None = None,
    elsewhere: Callable[[int, bytes], bool] | None = None,
) -> "Relay":
    """A relay whose clients come from the addresses that the service trusts in."""
    from nodespan.discovery.relay.relay import Relay

    def source(call: Call) -> Hashable:
        address = client_address(call.header, call.peer.address, trust)
        return None if address is None else source_of(address)

    return Relay(options, log, source=source, certificate_names=certificate_names, elsewhere=elsewhere)


def relay_families(relay: "Relay") -> Iterator[Family]:
    """The metrics of a relay: no labels for clients, clusters or addresses."""
    for name, value in (
        ("clients", relay.census.clients),
        ("clusters", relay.census.clusters),
        ("clients_limit", relay.limits.clients),
        ("ports_free", relay.ports.free),
        ("sources", sum(len(client.doors) for client in relay.clients)),
        ("queued_bytes", relay.queued),
    ):
        yield _GAUGES[name](value)
    yield PACKETS.by({(way,): relay.packets[way] for way in _WAYS})
    yield BYTES.by({(way,): relay.bytes[way] for way in _WAYS})
    yield DROPPED.by({(reason,): count for reason, count in sorted(relay.dropped.items())})
    yield REFUSED.by({(reason,): count for reason, count in sorted(relay.refused.items())})


def relay_page(relay: "Relay") -> Page:
    """What anybody may know of a relay: totals."""
    first, last = relay.options.ports
    addresses = ", ".join(str(address) for address in relay.options.addresses) or "the address of this service"
    limits, count = relay.limits, relay.options.part.count
    rows = [
        ("Addresses", f"{addresses}, UDP ports {first} to {last}"),
        ("Nodes", f"{relay.census.clients} of at most {limits.clients}, of {relay.census.clusters} clusters"),
        ("Carried", f"{relay.packets.total()} packets, {relay.bytes.total()} bytes"),
        ("Dropped", f"{relay.dropped.total()} packets"),
        ("Rate of a node", f"{limits.rate * 8 / 1e6:g} Mbit/s each way"),
    ]
    if count > 1:
        rows.insert(0, ("Processes", f"{count}, of which one shows what it has:"))
    table = "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    words = (
        "<p>Nodes that others cannot reach have an address here. What comes to it is passed on to them, and only they "
        "can read it.</p>"
    )
    return html_page("Relay", f"{words}\n<table>{table}</table>")


def with_relay_page(relay: "Relay", pages: Respond) -> Respond:
    """The pages of a service, and that of its relay."""

    def respond(target: str) -> Page | Awaitable[Page]:
        return relay_page(relay) if target.partition("?")[0] == "/relay" else pages(target)

    return respond


def relay_alone_pages(relay: "Relay") -> Callable[[str], Page]:
    """The pages of a relay without a discovery service."""

    def respond(target: str) -> Page:
        if target.partition("?")[0] in ("/", "/relay"):
            return relay_page(relay)
        return Page(status=404, body=b"there is /relay\n")

    return respond
