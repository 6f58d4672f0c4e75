"""network.ResolverSpecController and network.TimeServerSpecController: publish the desired servers as those in effect.

Other programs use the servers; network.EtcFileController configures those programs.
"""

from nodespan.resources.network import (
    ResolverSpec,
    ResolverSpecSpec,
    ResolverStatus,
    ResolverStatusSpec,
    TimeServerSpec,
    TimeServerSpecSpec,
    TimeServerStatus,
    TimeServerStatusSpec,
)
from nodespan.runtime.controller.context import Access
from nodespan.runtime.controller.transform import Transform
from nodespan.runtime.resource import Resource


def _resolvers(_ctx: Access, input: Resource[ResolverSpecSpec]) -> ResolverStatusSpec:
    spec = input.spec
    return ResolverStatusSpec(
        dns_servers=spec.dns_servers, name_servers=spec.name_servers, search_domains=spec.search_domains
    )


def _time_servers(_ctx: Access, input: Resource[TimeServerSpecSpec]) -> TimeServerStatusSpec:
    return TimeServerStatusSpec(time_servers=input.spec.time_servers, use_nts=input.spec.use_nts)


class ResolverSpecController(Transform[ResolverSpecSpec, ResolverStatusSpec]):
    """Copies the merged spec to the status."""

    only_derives = True

    def __init__(self) -> None:
        super().__init__(
            "network.ResolverSpecController", input=ResolverSpec, output=ResolverStatus, transform=_resolvers
        )


class TimeServerSpecController(Transform[TimeServerSpecSpec, TimeServerStatusSpec]):
    """Copies the merged spec to the status."""

    only_derives = True

    def __init__(self) -> None:
        super().__init__(
            "network.TimeServerSpecController", input=TimeServerSpec, output=TimeServerStatus, transform=_time_servers
        )
