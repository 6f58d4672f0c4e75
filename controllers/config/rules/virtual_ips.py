"""The documents of virtual IPs."""

from collections.abc import Iterator

from nodespan.controllers.config.finding import Finding
from nodespan.controllers.config.rules.base import RuleSet, check_ip_name, required
from nodespan.resources.config.network import (
    HCloudVIPConfig,
    Layer2VIPConfig,
)

NO_VIP = "a virtual IP is not allowed on a worker"
NO_VIP_HINT = "write machine.type: controlplane (a machine without a type is a worker), or take the virtual IP away"
NO_EFFECT = "a virtual IP has no effect on a worker: only nodes of the control plane take part in its election"

RULES = RuleSet()


@RULES.document(Layer2VIPConfig)
def check_layer2_vip(vip: Layer2VIPConfig) -> Iterator[Finding]:
    """Layer2VIPConfig."""
    yield from check_ip_name(vip)
    yield from required(vip, ("link", vip.link))


@RULES.document(HCloudVIPConfig)
def check_hcloud_vip(vip: HCloudVIPConfig) -> Iterator[Finding]:
    """HCloudVIPConfig."""
    yield from check_ip_name(vip)
    yield from required(vip, ("link", vip.link), ("apiToken", vip.api_token))
