"""The checks of `nodespan doctor`: files and outputs of a machine, and the verdicts on them."""

import datetime
import errno
import json
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from nodespan.controllers.overview.checks import CHECKS, machine, network, services
from nodespan.runtime.overview.check import Surroundings, Verdict, examine
from tests.support.certificates import Authority

CONFIG = """\
version: v1alpha1
machine: {type: worker}
cluster:
  id: 8vvJSRTDCcgMXr8tgyZe7JR2kPXzV5a9v5mFyXkOi0w=
  secret: TlW1XgX5oXqFSmBHCbv+sGhK7Xb6UVzXm0GwqZ8tGYI=
  discovery: {enabled: true, registries: {service: {endpoint: "https://discovery.example.org/"}}}
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {endpoints: ["https://192.0.2.1:2379"]}
"""
ALL_CAPABILITIES = "Name:\tx\nCapEff:\t000001ffffffffff\n"
NO_CAPABILITIES = "CapEff:\t0000000000000000\n"
AGENT = {"version": "1.0", "pid": 7, "node": "one"}


def on(
    root: Path,
    files: Mapping[str, str] | None = None,
    *,
    programs: Mapping[str, str | None] | None = None,
    resources: Mapping[str, list[dict[str, Any]]] | None = None,
    **more: Any,
) -> Surroundings:
    """A machine with these files, and with programs that answer so, None for one that fails."""
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    known = programs or {}
    return Surroundings(
        **{"state_dir": root / "state", "version": "1.0", **more},
        root=root,
        find_program=lambda name: f"/bin/{name}" if any(line.split()[0] == name for line in known) else None,
        run_program=lambda arguments: known.get(" ".join(arguments)),
        resources=lambda name: (resources or {}).get(name, []),
    )


def said(verdicts: Iterable[Verdict]) -> list[str]:
    found = list(verdicts)
    for verdict in found:
        assert verdict.remedy or verdict.outcome.value in ("ok", "skipped"), verdict
    return [f"{verdict.outcome} {verdict.text}" for verdict in found]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ALL_CAPABILITIES, "ok this command may change the network"),
        (
            NO_CAPABILITIES,
            "warning this command lacks CAP_NET_ADMIN, CAP_NET_RAW: the network is observed and not changed",
        ),
    ],
)
def test_the_rights_of_the_command(tmp_path: Path, status: str, expected: str) -> None:
    assert said(machine.privileges(on(tmp_path, {"proc/self/status": status}))) == [expected]


def test_the_rights_of_the_agent_count_if_there_is_one(tmp_path: Path) -> None:
    files = {"proc/self/status": NO_CAPABILITIES, "proc/7/status": ALL_CAPABILITIES}
    assert said(machine.privileges(on(tmp_path, files, agent=AGENT))) == ["ok the agent may change the network"]
    assert said(machine.privileges(on(tmp_path, agent={**AGENT, "pid": 9})))[0].startswith("skipped")


