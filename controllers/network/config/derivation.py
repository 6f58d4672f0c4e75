"""The base of controllers that derive unmerged specs from the configuration and the kernel command line.

A configuration falls into parts: the devices of the main document, further documents, the kernel command line, and the
defaults. A controller says, in pure functions, which specs one part requests; the base keeps the outputs equal to all
requests together, calls `request` only for parts that changed, and publishes what is invalid as problems. Example: a
spec for each link that a MirrorConfig document names,

    class MirrorConfigController(Derivation[MirrorSpecSpec, MirrorSpecSpec]):
        name = "network.MirrorConfigController"
        type = MirrorSpec
        documents = (MirrorConfig,)

        def request(self, part: Any, context: DerivationContext) -> Requested[MirrorSpecSpec]:
            if not isinstance(part, MirrorConfig):
                return Requested()
            spec = MirrorSpecSpec(link_name=part.link, layer=ConfigLayer.CONFIGURATION)
            return Requested(outputs=((layered_id(spec.layer, part.name), spec),))

        def combine(self, requests: Sequence[MirrorSpecSpec]) -> MirrorSpecSpec:
            return requests[-1]

The files beside this one: `parts` (which parts there are), `derived_outputs` (requests to outputs), `batched_queue`
(when it runs), `known_links` (names, aliases and selectors of links), `*_parts` (what each kind of spec follows from).
"""

import builtins
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import attrs

