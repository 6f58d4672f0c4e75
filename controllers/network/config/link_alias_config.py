"""network.LinkAliasConfigController: which links the aliases of the configuration are for."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nodespan.controllers.network.config.derived_outputs import DerivedOutputs, Requested, last
from nodespan.controllers.network.config.known_links import KnownLinks
from nodespan.controllers.network.config.parts import machine_config
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.links import LinkAliasConfig
from nodespan.resources.network import (
    NAMESPACE,
    LinkAliasSpec,
    LinkAliasSpecSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
)
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, exclusive, shared, weak

if TYPE_CHECKING:
    from nodespan.controllers.common.cel import Expression

_MANY = "%d"


def choose_aliases(
    documents: Iterable[LinkAliasConfig], links: Mapping[str, LinkStatusSpec]
) -> Requested[LinkAliasSpecSpec]:
    """The alias of each link that gets one, in the order of the names of the documents; a link has at most one.

    Only NICs are looked at. A fixed name is for one link; `net%d` for many, counted from 0 in the order of the
    permanent addresses.
    """
    # Only a configuration with aliases pays for the language of their selectors.
    from nodespan.controllers.common.cel import ExpressionError, parse

    chosen: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    warnings: list[tuple[str, str]] = []
    for document in sorted(documents, key=lambda document: document.name.encode()):
        try:
            found = _matching(parse(document.selector.match), links)
        except ExpressionError as error:
            text = f"selector.match, at character {error.position + 1}: {error.message}"
            problems.append((document.name, text))
            continue
        if document.name.endswith(_MANY):
            free = [name for name in found if name not in chosen]
            chosen |= {name: f"{document.name.removesuffix(_MANY)}{number}" for number, name in enumerate(free)}
        elif len(found) == 1 and found[0] not in chosen:
            chosen[found[0]] = document.name
        else:
            warnings.append((document.name, _why_not(found, chosen)))
    requests = tuple((name, LinkAliasSpecSpec(alias=alias)) for name, alias in sorted(chosen.items()))
    return Requested(outputs=requests, problems=tuple(problems), warnings=tuple(warnings))


def _matching(expression: "Expression", links: Mapping[str, LinkStatusSpec]) -> list[str]:
    nics = [(status.permanent_addr or status.hardware_addr, name) for name, status in links.items() if status.physical]
    return [name for _, name in sorted(nics) if expression.matches(links[name])]


def _why_not(found: list[str], chosen: Mapping[str, str]) -> str:
    if not found:
        return "no NIC is as selector.match says"
    if len(found) == 1:
        return f"{found[0]} is called {chosen[found[0]]} already, by a document whose name comes first"
    return f"{len(found)} NICs are as selector.match says ({', '.join(found)}): a name for many of them ends in %d"


class LinkAliasConfigController(Controller):
    """Aliases that cannot be given are named as problems, the others stand."""

    name = "network.LinkAliasConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(LinkStatus), destroy_ready(LinkAliasSpec))
    outputs = (exclusive(LinkAliasSpec), shared(NetworkProblem))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration and the links."""
        links = KnownLinks()
        derived: DerivedOutputs[LinkAliasSpecSpec, LinkAliasSpecSpec] = DerivedOutputs(
            ctx, LinkAliasSpec, NAMESPACE, last
        )
        async for _ in ctx:
            documents = machine_config(ctx).documents_of(LinkAliasConfig)
            requested: Requested[LinkAliasSpecSpec] = Requested()
            if documents:
                links.observe(ctx)
                requested = choose_aliases(documents, links.statuses)
            await derived.follow({(): requested}, _same)


def _same(requested: Requested[LinkAliasSpecSpec]) -> Requested[LinkAliasSpecSpec]:
    return requested
