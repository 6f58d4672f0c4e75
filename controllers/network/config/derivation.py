"""What the controllers between configuration and unmerged specs have in common."""

import builtins
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import attrs

from nodespan.controllers.common.cmdline import CmdlineNetwork
from nodespan.controllers.network.config.cmdline_parts import cmdline_network
from nodespan.controllers.network.config.derived import Asked, Derived, PartKey
from nodespan.controllers.network.config.follower import Follower
from nodespan.controllers.network.config.known_links import KnownLinks
from nodespan.controllers.network.config.parts import device_key, document_parts, find_device, machine_config
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


@attrs.frozen(kw_only=True)
class Scene:
    """Everything that the specs follow from. `devices` are those that are not ignored, by their ids.

    `ignored` are the real names of the links that the configuration says to leave alone.
    """

    machine: MachineConfigSpec
    cmdline: CmdlineNetwork
    links: KnownLinks
    devices: Mapping[str, Device]
    ignored: frozenset[str]


class Derivation(Follower, Generic[W, S]):
    """Writes specs of one type to `network-config`, derived part by part from configuration and kernel line."""

    # The documents that are parts.
    documents: ClassVar[tuple[builtins.type, ...]] = ()
    only_derives = True
    type: ResourceType[S]
    more_inputs: ClassVar[tuple[Input, ...]] = ()
    _derived: Derived[W, S]

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
    def ask(self, part: Any, scene: Scene) -> Asked[W]:
        """What a device or a document asks for; pure."""

    @abstractmethod
    def combine(self, wishes: Sequence[W]) -> S:
        """One spec from what several parts ask for."""

    def context(self, scene: Scene) -> Hashable:  # noqa: ARG002
        """What else than the part and what is ignored the answer of `ask` depends on."""
        return None

    def of_cmdline(self, scene: Scene) -> Asked[W]:  # noqa: ARG002
        """What the kernel line asks for."""
        return Asked()

    def defaults(self, ctx: QueueContext, scene: Scene) -> Asked[W]:  # noqa: ARG002
        """What is asked for by nobody; called only where the configuration says that it is wanted."""
        return Asked()

    async def begin(self, ctx: QueueContext) -> None:
        """Derive everything."""
        self._derived = Derived(ctx, self.type, CONFIG_NAMESPACE, self.combine)
        self._links = KnownLinks()
        self._links.observe(ctx)
        self._machine, self._cmdline = machine_config(ctx), cmdline_network(ctx)
        self._documents = document_parts(self._machine, *self.documents)
        self._devices.clear()
        self._ignored.clear()
        for resource in ctx.list(DeviceConfigSpec):
            self._note_device(resource.id, find_device(ctx, resource.id))
        scene = self._scene()
        parts: dict[PartKey, Any] = {device_key(id): device for id, device in self._devices.items()}
        parts |= {**self._documents, **self._shared_parts(ctx, scene)}
        await self._derived.follow(
            {key: part for key, part in parts.items() if part is not None},
            self._asking(scene),
            context=self._key(scene),
        )

    async def item(self, ctx: QueueContext, id: str) -> None:
        """Derive what one device wants."""
        ignored = dict(self._ignored)
        self._note_device(id, find_device(ctx, id))
        if ignored != self._ignored or self._machine.nodespan.defaults.dhcp:
            # It also matters to what no device asks for.
            self.announce()
        scene = self._scene()
        await self._derived.change(
            {device_key(id): self._devices.get(id)}, self._asking(scene), context=self._key(scene)
        )

    async def news(self, ctx: QueueContext, changed: frozenset[tuple[str, str]]) -> None:
        """Derive what documents, kernel line and links change."""
        self._links.look(ctx, (id for name, id in changed if name == LinkStatus.name))
        parts: dict[PartKey, Any] = {}
        machine = machine_config(ctx)
        if machine is not self._machine:
            documents = document_parts(machine, *self.documents)
            parts = {**dict.fromkeys(self._documents), **documents}
            self._machine, self._documents = machine, documents
        self._cmdline = cmdline_network(ctx)
        scene = self._scene()
        parts |= self._shared_parts(ctx, scene)
        await self._derived.change(parts, self._asking(scene), context=self._key(scene))

    def _note_device(self, id: str, device: Device | None) -> None:
        self._devices.pop(id, None)
        self._ignored.pop(id, None)
        if device is not None and device.ignore:
            self._ignored[id] = device.interface
        elif device is not None:
            self._devices[id] = device

    def _shared_parts(self, ctx: QueueContext, scene: Scene) -> dict[PartKey, Any]:
        wants_defaults = scene.machine.nodespan.defaults.dhcp
        return {
            _CMDLINE: self.of_cmdline(scene),
            _DEFAULTS: self.defaults(ctx, scene) if wants_defaults else None,
        }

    def _scene(self) -> Scene:
        return Scene(
            machine=self._machine,
            cmdline=self._cmdline,
            links=self._links,
            devices=self._devices,
            ignored=frozenset(map(self._links.resolve, self._ignored.values())),
        )

    def _key(self, scene: Scene) -> Hashable:
        return scene.ignored, self.context(scene)

    def _asking(self, scene: Scene) -> Any:
        def ask(part: Any) -> Asked[W]:
            if isinstance(part, Asked):
                return part
            if scene.links.resolve(getattr(part, "name", "")) in scene.ignored:
                return Asked()
            return self.ask(part, scene)

        return ask
