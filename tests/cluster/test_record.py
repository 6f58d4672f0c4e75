"""What was asked for is known as long as the cluster is there."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import attrs
import pytest

from nodespan.cluster.plan import Plan
from nodespan.cluster.record import recorded, write_record


@pytest.mark.parametrize(
    "asked_for",
    [
        Plan(),
        Plan(size=5, control_planes=2, kubespan=False, wireguard=ip_network("10.99.0.0/24")),
        Plan(wireguard=ip_network("fd00:99::/64")),
        Plan(size=4, control_planes=3, vip=ip_address("198.51.100.100")),
    ],
    ids=["usual", "wireguard", "both", "vip"],
)
def test_a_plan_is_read_back_as_it_was_recorded(asked_for: Plan, tmp_path: Path) -> None:
    plan = attrs.evolve(asked_for, clusters=tmp_path)
    plan.directory.mkdir()
    write_record(plan)
    assert recorded(plan.name, clusters=tmp_path) == plan


def test_without_a_record_the_default_plan_is_assumed(tmp_path: Path) -> None:
    assert recorded("demo", clusters=tmp_path) == Plan(clusters=tmp_path)