def test_the_state_directory(tmp_path: Path) -> None:
    surroundings = on(tmp_path)
    assert said(machine.disk(surroundings)) == [f"ok {tmp_path}/state does not exist yet, and can be made"]
    surroundings.state_dir.mkdir(mode=0o755)
    surroundings.state_dir.chmod(0o755)
    assert said(machine.disk(surroundings))[0].startswith(f"warning {tmp_path}/state is open to other users")
    surroundings.state_dir.chmod(0o700)
    assert [text.split()[0] for text in said(machine.disk(surroundings))] == ["ok"]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"f_flag": os.ST_RDONLY}, "failed {} is on a read-only file system"),
        ({"f_bavail": 100}, "warning the file system of {} is almost full (0 MiB free)"),
        ({"f_favail": 3}, "warning the file system of {} is almost full (4096 MiB free)"),
    ],
)
def test_a_disk_that_is_read_only_or_full(
    tmp_path: Path, numbers: dict[str, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings = on(tmp_path)
    surroundings.state_dir.mkdir(mode=0o700)
    whole = {"f_flag": 0, "f_bavail": 2**20, "f_frsize": 4096, "f_files": 10_000, "f_favail": 10_000, **numbers}
    monkeypatch.setattr(os, "statvfs", lambda _: type("Numbers", (), whole))
    assert said(machine.disk(surroundings)) == [expected.format(surroundings.state_dir)]


def test_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    surroundings = on(tmp_path)
    surroundings.state_dir.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    expected = f"failed {surroundings.state_dir} cannot be written: No space left on device"
    assert said(machine.disk(surroundings)) == [expected]


RELEASE = "proc/sys/kernel/osrelease"


@pytest.mark.parametrize(
    ("files", "programs", "expected"),
    [
        ({RELEASE: "6.1.0-18-amd64", "sys/module/wireguard/x": ""}, {}, ["ok", "ok"]),
        ({RELEASE: "6.1.0", "lib/modules/6.1.0/modules.dep": "kernel/net/wireguard.ko.xz: a.ko"}, {}, ["ok", "ok"]),
        ({RELEASE: "6.1.0", "lib/modules/6.1.0/modules.builtin": "kernel/net/wireguard.ko\n"}, {}, ["ok", "ok"]),
        ({RELEASE: "6.1.0", "lib/modules/6.1.0/modules.dep": "kernel/net/notwireguard.ko:"}, {}, ["ok", "failed"]),
        ({RELEASE: "5.4.0", "sys/module/wireguard/x": ""}, {}, ["failed", "ok"]),
        ({RELEASE: "6.1.0"}, {"wireguard-go --version": "1"}, ["ok", "ok"]),
        ({}, {}, ["skipped", "failed"]),
    ],
)
def test_the_kernel_and_its_wireguard(
    tmp_path: Path, files: dict[str, str], programs: dict[str, str], expected: list[str]
) -> None:
    found = said(machine.kernel(on(tmp_path, files, programs=programs)))
    assert [text.split()[0] for text in found] == expected


def test_modules_that_only_some_need(tmp_path: Path) -> None:
    dep = "kernel/net/8021q/8021q.ko:\nkernel/net/bridge/bridge.ko:\nkernel/nf-tables.ko:\n"
    surroundings = on(tmp_path, {RELEASE: "6.1.0", "lib/modules/6.1.0/modules.dep": dep})
    assert said(machine.modules(surroundings)) == ["warning the kernel has no bonding: bonds cannot be made"]
    assert said(machine.modules(on(tmp_path / "x", {RELEASE: "6.1.0"})))[0].startswith("skipped")


@pytest.mark.parametrize(
    ("programs", "status", "expected"),
    [
        ({}, ALL_CAPABILITIES, ["failed"]),
        ({"nft --version": None}, ALL_CAPABILITIES, ["failed"]),
        ({"nft --version": "nftables v1\n", "nft list tables": ""}, ALL_CAPABILITIES, ["ok"]),
        ({"nft --version": "nftables v1\n", "nft list tables": None}, ALL_CAPABILITIES, ["ok", "failed"]),
        ({"nft --version": "nftables v1\n"}, NO_CAPABILITIES, ["ok", "skipped"]),
    ],
)
def test_nft(tmp_path: Path, programs: dict[str, str | None], status: str, expected: list[str]) -> None:
    found = said(machine.nft(on(tmp_path, {"proc/self/status": status}, programs=programs)))
    assert [text.split()[0] for text in found] == expected


@pytest.mark.parametrize(
    ("now", "state", "expected"),
    [
        (0.0, 0, "failed the clock is wrong: 1970-01-01 00:00:00 UTC"),
        (1_800_000_000.0, 0, "ok synchronized: 2027-01-15 08:00:00 UTC"),
        (1_800_000_000.0, 5, "warning the clock is not synchronized: 2027-01-15 08:00:00 UTC"),
        (
            1_800_000_000.0,
            None,
            "skipped it is 2027-01-15 08:00:00 UTC; whether the clock is synchronized cannot be read",
        ),
    ],
)
def test_the_clock(tmp_path: Path, now: float, state: int | None, expected: str) -> None:
    assert said(machine.clock(on(tmp_path), lambda: now, lambda: state)) == [expected]


def sysctl(**changed: str) -> dict[str, str]:
    values = {
        "ipv6/conf/all/disable_ipv6": "0",
        "ipv4/conf/all/rp_filter": "2",
        "ipv4/ip_forward": "1",
        "ipv6/conf/all/forwarding": "1",
    }
    changes = {next(name for name in values if name.endswith(end)): value for end, value in changed.items()}
    return {f"proc/sys/net/{name}": f"{value}\n" for name, value in {**values, **changes}.items()}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["ok"]),
        ({"disable_ipv6": "1"}, ["failed"]),
        ({"rp_filter": "1"}, ["warning"]),
        ({"ip_forward": "0", "forwarding": "0"}, ["skipped"]),
    ],
)
def test_sysctls(tmp_path: Path, changed: dict[str, str], expected: list[str]) -> None:
    found = said(machine.sysctls(on(tmp_path, sysctl(**changed))))
    assert [text.split()[0] for text in found] == expected


