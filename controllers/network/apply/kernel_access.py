"""The kernel as the appliers see it: mirrors to observe with, and connections for worker threads."""

from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol, TypeVar

import attrs

from nodespan.kernel.mirror import ObjectKind
from nodespan.kernel.rtnetlink import RtnlSocket, open_rtnl_socket
from nodespan.kernel.shared_mirror import Aspect, MirrorView, open_shared_mirror

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KernelAccess(Protocol):
    """One network namespace of a kernel; a benchmark has one in memory."""

    @property
    def netns(self) -> str | None:
        """The namespace, a path; None for the agent's own."""

    def mirror(
        self, kind: ObjectKind[K, V], on_change: Callable[[], None], aspect: Aspect[V] | None = None
    ) -> AbstractAsyncContextManager[MirrorView[K, V]]:
        """A mirror of the objects of a kind; `on_change` is called for changes that matter to the aspect."""

    def open(self) -> AbstractContextManager[RtnlSocket]:
        """A connection; its calls block."""


@attrs.frozen
class NetworkNamespace:
    """The running kernel."""

    netns: str | None = None

    def mirror(
        self, kind: ObjectKind[K, V], on_change: Callable[[], None], aspect: Aspect[V] | None = None
    ) -> AbstractAsyncContextManager[MirrorView[K, V]]:
        """The mirror that all in this process share."""
        return open_shared_mirror(kind, netns=self.netns, on_change=on_change, aspect=aspect)

    def open(self) -> AbstractContextManager[RtnlSocket]:
        """A connection of its own."""
        return open_rtnl_socket(self.netns)
