"""Example: resources that users write, and a controller that acts on them.

    nodespan agent --config examples/banners.config.yaml --controllers examples.banners:controllers
    nodespan apply -f examples/banners.yaml         # from another terminal
    nodespan get bannerstatuses
    nodespan edit banner welcome
    nodespan delete banner welcome

The configuration keeps the namespace of both types in a SQLite file: after a crash, or a restart of the machine, the
banners are still wanted, and it is still known what was written.
"""

from pathlib import Path

import attrs
import trio

from nodespan.runtime.controller import QueueContext, QueueController, exclusive, primary
from nodespan.runtime.plugins import Settings
from nodespan.runtime.resource import Pointer, ResourceType

NAMESPACE = "banners"


@attrs.frozen(kw_only=True)
class BannerSpec:
    """A text for those who log in, as often as they are to read it."""

    text: str
    times: int = attrs.field(default=1, validator=attrs.validators.in_(range(1, 11)))


@attrs.frozen(kw_only=True)
class BannerStatusSpec:
    """The file that a banner was written to, or why it was not."""

    path: str = ""
    error: str = ""


# `writable` is what lets users create, change and delete banners. What they write is checked by the class of the spec:
# a key that it does not have, a missing text or eleven times are refused, with line and column.
Banner = ResourceType("Banners.example.dev", BannerSpec, namespace=NAMESPACE, writable=True, columns={"Text": ".text"})
BannerStatus = ResourceType(
    "BannerStatuses.example.dev",
    BannerStatusSpec,
    singular="BannerStatus",
    namespace=NAMESPACE,
    columns={"Path": ".path", "Error": ".error"},
)


class BannerController(QueueController):
    """A file for each banner, and a status that says which."""

    name = "example.BannerController"
    # A primary input may be held by finalizers: a banner that is deleted stays until its file is removed.
    inputs = (primary(Banner),)
    outputs = (exclusive(BannerStatus),)

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def reconcile(self, ctx: QueueContext, item: Pointer[BannerSpec]) -> None:
        """Called for the banner that changed, and at the start for each one."""
        banner = ctx.find(Banner, item.id)
        if banner is None:
            return
        path = self._directory / f"{item.id}.txt"
        if banner.metadata.is_tearing_down:
            await trio.to_thread.run_sync(path.unlink, True)  # noqa: FBT003  # whether it may be missing
            await ctx.remove(BannerStatus, item.id)
            await ctx.remove_finalizer(Banner, item.id)
            return
        if path.parent != self._directory:
            await ctx.put(BannerStatus, item.id, BannerStatusSpec(error="its id is not the name of a file"))
            return
        await ctx.add_finalizer(Banner, item.id)
        await trio.to_thread.run_sync(path.write_text, f"{banner.spec.text}\n" * banner.spec.times)
        await ctx.put(BannerStatus, item.id, BannerStatusSpec(path=str(path)))


def controllers(settings: Settings) -> BannerController:
    """What `--controllers` names: the files go to the state directory."""
    return BannerController(settings.state_dir)
