"""Which kernel parameters are desired, and which files they are."""

import pytest

from nodespan.controllers.config.loading import load
from nodespan.controllers.host.kernel_parameter_rules import (
    Parameter,
    advertised_versions,
    beside,
    configured_parameters,
    implied_parameters,
    parameter_of,
    weakened,
)
from nodespan.resources.kubespan import KubeSpanConfigSpec


@pytest.mark.parametrize(
    ("id", "absolute"),
    [
        ("proc.sys.net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("proc.sys.net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"),
        ("proc.sys.net.ipv6.conf.eth0/103.disable_ipv6", "/proc/sys/net/ipv6/conf/eth0.103/disable_ipv6"),
        ("proc.sys.net/ipv6/conf/eth0.103/disable_ipv6", "/proc/sys/net/ipv6/conf/eth0.103/disable_ipv6"),
        ("proc.sys.kernel/../../../etc/passwd", "/proc/sys/etc/passwd"),
        ("proc.sys.//a//b", "/proc/sys/a/b"),
        ("sys.block.sda.queue.scheduler", "/sys/block/sda/queue/scheduler"),
        (
            "sys.devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        ),
        ("sys.net", "/sys/net"),
        ("proc.sys.", None),
        ("proc.sys./", None),
        ("proc.sys.a\0b", None),
        ("else.a", None),
    ],
)
def test_the_first_separator_decides_and_nothing_leads_out(id: str, absolute: str | None) -> None:
    found = parameter_of(id)
    assert (None if found is None else found.absolute) == absolute


@pytest.mark.parametrize(
    ("path", "link", "is_of_namespace"),
    [
        ("net/ipv4/conf/eth0/rp_filter", "eth0", True),
        ("net/ipv6/neigh/eth0.5/gc_stale_time", "eth0.5", True),
        ("net/ipv4/conf/all/rp_filter", "", True),
        ("net/core/somaxconn", "", True),
        ("kernel/panic", "", False),
    ],
)
def test_a_setting_of_a_link_is_known_as_one(path: str, link: str, is_of_namespace: bool) -> None:
    assert (Parameter(path).link_name, Parameter(path).is_of_namespace) == (link, is_of_namespace)


def test_a_file_of_sysfs_may_be_that_of_a_link() -> None:
    assert Parameter("class/net/eth0/queues/rx-0/rps_cpus", sys=True).link_name == "eth0"
    assert Parameter("class/net/eth0", sys=True).link_name == ""
    assert not Parameter("class/net/eth0/gro_flush_timeout", sys=True).is_of_namespace


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("net/ipv4/ip_forward", ["net/ipv4/conf/*/forwarding", "net/ipv4/conf/all/accept_redirects"]),
        (
            "net/ipv4/conf/all/forwarding",
            ["net/ipv4/conf/*/forwarding", "net/ipv4/ip_forward", "net/ipv4/conf/all/accept_redirects"],
        ),
        ("net/ipv6/conf/all/forwarding", ["net/ipv6/conf/*/forwarding"]),
        ("net/ipv4/neigh/default/gc_stale_time", ["net/ipv4/neigh/*/gc_stale_time"]),
        ("net/ipv4/conf/eth0/forwarding", []),
        ("net/core/somaxconn", []),
    ],
)
def test_what_a_write_changes_besides_is_known(path: str, others: list[str]) -> None:
    assert list(beside(Parameter(path))) == others


CONFIG = """
machine:
  sysctls: {net.ipv4.ip_forward: "0", net/core/somaxconn: 512, kernel.panic: "5"}
  sysfs: {class.net.eth0.gro_flush_timeout: "1"}
---
apiVersion: v1alpha1
kind: SysctlConfig
params: {net/ipv4/ip_forward: "1", net.ipv4.tcp_rmem: 4096 87380 6291456}
---
apiVersion: v1alpha1
kind: SysfsConfig
params: {class.net.eth0.gro_flush_timeout: "2"}
"""


def test_a_document_wins_over_the_main_document_however_the_parameter_is_spelt() -> None:
    loaded = load(CONFIG)
    assert loaded.problems == ()
    assert {id: spec.value for id, spec in configured_parameters(loaded.config).items()} == {
        "proc.sys.net/ipv4/ip_forward": "1",
        "proc.sys.net.ipv4.tcp_rmem": "4096 87380 6291456",
        "sys.class.net.eth0.gro_flush_timeout": "2",
        "proc.sys.net/core/somaxconn": "512",
        "proc.sys.kernel.panic": "5",
    }


def test_of_two_spellings_in_one_part_the_last_counts() -> None:
    loaded = load("machine: {sysctls: {net.core.somaxconn: '1', net/core/somaxconn: '2'}}")
    (problem,) = loaded.problems
    assert "are one parameter" in problem.message
    assert {id: spec.value for id, spec in configured_parameters(loaded.config).items()} == {
        "proc.sys.net/core/somaxconn": "2"
    }


@pytest.mark.parametrize(
    ("networks", "mesh", "versions"),
    [
        ("[10.244.1.0/24]", KubeSpanConfigSpec(enabled=True, advertise_kubernetes_networks=True), {4}),
        ("[10.244.1.0/24, 'fd00::/64']", KubeSpanConfigSpec(enabled=True, advertise_kubernetes_networks=True), {4, 6}),
        ("[10.244.1.0/24]", KubeSpanConfigSpec(enabled=True), set()),
        ("[10.244.1.0/24]", KubeSpanConfigSpec(advertise_kubernetes_networks=True), set()),
        ("[10.244.1.0/24]", None, set()),
        ("[]", KubeSpanConfigSpec(enabled=True, advertise_kubernetes_networks=True), set()),
    ],
)
def test_a_node_that_advertises_networks_behind_it_forwards(
    networks: str, mesh: KubeSpanConfigSpec | None, versions: set[int]
) -> None:
    config = load(f"apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\npodNetworks: {networks}").config
    assert advertised_versions(config, mesh) == versions
    found = {id: spec.value for id, spec in implied_parameters(config, mesh).items()}
    assert found == ({"proc.sys.net.ipv4.ip_forward": "1"} if 4 in versions else {})


DEFAULTS = "{apiVersion: nodespan.dev/v1alpha1, kind: NodespanConfig, defaults: {%s}}"


@pytest.mark.parametrize(
    ("settings", "some", "none"),
    [
        ("kernelParameters: true", {"kernel.pid_max": "262144", "net.ipv4.ip_forward": "1"}, "kernel.kptr_restrict"),
        ("hardening: true", {"kernel.kptr_restrict": "2", "user.max_user_namespaces": "0"}, "net.ipv4.ip_forward"),
        ("dhcp: true", {}, "kernel.panic"),
    ],
)
def test_defaults_of_the_original_are_set_where_they_are_asked_for(
    settings: str, some: dict[str, str], none: str
) -> None:
    found = implied_parameters(load(DEFAULTS % settings).config, None)
    assert {key: found[f"proc.sys.{key}"].value for key in some} == some
    assert f"proc.sys.{none}" not in found
    assert bool(found) is bool(some)
    # A kernel without one of them is no problem.
    assert all(spec.ignore_errors for spec in found.values())
    assert all(parameter_of(id) is not None for id in found)


def test_what_weakens_the_protection_is_known() -> None:
    own = (
        "machine: {sysctls: {kernel/kptr_restrict: 1, kernel.dmesg_restrict: '1', kernel.panic: 3, "
        "kernel.perf_event_paranoid: 4}}\n---\n"
    )
    assert weakened(load(own + DEFAULTS % "hardening: true").config) == {"kernel.kptr_restrict": "1"}
    assert weakened(load(own).config) == {}
