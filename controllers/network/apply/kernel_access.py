"""The kernel as the appliers see it: mirrors to observe with, and connections for worker threads."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
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


class KeptConnection:
    """A kernel that is spoken to over one connection, by one thread at a time: those of the jobs of one applier.

    Opening one takes a dozen system calls, and each lets other threads of Python go first. After an error, which may
    leave an answer unread, the next job gets a new one.
    """

    def __init__(self, kernel: KernelAccess) -> None:
        self._kernel = kernel
        self._closing = ExitStack()
        self._connection: RtnlSocket | None = None

    @property
    def netns(self) -> str | None:
        """The namespace."""
        return self._kernel.netns

    def mirror(
        self, kind: ObjectKind[K, V], on_change: Callable[[], None], aspect: Aspect[V] | None = None
    ) -> AbstractAsyncContextManager[MirrorView[K, V]]:
        """A mirror of the kernel's."""
        return self._kernel.mirror(kind, on_change, aspect)

    @contextmanager
    def open(self) -> Iterator[RtnlSocket]:
        """The connection."""
        if self._connection is None:
            self._connection = self._closing.enter_context(self._kernel.open())
        try:
            yield self._connection
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it, until it is opened again."""
        self._connection = None
        self._closing.close()
