"""The failures of an applier: shown as resources, and logged once each."""

import errno
import os
from collections.abc import Container, Mapping
from typing import Any

from nodespan.resources.network import NetworkProblem, NetworkProblemSpec, Severity, network_problem_id
from nodespan.runtime.controller.context import Access
from nodespan.runtime.errors import NotFoundError
from nodespan.runtime.resource import ResourceType

_NO_PRIVILEGES = "the agent may not change the network: it lacks CAP_NET_ADMIN, start it as root"


def reason_of(error: OSError) -> str:
    """An error of the kernel as a text for operators."""
    if error.errno == errno.EPERM:
        return _NO_PRIVILEGES
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__)


class Problems:
    """The problems with the specs of one type, by the ids of the specs."""

    def __init__(self, ctx: Access, type: ResourceType[Any]) -> None:
        self._ctx = ctx
        self._type = type
        # Left by an earlier run of the controller.
        self._shown = {
            problem.spec.id: problem.spec.message
            for problem in ctx.list(NetworkProblem)
            if problem.metadata.owner == ctx.name and problem.spec.type == type.name
        }
        self._logged = {_subject(id, message): message for id, message in self._shown.items()}

    async def show(self, problems: Mapping[str, str], *, loud: frozenset[str] = frozenset()) -> None:
        """Replace all problems with these, by the ids of the specs; those in `loud` are logged when new."""
        for id in self._shown.keys() - problems.keys():
            await self.clear(id)
        for id, message in problems.items():
            await self.set(id, message, loud=id in loud)

    async def keep(self, ids: Container[str]) -> None:
        """Clear the problems of all specs except these."""
        for id in tuple(self._shown):
            if id not in ids:
                await self.clear(id)

    async def set(self, id: str, message: str, *, loud: bool = True, severity: Severity = Severity.ERROR) -> None:
        """Set the problem of one spec; a `loud` one is logged when it is new, or was not loud before."""
        subject = _subject(id, message)
        if loud and self._logged.get(subject) != message:
            self._logged[subject] = message
            event = "cannot apply" if severity is Severity.ERROR else "needs attention"
            self._ctx.log.warning(event, what=self._type.name, id=subject, reason=message)
        if self._shown.get(id) == message:
            return
        self._shown[id] = message
        spec = NetworkProblemSpec(type=self._type.name, id=id, message=message, severity=severity)
        await self._ctx.put(NetworkProblem, network_problem_id(self._type.name, id), spec)

    async def clear(self, id: str) -> None:
        """Clear the problem of this spec."""
        if self._shown.pop(id, None) is None:
            return
        self._logged.pop(id, None)
        try:
            await self._ctx.destroy(NetworkProblem, network_problem_id(self._type.name, id))
        except NotFoundError:
            return


def _subject(id: str, message: str) -> str:
    """Global failures, such as missing privileges, are logged once."""
    return "" if message == _NO_PRIVILEGES else id
