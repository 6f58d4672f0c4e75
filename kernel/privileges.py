"""The privileges that this process lacks, in words for an operator."""

from pathlib import Path

_CAP_NET_ADMIN = 12


def has_capability(number: int, status: str) -> bool:
    """Whether the text of /proc/PID/status grants the capability of this number (capabilities(7))."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> number & 1)
    return False


def missing_privileges() -> list[str]:
    """A sentence for each thing that the agent cannot do; empty if it can do all."""
    if has_capability(_CAP_NET_ADMIN, Path("/proc/self/status").read_text(errors="replace")):
        return []
    text = (
        "running without CAP_NET_ADMIN: the network is observed and not changed; not shown are the peers and keys of "
        "WireGuard links; start the agent as root to have everything"
    )
    return [text]