def link(name: str, *, mtu: int = 1500, type: int = 1, index: int = 2, state: str = "up") -> dict[str, str]:
    values = {"mtu": mtu, "type": type, "ifindex": index, "operstate": state}
    return {f"sys/class/net/{name}/{key}": f"{value}\n" for key, value in values.items()}


LINK_SPEC = {"linkspecs.net.talos.dev": [{"spec": {"name": "eth0", "layer": "configuration"}}]}


@pytest.mark.parametrize(
    ("files", "resources", "expected"),
    [
        ({}, {}, ["ok none runs here"]),
        (
            {"run/systemd/netif/state": ""},
            LINK_SPEC,
            ["ok systemd-networkd runs here too, and manages none of the configured links"],
        ),
        (
            {"run/NetworkManager/devices/2": "[device]\nmanaged=true\n"},
            LINK_SPEC,
            [
                "warning NetworkManager manages eth0 too (without a connection), and each undoes what the other does",
            ],
        ),
        ({"run/NetworkManager/devices/2": "[device]\nmanaged=true\n"}, {}, ["ok none runs here"]),
    ],
)
def test_other_managers(
    tmp_path: Path, files: dict[str, str], resources: dict[str, list[dict[str, Any]]], expected: list[str]
) -> None:
    surroundings = on(tmp_path, {**link("eth0"), **files}, resources=resources, agent=AGENT)
    assert said(network.managers(surroundings)) == expected


def test_without_an_agent_it_is_not_known_which_links_are_configured(tmp_path: Path) -> None:
    found = said(network.managers(on(tmp_path, {"run/systemd/netif/state": ""})))
    assert found == ["skipped systemd-networkd runs here too; which links are configured is known to the agent only"]


def device(name: str, port: int) -> dict[str, Any]:
    return {"metadata": {"id": name}, "spec": {"wireguard": {"listenPort": port}}}


