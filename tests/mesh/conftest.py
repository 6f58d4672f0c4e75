"""The mesh tier: real namespaces, so only where they can be made."""

import pytest

from tests.support import probe

# The files whose tests wait longest, by rules of the product, the longest first: so none of them is left for the end,
# when all other workers have nothing to do. Files that are not named come after these.
LONGEST = (
    *("test_vip", "test_host_services", "test_etcd", "test_dhcp", "test_cluster", "test_relay", "test_etcd_state"),
    *("test_apply", "test_vip_operator", "test_agent", "test_package", "test_host_files", "test_before_and_after"),
    *("test_network_appliers", "test_paths", "test_lost_keys", "test_cluster_wireguard", "test_cluster_vip"),
    *("test_killed_appliers", "test_proxy", "test_firewall", "test_kernel_parameters", "test_dead_peers"),
    *("test_static_peers", "test_prometheus"),
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST)}
    # Stable: the order inside of a file, and of other tiers behind all these, stays.
    items.sort(
        key=lambda item: order.get(item.path.stem, len(order)) if item.path.parent.name == "mesh" else len(order)
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if reason := probe.no_namespaces():
        pytest.skip(reason)
