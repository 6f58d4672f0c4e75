"""Example: a controller of your own, with a type of its own, that keeps a file in step with the node.

It writes lines as in /etc/hosts, the node's addresses with its name, and shows as a resource what it wrote:

    export HOSTS_FRAGMENT=/tmp/hosts.fragment
    nodespan agent --controllers examples.hosts_fragment:HostsFragmentController
    nodespan get hostsfragments -o yaml          # from another terminal

examples/pyproject.toml makes an installable package of it, which needs no --controllers.
"""

import os
from pathlib import Path

import attrs
import trio

from nodespan.resources.network import HostnameStatus, HostnameStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak
from nodespan.runtime.plugins import Settings
from nodespan.runtime.resource import Resource, ResourceType


# A spec is an immutable value: frozen, tuples in place of lists. All readers share it, without copies.
@attrs.frozen(kw_only=True)
class HostsFragmentSpec:
    """A fragment that was written: where, the names in it, and the addresses that they stand for."""

    path: str
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


# The declaration of the type. The name is a plural and a domain of yours; the short names `hostsfragment`,
# `hostsfragments` and `hf` come of themselves, and the columns are those of `nodespan get hf`.
HostsFragment = ResourceType(
    "HostsFragments.example.dev",
    HostsFragmentSpec,
    namespace="example",
    columns={"Path": ".path", "Names": ".names", "Addresses": ".addresses"},
)


class HostsFragmentController(Controller):
    """Writes the file $HOSTS_FRAGMENT (./hosts.fragment unless set), and removes it when there is nothing to say."""

    name = "example.HostsFragmentController"
    # Whatever is declared here wakes the controller and may be read by it; nothing else may.
    inputs = (weak(NodeAddress, "current"), weak(HostnameStatus, "hostname"))
    outputs = (exclusive(HostsFragment),)

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(os.environ.get("HOSTS_FRAGMENT", "hosts.fragment"))

    async def run(self, ctx: ControllerContext) -> None:
        """One turn at the start and one whenever an input changed; ten changes at once are still one turn."""
        async for _ in ctx:
            # Start from what is true now, not from what happened: so it does not matter what an earlier turn,
            # or an earlier run of the agent, did or failed to do.
            fragment = wanted_fragment(
                self._path, ctx.find(NodeAddress, "current"), ctx.find(HostnameStatus, "hostname")
            )
            # Files block, and here everybody shares one thread: they go to another.
            await trio.to_thread.run_sync(write_fragment, self._path, fragment)
            # An output that is not put within the block is destroyed at its end. Putting what is there already
            # writes nothing and wakes no controller.
            async with ctx.tracked_outputs(HostsFragment):
                if fragment is not None:
                    await ctx.put(HostsFragment, "hosts", fragment)
            # No error is handled anywhere: one that is raised is logged and counted, and the controller starts over
            # after a growing delay, half a second at first and a minute at most.


def wanted_fragment(
    path: Path, addresses: Resource[NodeAddressSpec] | None, hostname: Resource[HostnameStatusSpec] | None
) -> HostsFragmentSpec | None:
    """The rule, apart from state and disk so that a table of cases can test it. None: there is nothing to write."""
    if addresses is None or hostname is None or not addresses.spec.addresses:
        return None
    short, domain = hostname.spec.hostname, hostname.spec.domainname
    return HostsFragmentSpec(
        path=str(path),
        names=(f"{short}.{domain}", short) if domain else (short,),
        addresses=tuple(address.partition("/")[0] for address in addresses.spec.addresses),
    )


def write_fragment(path: Path, fragment: HostsFragmentSpec | None) -> None:
    """Make the file say this, atomically: no reader sees half of it. Blocks on the disk."""
    if fragment is None:
        path.unlink(missing_ok=True)
        return
    text = "".join(f"{address} {' '.join(fragment.names)}\n" for address in fragment.addresses)
    if not path.exists() or path.read_text() != text:
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.replace(path)


def controllers(settings: Settings) -> HostsFragmentController:
    """What the entry point names: a function gets the agent's settings, here for a place that surely is writable."""
    return HostsFragmentController(settings.state_dir / "hosts.fragment")