@pytest.mark.parametrize(
    ("devices", "reason", "expected"),
    [
        ([], "", "ok UDP 51820 is free"),
        ([], "in use", "failed UDP 51820, the port of the mesh: in use"),
        (
            [device("kubespan", 51820)],
            "in use",
            "ok kubespan listens at UDP 51820: let it in, where there is a firewall",
        ),
        (
            [device("kubespan", 5)],
            "",
            "warning kubespan listens at UDP 5 and not at 51820, which it announces to the others",
        ),
        ([device("wg0", 51820)], "in use", "warning UDP 51820 is the port of wg0, so a mesh cannot have it"),
    ],
)
def test_the_port_of_the_mesh(tmp_path: Path, devices: list[dict[str, Any]], reason: str, expected: str) -> None:
    surroundings = on(tmp_path, resources={"linkstatuses.net.talos.dev": devices})
    assert said(network.ports(surroundings, lambda _: reason)) == [expected]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({**link("eth0"), **link("lo", mtu=65536, type=772)}, ["ok eth0 1500"]),
        ({**link("eth0"), **link("kubespan", mtu=1420, type=65534)}, ["ok eth0 1500, kubespan 1420"]),
        (
            {**link("eth0", mtu=1400), **link("kubespan", mtu=1420, type=65534)},
            ["warning packets of kubespan (MTU 1420) do not fit into eth0 (MTU 1400): large ones may be lost"],
        ),
        (
            {**link("eth0", mtu=1400, state="down"), **link("kubespan", mtu=1420, type=65534)},
            ["ok eth0 1400, kubespan 1420"],
        ),
        ({**link("eth0", mtu=1000)}, ["warning eth0 has an MTU of 1000: there is no IPv6 on it"]),
        ({}, ["ok no links but lo"]),
    ],
)
def test_mtu(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    assert said(network.mtu(on(tmp_path, files))) == expected


def chain(**values: str) -> dict[str, Any]:
    return {
        "chain": {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": "drop", **values}
    }


@pytest.mark.parametrize(
    ("chains", "expected"),
    [
        ([], ["ok no chain of another program drops by default what comes in"]),
        ([chain()], ["warning the chain inet filter input drops what it does not let in"]),
        (
            [chain(policy="accept"), chain(hook="output"), chain(table="nodespan")],
            ["ok no chain of another program drops by default what comes in"],
        ),
    ],
)
def test_firewalls_of_others(tmp_path: Path, chains: list[dict[str, Any]], expected: list[str]) -> None:
    document = json.dumps({"nftables": [{"metainfo": {}}, *chains]})
    assert said(network.firewall(on(tmp_path, programs={"nft -j list chains": document}))) == expected


@pytest.mark.parametrize("programs", [{}, {"nft -j list chains": None}])
def test_firewalls_that_cannot_be_read_are_skipped(tmp_path: Path, programs: dict[str, str | None]) -> None:
    assert said(network.firewall(on(tmp_path, programs=programs)))[0].startswith("skipped")


def test_the_agent(tmp_path: Path) -> None:
    assert said(services.agent(on(tmp_path, agent_error="none"))) == ["warning no agent can be asked: none"]
    assert said(services.agent(on(tmp_path, agent=AGENT))) == ["ok version 1.0 runs as process 7"]
    other = said(services.agent(on(tmp_path, agent={**AGENT, "version": "0.9"})))
    assert other == ["warning the agent is of version 0.9, this command of 1.0"]


def test_an_agent_in_another_network_namespace(tmp_path: Path) -> None:
    for pid, name in (("self", "net:[1]"), ("7", "net:[2]")):
        (tmp_path / "proc" / pid / "ns").mkdir(parents=True)
        (tmp_path / "proc" / pid / "ns/net").symlink_to(name)
    assert said(services.agent(on(tmp_path, agent=AGENT)))[1].startswith(
        "warning the agent is in another network namespace"
    )


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    file = tmp_path / "machine.yaml"
    file.write_text(CONFIG)
    return file


def test_the_configuration(tmp_path: Path, configured: Path) -> None:
    assert said(services.configuration(on(tmp_path)))[0].startswith("skipped none was found")
    assert said(services.configuration(on(tmp_path, config=(configured,))))[-1].split()[0] in ("ok", "warning")
    configured.write_text("machine: {network: {interfaces: 5}}\n")
    (verdict,) = said(services.configuration(on(tmp_path, config=(configured,))))
    assert verdict.startswith(f"failed {configured}:1:")
    refused = {"configstatuses.config.nodespan.dev": [{"spec": {"error": "a.yaml:1:2: no", "files": []}}]}
    assert (
        said(services.configuration(on(tmp_path, resources=refused)))[0]
        == "failed the agent does not use it: a.yaml:1:2: no"
    )


NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        (NOW - DAY, NOW + 90 * DAY, "ok x is valid until 2026-04-02"),
        (None, NOW + DAY, "warning x expires at 2026-01-03 00:00Z"),
        (NOW - 2 * DAY, NOW - DAY, "failed x has expired at 2026-01-01 00:00Z"),
        (NOW + DAY, NOW + 2 * DAY, "failed x is valid from 2026-01-03 00:00Z on"),
    ],
)
def test_lifetimes_of_certificates(begins: datetime.datetime | None, ends: datetime.datetime, expected: str) -> None:
    assert said([services.judge_lifetime("x", begins, ends, NOW)]) == [expected]


