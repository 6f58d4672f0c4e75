"""The machine configurations of a cluster's nodes, from its plan."""

import secrets
from collections.abc import Callable

import attrs

from nodespan.cluster.plan import Plan, Station
from nodespan.cluster.virtual_ip import vip_interface, vip_settings
from nodespan.cluster.wireguard import wireguard_devices
from nodespan.controllers.membership.machine_config import Mesh, NodePart, config_text, new_mesh
from nodespan.kernel.wireguard.keys import KEY_SIZE, new_private_key


def node_configs(plan: Plan, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> dict[Station, str]:
    """The text of each node's configuration, with new secrets. Raises MachineConfigError."""
    mesh = _mesh(plan, random_bytes)
    parts = {node: NodePart(control_plane=node in plan.control_plane_nodes) for node in plan.nodes}
    for node in plan.etcd_nodes:
        parts[node] = attrs.evolve(parts[node], interfaces=(vip_interface(plan),), nodespan=vip_settings(plan))
    if plan.relay:
        for node in plan.nodes:
            settings = {**parts[node].nodespan, "kubespan": {"relays": [plan.discovery_url.rstrip("/")]}}
            parts[node] = attrs.evolve(parts[node], nodespan=settings)
    if plan.wireguard is not None:
        keys = {node: new_private_key(random_bytes(KEY_SIZE)) for node in plan.nodes}
        for node, device in wireguard_devices(plan, keys).items():
            parts[node] = attrs.evolve(parts[node], interfaces=(*parts[node].interfaces, device))
    return {
        node: config_text(mesh, purpose=f"The node {node.name} of the cluster {plan.name!r}.", node=part)
        for node, part in parts.items()
    }


def _mesh(plan: Plan, random_bytes: Callable[[int], bytes]) -> Mesh:
    mesh = new_mesh(plan.name, plan.discovery_url, random_bytes=random_bytes)
    mesh = attrs.evolve(mesh, kubespan=plan.kubespan, harvest_extra_endpoints=True)
    if plan.wireguard is None:
        return mesh
    # The two do not overlap: KubeSpan neither uses the devices' addresses as endpoints nor runs over the devices,
    # whose packets it would have to carry itself.
    network = str(plan.wireguard)
    return attrs.evolve(
        mesh, endpoint_filters=("0.0.0.0/0", "::/0", f"!{network}"), exclude_advertised_networks=(network,)
    )