from nodespan.controllers.common.cmdline import CmdlineNetwork
from nodespan.controllers.common.disagreement import Disagreement, disagreements
from nodespan.controllers.network.config.batched_queue import BatchedQueueController
from nodespan.controllers.network.config.cmdline_parts import cmdline_network
from nodespan.controllers.network.config.derived_outputs import Claim, DerivedOutputs, PartKey, Requested
from nodespan.controllers.network.config.known_links import KnownLinks
from nodespan.controllers.network.config.parts import (
    device_key,
    document_parts,
    find_device,
    is_refined_by,
    machine_config,
    place_of,
    written_link,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.config.device import Device
from nodespan.resources.network import CONFIG_NAMESPACE, DeviceConfigSpec, LinkStatus, NetworkProblem
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline
from nodespan.runtime.controller import Input, QueueContext, mapped, primary, shared
from nodespan.runtime.resource import ResourceType

W = TypeVar("W")
S = TypeVar("S")

_CMDLINE: PartKey = (-1,)
_DEFAULTS: PartKey = (-2,)
# Fields that name the link, by whichever of its names, and one that is the same in all requests of the configuration.
_NAMES = frozenset({"link_name", "out_link_name", "layer"})


@attrs.frozen(kw_only=True)
class DerivationContext:
    """What specs may depend on beside their part. `devices` are those that are not ignored, by their ids.

    `ignored` are the real names of the links that the configuration excludes.
    """

    machine: MachineConfigSpec
    cmdline: CmdlineNetwork
    links: KnownLinks
    devices: Mapping[str, Device]
    ignored: frozenset[str]


class Derivation(BatchedQueueController, Generic[W, S]):
    """Writes specs of one type to `network-config`, derived part by part. See the module for an example."""

    # The classes of documents that are parts.
    documents: ClassVar[tuple[builtins.type, ...]] = ()
    only_derives = True
    type: ResourceType[S]
    more_inputs: ClassVar[tuple[Input, ...]] = ()
    _outputs: DerivedOutputs[W, S]

    def __init__(self) -> None:
        super().__init__()
        self.inputs = (
            primary(DeviceConfigSpec),
            mapped(MachineConfig, MACHINE_CONFIG_ID),
            mapped(LinkStatus),
            mapped(KernelCmdline, KERNEL_CMDLINE_ID),
            *self.more_inputs,
        )
        self.outputs = (shared(self.type), shared(NetworkProblem))
        self._links = KnownLinks()
        self._machine = MachineConfigSpec()
        self._cmdline = CmdlineNetwork()
        self._documents: Mapping[PartKey, Any] = {}
        self._devices: dict[str, Device] = {}
        # The names of ignored devices, by the ids of these.
        self._ignored: dict[str, str] = {}

    @abstractmethod
    def request(self, part: Any, context: DerivationContext) -> Requested[W]:
        """What a device or a document requests; pure."""

    @abstractmethod
    def combine(self, requests: Sequence[W]) -> S:
        """One spec from the requests of several parts, in their order."""

    def disagreements(self, one: W, other: W) -> tuple[Disagreement, ...]:
        """In what two requests for one output contradict each other: in each field, but for the names of links."""
        return disagreements(one, other, leave_out=_NAMES)

    def depends_on(self, context: DerivationContext) -> Hashable:  # noqa: ARG002
        """What `request` depends on beside its part and `context.ignored`; a change of it derives all parts again."""
        return None

    def from_cmdline(self, context: DerivationContext) -> Requested[W]:  # noqa: ARG002
        """What the kernel command line requests."""
        return Requested()

    def defaults(self, ctx: QueueContext, context: DerivationContext) -> Requested[W]:  # noqa: ARG002
        """Defaults for links that nothing configures; called only if the configuration enables defaults."""
        return Requested()

    async def begin(self, ctx: QueueContext) -> None:
        """Derive everything."""
        self._outputs = DerivedOutputs(ctx, self.type, CONFIG_NAMESPACE, self.combine, self._conflict)
        self._links = KnownLinks()
        self._links.observe(ctx)
        self._machine, self._cmdline = machine_config(ctx), cmdline_network(ctx)
        self._documents = document_parts(self._machine, *self.documents)
        self._devices.clear()
        self._ignored.clear()
        for resource in ctx.list(DeviceConfigSpec):
            self._note_device(resource.id, find_device(ctx, resource.id))
        context = self._current_context()
        parts: dict[PartKey, Any] = {device_key(id): device for id, device in self._devices.items()}
        parts |= {**self._documents, **self._shared_parts(ctx, context)}
        await self._outputs.follow(
            {key: part for key, part in parts.items() if part is not None},
            self._requesting(context),
            depends_on=self._dependencies(context),
        )

    async def item(self, ctx: QueueContext, id: str) -> None:
        """Derive what one device requests."""
        ignored = dict(self._ignored)
        self._note_device(id, find_device(ctx, id))
        if ignored != self._ignored or self._machine.nodespan.defaults.dhcp:
            # The defaults and other devices depend on it too.
            self.request_batch()
        context = self._current_context()
        await self._outputs.change(
            {device_key(id): self._devices.get(id)}, self._requesting(context), depends_on=self._dependencies(context)
        )

    async def batch(self, ctx: QueueContext, changed: frozenset[tuple[str, str]]) -> None:
        """Derive what follows from changed documents, links, or kernel command line."""
        self._links.look(ctx, (id for name, id in changed if name == LinkStatus.name))
        parts: dict[PartKey, Any] = {}
        machine = machine_config(ctx)
        if machine is not self._machine:
            documents = document_parts(machine, *self.documents)
            parts = {**dict.fromkeys(self._documents), **documents}
            self._machine, self._documents = machine, documents
        self._cmdline = cmdline_network(ctx)
        context = self._current_context()
        parts |= self._shared_parts(ctx, context)
        await self._outputs.change(parts, self._requesting(context), depends_on=self._dependencies(context))

    def _conflict(self, one: Claim[W], other: Claim[W]) -> str:
        """What two parts contradict each other in: a link may be configured by several names, and by selectors."""
        if isinstance(one.part, Requested) or isinstance(other.part, Requested) or is_refined_by(one.part, other.part):
            return ""
        differing = self.disagreements(one.output, other.output)
        if not differing:
            return ""
        first, second = place_of(one), place_of(other)
        said = "; ".join(f"{each.field} is {each.one} in {first}, and {each.other} in {second}" for each in differing)
        return f"one link is configured twice, and differently: {said}. The latter is in effect: keep one of the two"

    def _note_device(self, id: str, device: Device | None) -> None:
        self._devices.pop(id, None)
        self._ignored.pop(id, None)
        if device is not None and device.ignore:
            self._ignored[id] = device.interface
        elif device is not None:
            self._devices[id] = device

    def _shared_parts(self, ctx: QueueContext, context: DerivationContext) -> dict[PartKey, Any]:
        has_defaults = context.machine.nodespan.defaults.dhcp
        return {
            _CMDLINE: self.from_cmdline(context),
            _DEFAULTS: self.defaults(ctx, context) if has_defaults else None,
        }

    def _current_context(self) -> DerivationContext:
        return DerivationContext(
            machine=self._machine,
            cmdline=self._cmdline,
            links=self._links,
            devices=self._devices,
            ignored=frozenset(map(self._links.resolve, self._ignored.values())),
        )

    def _dependencies(self, context: DerivationContext) -> Hashable:
        return context.ignored, self.depends_on(context)

    def _requesting(self, context: DerivationContext) -> Any:
        def request(part: Any) -> Requested[W]:
            if isinstance(part, Requested):
                return part
            if context.links.resolve(written_link(part)) in context.ignored:
                return Requested()
            return self.request(part, context)

        return request