@pytest.mark.parametrize(
    ("hours", "expected"), [(24, "ok"), (12, "ok"), (9, "ok"), (7, "warning"), (0, "failed"), (-1, "failed")]
)
def test_the_certificate_of_the_api_is_judged_by_its_renewal_at_half_a_day(hours: int, expected: str) -> None:
    verdict = services.judge_renewed(NOW + datetime.timedelta(hours=hours), NOW)
    assert verdict.outcome == expected


def test_certificates_of_files_that_are_missing_or_none(tmp_path: Path, configured: Path) -> None:
    configured.write_text(CONFIG.replace('2379"]', '2379"], ca: /state/ca.pem, cert: /missing.pem, key: /key.pem'))
    surroundings = on(tmp_path, {"state/ca.pem": "nothing"}, config=(configured,))
    assert said(services.certificates(surroundings)) == [
        "failed /state/ca.pem: it has no certificates",
        "failed /missing.pem: No such file or directory",
    ]


def test_each_certificate_of_a_large_file_is_judged(tmp_path: Path, configured: Path) -> None:
    configured.write_text(CONFIG.replace('2379"]', '2379"], ca: /state/ca.pem'))
    pem = Authority("one").pem.decode()
    odd = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    surroundings = on(tmp_path, {"state/ca.pem": pem * 100 + odd}, config=(configured,))
    found = said(services.certificates(surroundings))
    assert len(found) == 101
    assert found[-1] == "warning /state/ca.pem: certificate 101 of 101 cannot be read: the certificate is cut off"
    assert all("/state/ca.pem" in each and "cannot be read" not in each for each in found[:-1])
    cut = on(tmp_path, {"state/ca.pem": pem[:200]}, config=(configured,))
    (verdict,) = said(services.certificates(cut))
    assert verdict.startswith("failed /state/ca.pem: the certificate that begins in line 1 has no end")


