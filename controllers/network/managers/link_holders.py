"""Which other network managers manage a link, by the files that they write, and how to make each release it."""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

_NETWORKD = "run/systemd/netif/links"
_NETWORK_MANAGER = "run/NetworkManager/devices"
_IFUPDOWN = "etc/network/interfaces"
_NETPLAN_FILE = re.compile(r"run/systemd/network/\d+-netplan-")
_TRUE = frozenset({"true", "1", "yes", "managed"})
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=\s*(.*?)\s*")
_STANZA = re.compile(r"\s*(iface|mapping|auto|allow-\S+|source|source-directory|no-\S+)\b")


@attrs.frozen(kw_only=True)
class Holder:
    """Another manager that manages a link, and what makes it release it."""

    manager: str
    evidence: str
    remedy: str

    def warning(self, link_name: str) -> str:
        """The warning for the operator."""
        conflict = f"{self.manager} manages {link_name} too ({self.evidence}), and each undoes what the other does"
        return f"{conflict}: {self.remedy}"


def find_holders(links: Mapping[str, int], root: Path = Path("/")) -> dict[str, tuple[Holder, ...]]:
    """The holders of each of these links (indexes by name) that has any. Blocks on the disk; raises no OSError."""
    networkd, network_manager = _states(root / _NETWORKD), _states(root / _NETWORK_MANAGER)
    ifupdown = _ifupdown(root)
    found: dict[str, tuple[Holder, ...]] = {}
    for name, index in links.items():
        holders = [
            holder
            for holder in (
                _by_networkd(name, networkd.get(index, {})),
                _by_network_manager(name, network_manager.get(index, {})),
                ifupdown.get(name),
            )
            if holder is not None
        ]
        if holders:
            found[name] = tuple(holders)
    return found


def _states(directory: Path) -> dict[int, Mapping[str, str]]:
    """The assignments in the files that are named by the index of a link."""
    states: dict[int, Mapping[str, str]] = {}
    for path in _files(directory):
        if path.name.isdecimal():
            lines = (_ASSIGNMENT.fullmatch(line) for line in _lines(path))
            states[int(path.name)] = {found[1]: found[2] for found in lines if found}
    return states


def _by_networkd(name: str, state: Mapping[str, str]) -> Holder | None:
    file = state.get("NETWORK_FILE", "")
    if not file or state.get("ADMIN_STATE", "") in ("", "unmanaged"):
        return None
    if _NETPLAN_FILE.search(file):
        return Holder(
            manager="netplan",
            evidence=f"by systemd-networkd with {file}",
            remedy=f"take {name} out of the files in /etc/netplan, then run: netplan apply",
        )
    own = f"/etc/systemd/network/00-{name}-nodespan.network"
    return Holder(
        manager="systemd-networkd",
        evidence=f"with {file}",
        remedy=(
            rf"run: printf '[Match]\nName={name}\n\n[Link]\nUnmanaged=yes\n' > {own}"
            f" && networkctl reload && networkctl reconfigure {name}"
        ),
    )


def _by_network_manager(name: str, state: Mapping[str, str]) -> Holder | None:
    if state.get("managed", "").lower() not in _TRUE:
        return None
    connection = state.get("connection-uuid", "")
    own = f"/etc/NetworkManager/conf.d/90-{name}-nodespan.conf"
    return Holder(
        manager="NetworkManager",
        evidence=f"with connection {connection}" if connection else "without a connection",
        remedy=(
            rf"run: printf '[device-{name}-nodespan]\nmatch-device=interface-name:{name}\nmanaged=0\n' > {own}"
            f" && nmcli general reload && nmcli device set {name} managed no"
        ),
    )


@attrs.frozen
class _Stanza:
    file: Path
    first: int
    last: int
    link: str
    method: str


def _ifupdown(root: Path) -> dict[str, Holder]:
    """What ifupdown configures: links with a method other than manual."""
    found: dict[str, Holder] = {}
    for stanza in _stanzas(root):
        if stanza.method in ("manual", "loopback"):
            continue
        path = f"/{stanza.file.relative_to(root)}"
        lines = f"line {stanza.first}" if stanza.first == stanza.last else f"lines {stanza.first} to {stanza.last}"
        found.setdefault(
            stanza.link,
            Holder(
                manager="ifupdown",
                evidence=f"method {stanza.method}, {path}:{stanza.first}",
                remedy=f"run: sed -i '{stanza.first},{stanza.last}s/^/#/' {path}, which comments out {lines}",
            ),
        )
    return found


def _stanzas(root: Path) -> Iterator[_Stanza]:
    for file in (root / _IFUPDOWN, *_files(root / "etc/network/interfaces.d")):
        lines = _lines(file)
        starts = [number for number, line in enumerate(lines) if _STANZA.match(line)]
        for start, end in itertools.pairwise([*starts, len(lines)]):
            words = lines[start].split()
            if words[0] != "iface" or len(words) < 4:
                continue
            last = max(number for number in range(start, end) if number == start or lines[number].strip())
            yield _Stanza(file, start + 1, last + 1, words[1], words[3])


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.is_file())
    except OSError:
        return []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
