"""The relay as a part of a service: made from its options, and what its metrics and its page show."""

from collections.abc import Awaitable, Callable, Hashable, Iterator
from html import escape
from typing import TYPE_CHECKING

from nodespan.discovery.service.client_address import Trust, client_address
from nodespan.discovery.service.exposition import Family, Sample
from nodespan.discovery.service.status_pages import html_page
from nodespan.runtime.api.grpc import Call, source_of
from nodespan.runtime.api.pages import Page, Respond
from nodespan.runtime.process.logger import Logger

if TYPE_CHECKING:
    from nodespan.discovery.relay.relay import Relay, RelayOptions

_WAYS = ("in", "out", "across")


def make_relay(options: "RelayOptions", trust: Trust, log: Logger) -> "Relay":
    """A relay whose clients come from the addresses that the service trusts in."""
    from nodespan.discovery.relay.relay import Relay

    def source(call: Call) -> Hashable:
        address = client_address(call.header, call.peer.address, trust)
        return None if address is None else source_of(address)

    return Relay(options, log, source=source)


def relay_families(relay: "Relay") -> Iterator[Family]:
    """The metrics of a relay: no labels for clients, clusters or addresses."""
    for name, text, value in (
        ("clients", "Nodes that have an address here.", relay.census.clients),
        ("clusters", "Clusters that these nodes are of.", relay.census.clusters),
        ("clients_limit", "Nodes that may have an address here.", relay.options.limits.clients),
        ("ports_free", "Ports that can be given away.", relay.ports.free),
        ("sources", "Addresses that may be answered.", sum(len(client.doors) for client in relay.clients)),
        ("queued_bytes", "Bytes that wait for nodes to read them.", relay.queued),
    ):
        yield Family(f"relay_{name}", "gauge", text, (Sample(value),))
    for name, text, counted in (
        ("packets", "Packets: from the world (in), to the world (out), between nodes (across).", relay.packets),
        ("bytes", "Bytes of these packets.", relay.bytes),
    ):
        samples = tuple(Sample(counted[way], (("way", way),)) for way in _WAYS)
        yield Family(f"relay_{name}", "counter", text, samples)
    for name, text, counted in (
        ("dropped", "Packets that were not carried.", relay.dropped),
        ("refused", "Nodes that were given no address.", relay.refused),
    ):
        samples = tuple(Sample(count, (("reason", reason),)) for reason, count in sorted(counted.items()))
        yield Family(f"relay_{name}", "counter", text, samples)


def relay_page(relay: "Relay") -> Page:
    """What anybody may know of a relay: totals."""
    first, last = relay.options.ports
    addresses = ", ".join(str(address) for address in relay.options.addresses) or "the address of this service"
    limits = relay.options.limits
    rows = (
        ("Addresses", f"{addresses}, UDP ports {first} to {last}"),
        ("Nodes", f"{relay.census.clients} of at most {limits.clients}, of {relay.census.clusters} clusters"),
        ("Carried", f"{relay.packets.total()} packets, {relay.bytes.total()} bytes"),
        ("Dropped", f"{relay.dropped.total()} packets"),
        ("Rate of a node", f"{limits.rate * 8 / 1e6:g} Mbit/s each way"),
    )
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