def dialling(error: OSError | None) -> Callable[[str, int, bool], None]:
    def dial(_host: str, _port: int, _is_tls: bool) -> None:
        if error is not None:
            raise error

    return dial


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "ok discovery.example.org:443 can be reached"),
        (TimeoutError(), "failed discovery.example.org:443: no answer: something drops the packets"),
        (ConnectionRefusedError(), "failed discovery.example.org:443: nothing listens at TCP 443 there"),
        (
            OSError(errno.ENETUNREACH, "Network is unreachable"),
            "failed discovery.example.org:443: Network is unreachable",
        ),
        (ssl.SSLError(1, "handshake"), "failed discovery.example.org:443: TLS: "),
    ],
)
def test_the_way_to_the_discovery_service(
    tmp_path: Path, configured: Path, error: OSError | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (verdict,) = said(services.discovery(on(tmp_path, config=(configured,)), dialling(error)))
    assert verdict.startswith(expected)


@contextmanager
def served_by_tls(certificate: Path, key: Path) -> Iterator[int]:
    """The port of a server that does handshakes and no more."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(30)
                if stopping.is_set():
                    return
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
                    stream.recv(1)

    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            stopping.set()
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
            thread.join()


def test_the_authorities_of_the_configuration_count_for_the_way_to_the_discovery_service(
    tmp_path: Path, configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    system, own = Authority("system"), Authority("own")
    (tmp_path / "system.pem").write_bytes(system.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    roots = {"apiVersion": "v1alpha1", "kind": "TrustedRootsConfig", "name": "own", "certificates": own.pem.decode()}
    with served_by_tls(*own.issue(tmp_path, "127.0.0.1")) as port:
        text = CONFIG.replace("discovery.example.org", f"127.0.0.1:{port}")
        configured.write_text(text)
        surroundings = on(tmp_path, config=(configured,))
        (verdict,) = said(services.discovery(surroundings))
        assert verdict.startswith(f"failed 127.0.0.1:{port}: TLS: ")
        configured.write_text(f"{text}---\n{json.dumps(roots)}\n")
        assert said(services.discovery(surroundings)) == [f"ok 127.0.0.1:{port} can be reached"]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with served_by_tls(*system.issue(tmp_path, "127.0.0.1")) as port:
        configured.write_text(CONFIG.replace("discovery.example.org", f"127.0.0.1:{port}"))
        (verdict,) = said(services.discovery(surroundings))
        assert verdict.startswith(f"failed 127.0.0.1:{port}: TLS: no certificate authorities in ")


def test_the_way_by_a_proxy_ends_at_the_proxy(
    tmp_path: Path, configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:hush@proxy.example.org:8080")
    monkeypatch.delenv("no_proxy", raising=False)
    (verdict,) = said(services.discovery(on(tmp_path, config=(configured,)), dialling(ConnectionRefusedError())))
    assert (
        verdict == "failed discovery.example.org:443 by the proxy proxy.example.org: nothing listens at TCP 8080 there"
    )


def test_what_the_agent_says_of_a_discovery_service_counts(tmp_path: Path, configured: Path) -> None:
    name = "discoveryservicestatuses.cluster.nodespan.dev"
    spec = {"endpoint": "discovery.example.org:443", "state": "connected", "affiliates": 3}
    surroundings = on(tmp_path, config=(configured,), resources={name: [{"spec": spec}]})
    expected = "ok discovery.example.org:443: the agent is connected, and knows 3 affiliates there"
    assert said(services.discovery(surroundings, dialling(TimeoutError()))) == [expected]


def test_etcd(tmp_path: Path, configured: Path) -> None:
    surroundings = on(tmp_path, config=(configured,))
    assert said(services.etcd(surroundings, dialling(None))) == ["ok 192.0.2.1:2379 can be reached"]
    failed = said(services.etcd(surroundings, dialling(ConnectionRefusedError())))
    assert failed == ["failed 192.0.2.1:2379: nothing listens at TCP 2379 there"]
    assert said(services.etcd(on(tmp_path), dialling(None)))[0].startswith("skipped")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_machine_without_any_file_breaks_no_check(
    tmp_path: Path, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_udp_in_use", lambda _: "")
    found = list(examine(check, on(tmp_path / "empty", state_dir=tmp_path / "state")))
    assert found
    assert not any("the check itself" in verdict.text for verdict in found)


def test_what_others_write_into_files_breaks_no_check(tmp_path: Path) -> None:
    junk = "\x00\xff\x1b[2J" * 50
    names = ("proc/self/status", RELEASE, "proc/sys/net/ipv4/ip_forward", "run/systemd/netif/state")
    files = dict.fromkeys(names, junk)
    files |= {f"sys/class/net/eth0/{name}": junk for name in ("mtu", "type", "ifindex", "operstate")}
    surroundings = on(tmp_path, files, programs={"nft --version": junk, "nft -j list chains": "{}"})
    for check in CHECKS:
        if check.name != "privileges":
            assert not any("the check itself" in verdict.text for verdict in examine(check, surroundings)), check.name
