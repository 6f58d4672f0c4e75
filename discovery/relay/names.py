"""Which names a relay has, and whether one of them is what a node has dialled. Pure rules.

A node's proof covers the name that it dialled. Whoever passes a proof on chooses what the other relay is told about
it, so the relay has to know its own names: those of its certificate, which the node has checked, or those it was given.
"""

from collections.abc import Collection
from ipaddress import ip_address


def has_name(names: Collection[str], authority: str) -> bool:
    """Whether the host of an authority (host:port) is one of the names of a certificate."""
    host = _comparable(authority.rpartition(":")[0])
    parent = host.partition(".")[2]
    # An asterisk stands for one label.
    return any(_comparable(name) == host or (parent and _comparable(name) == f"*.{parent}") for name in names)


def _comparable(host: str) -> str:
    host = host.strip("[]").rstrip(".").lower()
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host
