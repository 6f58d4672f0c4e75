"""The ids of what the kernel shows."""

import pytest

from nodespan.resources.network import Family, RoutingTable, address_id, route_id, routing_rule_id

V4, V6, MAIN = Family.INET4, Family.INET6, RoutingTable.MAIN


@pytest.mark.parametrize(
    ("table", "family", "gateway", "dst", "priority", "link", "id"),
    [
        (MAIN, V4, "172.20.0.1", "", 1024, "eth0", "inet4/172.20.0.1//1024"),
        (MAIN, V6, "", "fe80::/64", 256, "eth0", "eth0/inet6//fe80::/64/256"),
        (RoutingTable.LOCAL, V4, "", "127.0.0.1/32", 0, "lo", "local/inet4//127.0.0.1/32/0"),
        (RoutingTable.of(180), V6, "fe80::1", "", 7, "eth0", "180/eth0/inet6/fe80::1//7"),
        (MAIN, V6, "", "2001:db8::/32", 1024, "", "inet6//2001:db8::/32/1024"),
    ],
)
def test_route_ids_are_unique(
    table: RoutingTable, family: Family, gateway: str, dst: str, priority: int, link: str, id: str
) -> None:
    made = route_id(table=table, family=family, gateway=gateway, dst=dst, priority=priority, out_link_name=link)
    assert made == id


def test_address_ids_name_link_and_address() -> None:
    assert address_id("eth0", "10.0.0.5/24") == "eth0/10.0.0.5/24"


def test_rule_ids_have_five_digits_to_sort_by() -> None:
    assert routing_rule_id(V4, 1000) == "inet4/01000"
    assert routing_rule_id(V6, 32766) == "inet6/32766"
