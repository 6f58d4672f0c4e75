"""NodespanConfig: the settings that only nodespan has."""

import datetime
from typing import Literal

import attrs

from runtime.resource import wire


@attrs.frozen(kw_only=True)
class EtcdSettings:
    """The etcd that elects the owners of virtual IPs. `ca`, `cert` and `key` are paths of PEM files."""

    endpoints: tuple[str, ...] = ()
    ca: str = ""
    cert: str = ""
    key: str = ""


@attrs.frozen(kw_only=True)
class VipSettings:
    """How long an owner that falls silent keeps a virtual IP, and the conditions that must hold to own one.

    The default lease is that of etcd's elections, so that mixed clusters behave alike.
    """

    lease_ttl: datetime.timedelta = attrs.field(default=datetime.timedelta(seconds=60), metadata=wire("leaseTTL"))
    conditions: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class NodespanConfig:
    """`pod_networks` is what `advertiseKubernetesNetworks` advertises."""

    api_version: Literal["nodespan.dev/v1alpha1"] = "nodespan.dev/v1alpha1"
    kind: Literal["NodespanConfig"] = "NodespanConfig"
    etcd: EtcdSettings = EtcdSettings()
    vip: VipSettings = VipSettings()
    pod_networks: tuple[str, ...] = ()
