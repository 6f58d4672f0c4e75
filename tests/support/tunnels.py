"""WireGuard for tests: keys, and reading devices with the field's own tool."""

import os

from nodespan.kernel.wireguard.keys import new_private_key, public_key_of
from tests.support import run
from tests.support.netns import Namespace


def key_pair(seed: int | None = None) -> tuple[str, str]:
    """A private key and its public key, base64; the same for the same seed."""
    raw = os.urandom(32) if seed is None else (seed << 8).to_bytes(32, "little")
    private = new_private_key(raw)
    return private, public_key_of(private)


def link_name(label: str) -> str:
    """A name for a link that nobody else on this machine has, for the sockets of wireguard-go share a directory."""
    return f"{run.NAME[run.IN_LINKS :]}{label}"[:15]


def show(inside: Namespace, link: str, what: str) -> dict[str, str]:
    """One column of `wg show LINK WHAT`, by peer."""
    return dict(line.split("\t", 1) for line in inside.run("wg", "show", link, what).splitlines())
