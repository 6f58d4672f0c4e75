"""Applies host-wide configuration: names, resolvers, time, files, trust, environment, kernel parameters.

Only what is configured is changed. Originals are kept in the state directory and restored once no longer configured.
"""

from nodespan.controllers.host.environment import EnvironmentController
from nodespan.controllers.host.etc_file import EtcFileController
from nodespan.controllers.host.etc_file_config import EtcFileConfigController, UdevRuleController
from nodespan.controllers.host.host import this_host
from nodespan.controllers.host.hostname_config import HostnameConfigController
from nodespan.controllers.host.hostname_spec import HostnameSpecController
from nodespan.controllers.host.kernel_module import KernelModuleConfigController, KernelModuleSpecController
from nodespan.controllers.host.kernel_params import (
    ForwardingController,
    KernelParamConfigController,
    KernelParamSpecController,
)
from nodespan.controllers.host.machine_file import MachineFileController
from nodespan.controllers.host.managed_files import ManagedFiles
from nodespan.controllers.host.names.member_name import MemberNameController
from nodespan.controllers.host.names.name_service import NameServiceController
from nodespan.controllers.host.network_etc_file import NetworkEtcFileController
from nodespan.controllers.host.resolver_config import ResolverConfigController
from nodespan.controllers.host.static_host import StaticHostController
from nodespan.controllers.host.statuses import ResolverSpecController, TimeServerSpecController
from nodespan.controllers.host.time_server_config import TimeServerConfigController
from nodespan.controllers.host.time_sync import AdjtimeStatusController, SyncController
from nodespan.controllers.host.trusted_roots import TrustedRootsController
from nodespan.runtime.plugins import AnyController, Settings

ORIGINALS = "originals"


def controllers(settings: Settings) -> list[AnyController]:
    """The controllers of this family, for its entry point."""
    host = this_host(settings.root)
    files = ManagedFiles(host, settings.state_dir / ORIGINALS)
    leaving = settings.leaving
    hostname = HostnameSpecController(host, settings.state_dir, leaving=leaving)
    parameters = KernelParamSpecController(host, settings.state_dir, leaving=leaving)
    names = NameServiceController(host, settings.state_dir)
    settings.left_behind.extend((files.left_behind, hostname.left_behind, parameters.left_behind, names.left_behind))
    return [
        AdjtimeStatusController(),
        EnvironmentController(host),
        EtcFileConfigController(),
        EtcFileController(files, leaving=leaving),
        ForwardingController(),
        HostnameConfigController(),
        hostname,
        KernelModuleConfigController(),
        KernelModuleSpecController(host),
        KernelParamConfigController(),
        parameters,
        MachineFileController(files, leaving=leaving),
        MemberNameController(host),
        names,
        NetworkEtcFileController(host),
        ResolverConfigController(),
        ResolverSpecController(),
        StaticHostController(),
        SyncController(host),
        TimeServerConfigController(),
        TimeServerSpecController(),
        TrustedRootsController(files, settings.state_dir, leaving=leaving),
        UdevRuleController(),
    ]


__all__ = ["ORIGINALS", "controllers"]
