"""What this machine can do, found out by trying; each answer is None or the reason to skip with."""

import functools
import os
import shutil

from tests.support.netns import Namespace, namespace

# What `ip link add` wants beside the name and the kind. A port is a veth end that the link may sit on.
_ARGUMENTS = {
    "geneve": ("id", "7", "remote", "192.0.2.1"),
    "gre": ("local", "192.0.2.1", "remote", "192.0.2.2"),
    "ipip": ("local", "192.0.2.1", "remote", "192.0.2.2"),
    "vlan": ("id", "7"),
    "vrf": ("table", "7"),
    "vxlan": ("id", "7", "dstport", "4789"),
}
_ON_A_PORT = frozenset({"ipvlan", "macvlan", "vlan"})


def make_link(inside: Namespace, kind: str, name: str) -> None:
    """Make a link of a kind, with the least it needs. Raises AssertionError with the kernel's answer."""
    port: tuple[str, ...] = ()
    if kind in _ON_A_PORT:
        inside.run("ip", "link", "add", "port", "type", "veth", "peer", "name", "portpeer")
        port = ("link", "port")
    inside.run("ip", "link", "add", *port, "name", name, "type", kind, *_ARGUMENTS.get(kind, ()))


@functools.cache
def no_namespaces() -> str | None:
    """Why namespaces cannot be made here."""
    if os.geteuid() != 0:
        return "network namespaces need root: run the tests with sudo"
    if missing := no_program("ip"):
        return missing
    try:
        with namespace("probe"):
            return None
    except AssertionError as error:
        return f"network namespaces cannot be made here: {error}"


@functools.cache
def no_link(kind: str) -> str | None:
    """Why links of this kind cannot be made here: tried in a namespace of its own, never judged by kernel version."""
    if reason := no_namespaces():
        return reason
    try:
        with namespace("probe") as inside:
            make_link(inside, kind, "probe")
            return None
    except AssertionError as error:
        return f"this kernel makes no {kind} links ({error})"


@functools.cache
def no_program(name: str) -> str | None:
    """Why a program cannot be run here."""
    return None if shutil.which(name) else f"{name} is not installed"
