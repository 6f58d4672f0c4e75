"""The output of `ip` for a namespace, and the same without its volatile fields."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, entered
from tests.support.process import eventually

# A link that returns may have another index, timers run, and what the kernel learns of neighbours is not the agent's.
_PASSING = re.compile("ifindex|link_index|(valid|preferred)_life_time|tentative|.*_timer|fdb_n_learned")


@attrs.frozen
class IpState:
    """The network state of a namespace, as `ip` reports it."""

    inside: Namespace
    _answers: list[dict[tuple[str, ...], list[dict[str, Any]]]] = attrs.field(
        factory=list, init=False, eq=False, repr=False
    )

    def ip(self, *arguments: str) -> list[dict[str, Any]]:
        """The answer of `ip`, without the empty objects for filtered entries."""
        known = self._answers[-1] if self._answers else {}
        if arguments not in known:
            known[arguments] = self.inside.reported(*arguments)
        return known[arguments]

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block each `ip` command runs once and is cached."""
        self._answers.append({})
        try:
            yield
        finally:
            self._answers.pop()

    async def shows(self, check: Callable[[], object], *, within: float = PATIENCE) -> None:
        """Wait until a check passes on one snapshot; it may fail by AssertionError or LookupError."""

        def holds() -> bool:
            with self.at_once():
                try:
                    check()
                except LookupError as error:
                    raise AssertionError(f"not there: {error}") from error
            return True

        await eventually(holds, within=within)

    def link(self, name: str) -> dict[str, Any]:
        """A link, empty if it does not exist."""
        return next((link for link in self.ip("addr") if link["ifname"] == name), {})

    def data(self, name: str) -> dict[str, Any]:
        """The kind-specific data of a link."""
        found: dict[str, Any] = self.link(name).get("linkinfo", {}).get("info_data", {})
        return found

    def addresses(self, name: str) -> set[str]:
        """The addresses of a link, except link-local ones; empty without the link."""
        return {
            f"{each['local']}/{each['prefixlen']}"
            for link in self.ip("addr")
            if link["ifname"] == name
            for each in link["addr_info"]
            if each["scope"] != "link"
        }

    def routes(self, table: str = "main", family: str = "-4") -> set[tuple[str, str, str]]:
        """Destination, gateway and link of the static routes."""
        return {
            (each["dst"], each.get("gateway", ""), each.get("dev", ""))
            for each in self.ip(family, "route", "show", "table", "all")
            if each.get("table", "main") == table and each["protocol"] == "static"
        }

    def rules(self) -> set[tuple[int, str, str]]:
        """Priority, source and table of the rules that are not the kernel's."""
        return {
            (rule["priority"], f"{rule['src']}/{rule.get('srclen', '')}", rule.get("table", ""))
            for family in ("-4", "-6")
            for rule in self.ip(family, "rule", "show")
            if 0 < rule["priority"] < 32766 and "l3mdev" not in rule
        }

    def members(self, bond: str) -> list[str]:
        """The members of a bond in the order of joining, as the bonding driver reports; empty without the bond."""
        with entered(self.inside):
            try:
                report = Path(f"/proc/thread-self/net/bonding/{bond}").read_text()
            except FileNotFoundError:
                return []
        return [line.partition(": ")[2] for line in report.splitlines() if line.startswith("Slave Interface")]

    def everything(self) -> Any:
        """The complete output of `ip`."""
        output = [self.ip("addr"), *(self.ip(family, "rule", "show") for family in ("-4", "-6"))]
        output += [self.ip(family, "route", "show", "table", "all") for family in ("-4", "-6")]
        # What is equal but for its link stands in the order in which it was made.
        return [sorted(_steady(each), key=lambda item: (item.get("ifname", ""), json.dumps(item))) for each in output]

    async def rest(self) -> Any:
        """The complete output, after duplicate address detection has ended."""
        await eventually(lambda: not self.inside.run("ip", "-6", "addr", "show", "tentative"))
        return self.everything()


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """The differences between two outputs, briefly."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [each for key in keys for each in differences(before.get(key), now.get(key), f"{where}.{key}")]
    if isinstance(before, list) and isinstance(now, list) and _names(before) == _names(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [each for index, (old, new) in pairs for each in differences(old, new, f"{where}.{_name(old, index)}")]
    if isinstance(before, list) and isinstance(now, list):
        gone, new = ([each for each in one if each not in other] for one, other in ((before, now), (now, before)))
        return [f"{where}: gone {gone}, new {new}"[:500]]
    return [] if before == now else [f"{where}: {before} became {now}"[:500]]


def _names(output: list[Any]) -> list[str]:
    return [_name(each, index) for index, each in enumerate(output)]


def _name(output: Any, index: int) -> str:
    return str(output.get("ifname", index)) if isinstance(output, dict) else str(index)


def _steady(output: Any) -> Any:
    if isinstance(output, dict):
        return {key: _steady(value) for key, value in output.items() if not _PASSING.fullmatch(key)}
    return [_steady(each) for each in output] if isinstance(output, list) else output
