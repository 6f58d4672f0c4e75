"""Documents for nft: all of one document takes effect at once, or nothing of it does.

A chain is replaced by flushing it and adding its rules in the same document; no packet meets a half-filled chain. The
table is never deleted and made again: packets would get through between the two. The parts of a long chain (`render`)
come before it and go after it.
"""

import json
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, summarize_address_range
from typing import Any

import attrs

from nodespan.controllers.common.ip.cover import PrefixKey, prefix_key
from nodespan.controllers.network.nftables.render import MARK, VERSIONS, Json, RenderedChain, kernel_set

FAMILY = "inet"
_SET_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
_HEADER = ("type", "hook", "prio", "policy")
# What of a chain cannot be changed while it exists.
_FIXED = ("type", "hook", "prio")


@attrs.frozen(kw_only=True)
class SeenChain:
    """A chain in the kernel: where it sits, and the comment of each of its rules."""

    header: Mapping[str, Json]
    comments: tuple[str, ...]


@attrs.frozen(kw_only=True)
class SeenTable:
    """Our table in the kernel. Elements of sets are prefixes; a set that holds anything else is given as None."""

    chains: Mapping[str, SeenChain] = attrs.field(factory=dict)
    sets: Mapping[str, frozenset[PrefixKey] | None] = attrs.field(factory=dict)


def read_table(text: str) -> SeenTable:
    """The table that `nft -j list table` printed."""
    chains: dict[str, Mapping[str, Json]] = {}
    comments: dict[str, list[str]] = {}
    sets: dict[str, frozenset[PrefixKey] | None] = {}
    for item in json.loads(text)["nftables"]:
        match item:
            case {"chain": chain}:
                chains[chain["name"]] = {key: chain.get(key) for key in _HEADER}
                comments.setdefault(chain["name"], [])
            case {"rule": rule}:
                comments.setdefault(rule["chain"], []).append(rule.get("comment", ""))
            case {"set": found}:
                sets[found["name"]] = _elements(found.get("elem", ()))
    return SeenTable(
        chains={name: SeenChain(header=chains[name], comments=tuple(comments[name])) for name in chains}, sets=sets
    )


def _elements(listed: Iterable[Any]) -> frozenset[PrefixKey] | None:
    found: list[PrefixKey] = []
    for element in listed:
        match element:
            case str():
                found.append(prefix_key(element))
            case {"prefix": {"addr": str(address), "len": int(length)}}:
                found.append(prefix_key(f"{address}/{length}"))
            case {"range": [str(first), str(last)]}:
                networks = summarize_address_range(ip_address(first), ip_address(last))
                found += [prefix_key(str(network)) for network in networks]
            case _:
                return None
    return frozenset(found)


def is_made_here(seen: SeenTable) -> bool:
    """Whether a table is an agent's by its content: also where the record of that is lost."""
    return any(comment.startswith(MARK) for chain in seen.chains.values() for comment in chain.comments)


def is_current(seen: SeenChain | None, desired: RenderedChain) -> bool:
    """Whether the chain in the kernel is the desired one; its parts are chains of their own."""
    return (
        seen is not None
        and seen.header == desired.header
        and seen.comments == (desired.generation,) * len(desired.rules)
    )


class Document:
    """Commands for one table, in the order in which nft is to take them.

    The table is added where it is missing, unless `exists`: the kernel refuses to add an owned table again.
    """

    def __init__(self, table: str, *, exists: bool = False) -> None:
        self._exists = exists
        self._table = {"family": FAMILY, "table": table}
        self._commands: list[Json] = []
        self._name = table

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self._commands

    @property
    def text(self) -> str:
        """What nft reads."""
        return json.dumps({"nftables": self._commands})

    def delete_table(self) -> None:
        """Remove everything."""
        self._commands.append({"delete": {"table": {"family": FAMILY, "name": self._name}}})

    def add_sets(self, names: Iterable[str]) -> None:
        """Have these sets, of both families; those that are there stay as they are."""
        self._add_table()
        for name in sorted(names):
            for version in VERSIONS:
                desired = {"name": kernel_set(name, version), "type": _SET_TYPE[version], "flags": ["interval"]}
                self._commands.append({"add": {"set": {**self._table, **desired}}})

    def delete_set(self, kernel_name: str) -> None:
        """Remove a set of one family, which no rule may match any more."""
        self._commands.append({"delete": {"set": {**self._table, "name": kernel_name}}})

    def put_chain(self, chain: RenderedChain, seen: Mapping[str, SeenChain]) -> None:
        """Make the chain be as desired; the sets that it matches are there already or come before.

        `seen` is what the table has by now. Parts that are no longer used stay.
        """
        for name, part in chain.parts.items():
            if not is_current(seen.get(name), part):
                self._fill(part)
        before = seen.get(chain.name)
        if not is_current(before, chain):
            self._replace(chain, None if before is None else before.header)

    def change_chain(self, chain: RenderedChain, known: RenderedChain | None) -> None:
        """Make the chain, which is as `known` (None: missing), be as desired, and remove parts that it does not use."""
        for name, part in chain.parts.items():
            if known is None or name not in known.parts:
                self._fill(part)
        self._replace(chain, None if known is None else known.header)
        for name in sorted(() if known is None else known.parts.keys() - chain.parts.keys()):
            self.delete_chain(name)

    def _replace(self, chain: RenderedChain, header: Mapping[str, Json] | None) -> None:
        if header is not None and any(header[key] != chain.header[key] for key in _FIXED):
            self._add_table()
            self.delete_chain(chain.name)
        self._fill(chain)

    def _fill(self, chain: RenderedChain) -> None:
        self._add_table()
        place = {**self._table, "name": chain.name}
        header = {key: value for key, value in chain.header.items() if value is not None}
        self._commands.append({"add": {"chain": {**place, **header}}})
        self._commands.append({"flush": {"chain": place}})
        for expressions in chain.rules:
            rule = {**self._table, "chain": chain.name, "comment": chain.generation, "expr": list(expressions)}
            self._commands.append({"add": {"rule": rule}})

    def delete_chain(self, name: str) -> None:
        """Remove a chain, to which no rule may jump any more."""
        place = {**self._table, "name": name}
        self._commands += [{"flush": {"chain": place}}, {"delete": {"chain": place}}]

    def change_elements(self, kernel_name: str, *, added: Iterable[PrefixKey], removed: Iterable[PrefixKey]) -> None:
        """Take elements out of a set, then put others in."""
        self._element("delete", kernel_name, removed)
        self._element("add", kernel_name, added)

    def refill(self, kernel_name: str, elements: Iterable[PrefixKey]) -> None:
        """Make a set have exactly these elements, whatever it has."""
        self._commands.append({"flush": {"set": {**self._table, "name": kernel_name}}})
        self._element("add", kernel_name, elements)

    def _element(self, verb: str, kernel_name: str, elements: Iterable[PrefixKey]) -> None:
        listed = [_element(each) for each in sorted(elements)]
        # Without any, nft takes the command for a mistake.
        if listed:
            self._commands.append({verb: {"element": {**self._table, "name": kernel_name, "elem": listed}}})

    def _add_table(self) -> None:
        if not self._commands and not self._exists:
            self._commands.append({"add": {"table": {"family": FAMILY, "name": self._name}}})


def _element(prefix: PrefixKey) -> Json:
    return prefix.address if prefix.is_address else {"prefix": {"addr": prefix.address, "len": prefix.length}}
