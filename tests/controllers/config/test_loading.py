"""A text becomes a typed value; what cannot be read, or is not nodespan's, is said with its place."""

import datetime
from pathlib import Path

import pytest

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.loading import load, load_bytes, load_files, load_sources, read_and_load
from nodespan.controllers.config.rules.replaced import EXCLUDED
from nodespan.controllers.config.sources import LARGEST_TEXT, SourceText
from nodespan.resources.config import BondConfig, MachineConfigSpec, MachineType, WireguardConfig
from nodespan.resources.config.bond import AdLacpActive, BondMode
from nodespan.runtime.codec.plain import spec_to_plain
from tests.controllers.config.marked import unmark
from tests.controllers.config.samples import DOCUMENTS, KEY_A, SAMPLES, SECRET, WIREGUARD


@pytest.mark.parametrize("name", SAMPLES)
def test_a_complete_example_has_no_problems(name: str) -> None:
    loaded = load(SAMPLES[name])
    assert loaded.errors == ()
    assert all("never notices" in problem.message for problem in loaded.problems)
    assert [ignored for ignored in loaded.ignored if not ignored.consequence] == []
    assert loaded.config.text == SAMPLES[name]
    assert hash(loaded.config) == hash(load(SAMPLES[name]).config)


def test_all_examples_together_differ_from_the_defaults_where_they_say_so() -> None:
    config = load(DOCUMENTS).config
    (bond,) = config.documents_of(BondConfig)
    assert (bond.bond_mode, bond.miimon, bond.ad_lacp_active) == (BondMode.LACP, 100, AdLacpActive.ON)
    (wireguard,) = config.documents_of(WireguardConfig)
    assert wireguard.peers[0].persistent_keepalive_interval == datetime.timedelta(seconds=25)
    assert config.nodespan.vip.lease_ttl == datetime.timedelta(seconds=5)
    assert config.nodespan.etcd.key == "/pki/c.key"
    assert config.main.machine is None


@pytest.mark.parametrize("text", ["", "\n", "null", "--- ~\n---\n", "# nothing\n", "\ufeff"])
def test_a_stream_of_empty_documents_leaves_everything_at_its_default(text: str) -> None:
    loaded = load(text)
    assert loaded.problems == ()
    assert loaded.config == MachineConfigSpec(text=text)


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n"])
def test_an_empty_file_is_an_error_for_it_may_be_about_to_be_written(raw: bytes) -> None:
    for loaded in (load_bytes(raw), load_files([("a.yaml", b"machine: {type: worker}"), ("b.yaml", raw)])):
        (problem,) = loaded.errors
        assert problem.message == "there is nothing in this file"


def test_a_missing_separator_after_the_main_document_is_named() -> None:
    loaded = load("machine: {type: worker}\napiVersion: v1alpha1\nkind: LinkConfig\nname: eth0\n")
    (problem,) = loaded.problems
    assert (problem.line, problem.column, problem.path) == (1, 1, "LinkConfig[eth0].machine")
    assert "put a line --- between the two" in problem.hint


@pytest.mark.parametrize(
    ("written", "mode"), [("0644", 0o644), ("0o644", 0o644), ('"0644"', 0o644), ("0", 0), ("0o4755", 0o4755)]
)
def test_permissions_are_octal_in_both_spellings(written: str, mode: int) -> None:
    loaded = load(f"machine:\n  files: [{{permissions: {written}, path: /a, op: create}}]\n")
    assert loaded.problems == ()
    assert loaded.config.machine.files[0].permissions == mode


def test_invalid_permissions_get_a_hint() -> None:
    for written in ('"999"', "rw"):
        (problem,) = load(f"machine:\n  files: [{{permissions: {written}, path: /a, op: create}}]\n").errors
        assert problem.message.endswith("is not an octal number")
        assert problem.hint == "write it like 0644"


def test_permissions_without_a_leading_zero_are_decimal_with_a_warning() -> None:
    loaded = load("machine:\n  files: [{permissions: 420, path: /a, op: create}]\n")
    assert loaded.config.machine.files[0].permissions == 0o644
    (problem,) = loaded.problems
    assert (problem.severity, problem.line, problem.column) == (Severity.WARNING, 2, 25)
    assert "0o644" in problem.message


@pytest.mark.parametrize(
    ("written", "expected"), [("0x20", 32), ("1_000", 1000), ("010", 8), ("0b11", 3), ("+7", 7), ("0o17", 15)]
)
def test_whole_numbers_have_several_notations(written: str, expected: int) -> None:
    loaded = load(f"machine: {{network: {{interfaces: [{{interface: a, mtu: {written}}}]}}}}")
    assert loaded.problems == ()
    assert loaded.config.machine.network.interfaces[0].mtu == expected


@pytest.mark.parametrize("written", ["true", "True", "yes", "on"])
def test_switches_have_several_words(written: str) -> None:
    assert load(f"machine: {{time: {{disabled: {written}}}}}").config.machine.time.disabled


def test_words_and_numbers_are_texts_for_keys_of_texts() -> None:
    env = load("machine: {env: {A: on, B: 0644, C: 1.10, D: ~}}").config.machine.env
    assert env == {"A": "on", "B": "0644", "C": "1.10", "D": ""}


def test_an_older_name_of_a_machine_type_is_understood() -> None:
    assert load("machine: {type: join}").config.machine.type is MachineType.WORKER


def test_unset_and_empty_search_domains_differ() -> None:
    assert load("machine: {network: {}}").config.machine.network.search_domains is None
    assert load("machine: {network: {searchDomains: []}}").config.machine.network.search_domains == ()


def test_aliases_and_merge_keys_stand_for_what_they_repeat() -> None:
    text = """
machine:
  network:
    interfaces:
      - &first {interface: a, mtu: 1400, dhcp: true}
      - {<<: *first, interface: b}
"""
    first, second = load(text).config.machine.network.interfaces
    assert (first.interface, second.interface, second.mtu, second.dhcp) == ("a", "b", 1400, True)


def test_parts_of_other_systems_are_named_and_ignored() -> None:
    text, places = unmark("""
        machine:
          type: worker
          ‸kubelet: {whatever: [1, 2]}
          features: {‸rbac: true}
        cluster:
          network: {podSubnets: [10.244.0.0/16], ‸cni: {name: none}}
          controlPlane: {‸localAPIServerPort: 6443}
        ---
        apiVersion: v1alpha1
        ‸kind: SwapVolumeConfig
        name: swap
    """)
    loaded = load(text)
    assert loaded.problems == ()
    assert [ignored.line for ignored in loaded.ignored] == [line for line, _ in places]
    assert [ignored.path for ignored in loaded.ignored] == [
        "machine.kubelet",
        "machine.features.rbac",
        "cluster.network.cni",
        "cluster.controlPlane.localAPIServerPort",
        "SwapVolumeConfig[swap]",
    ]


def test_settings_without_effect_are_named_with_their_consequence() -> None:
    text, places = unmark("""
        ‸debug: true
        machine:
          ‸kubelet: {}
          time: {bootTimeout: 2m}
          install: {‸extraKernelArgs: [quiet]}
          features:
            hostDNS: {enabled: true, resolveMemberNames: true, ‸forwardKubeDNSToHost: true}
    """)
    loaded = load(text)
    assert loaded.problems == ()
    assert [ignored.line for ignored in loaded.ignored] == [line for line, _ in places]
    forward = "the DNS of Kubernetes is not led to the node's own server: name servers in its own configuration"
    assert [str(ignored).partition(": ")[2] for ignored in loaded.ignored] == [
        "debug is not managed by nodespan, ignored: start the agent with --log-level debug",
        "machine.kubelet is not managed by nodespan, ignored",
        "machine.install.extraKernelArgs is not managed by nodespan, ignored: give them to the boot loader yourself",
        f"machine.features.hostDNS.forwardKubeDNSToHost is not managed by nodespan, ignored: {forward}",
    ]
    text, places = unmark("""
        apiVersion: v1alpha1
        kind: ResolverConfig
        nameservers:
          - {address: 9.9.9.9, tlsServerName: dns.example, protocol: DoT}
          - {address: 9.9.9.9, tlsServerName: dns.example, protocol: DoH}
        hostDNS: {enabled: true, ‸forwardKubeDNSToHost: true}
        ---
        apiVersion: v1alpha1
        kind: TimeSyncConfig
        bootTimeout: 10s
    """)
    loaded = load(text)
    assert loaded.problems == ()
    assert [ignored.line for ignored in loaded.ignored] == [line for line, _ in places]
    assert [(ignored.path, bool(ignored.consequence)) for ignored in loaded.ignored] == [
        ("ResolverConfig.hostDNS.forwardKubeDNSToHost", True),
    ]


def test_unset_settings_are_not_named() -> None:
    text = "machine: {time: {bootTimeout: 0s}, features: {hostDNS: {enabled: false}}, install: {extraKernelArgs: []}}\n"
    assert load(f"debug: false\n{text}").ignored == ()


def test_all_mistakes_are_reported_in_the_order_of_the_text() -> None:
    text, places = unmark("""
        machine:
          ‸netwrok: {}
          type: ‸boss
          time: ‸[]
          network:
            ‸kubespam: {enabled: false, ‸mut: 0}
            interfaces:
              - interface: eth0
                ‸adress: 10.0.0.1/24
                mtu: ‸"1500"
                dhcp: ‸"true"
                addresses: ‸10.0.0.2/24
              - ‸eth1
              - interface: eth2
                addresses: [‸~, ‸{a: b}]
                vlans: [{vlanId: ‸65536}]
                ‸interface: eth3
    """)
    loaded = load(text, name="node.yaml")
    assert [(problem.line, problem.column) for problem in loaded.problems] == places
    assert {problem.file for problem in loaded.problems} == {"node.yaml"}


@pytest.mark.parametrize(
    ("marked", "message", "hint"),
    [
        ("‸\tmachine: {}", "cannot start any token", "spaces"),
        ("machine: {type: worker\n‸", "not valid YAML", ""),
        ('version: v1alpha1\nmachine: {type: "worker}\n‸', "unexpected end of stream", "begins on line 2"),
        ("machine:\n  type: worker\n ‸time: {}", "not valid YAML", ""),
        ("a: b‸: c", "mapping values are not allowed", "quotes"),
        ("machine: ‸*base", "no anchor", "quotes"),
        ("machine: &a [‸*a]", "stands inside", ""),
        ("machine: ‸@here", "cannot start any token", "quotes"),
        ("machine: ‸\0", "U+0000", "right file"),
        ("‸just a text", "must have keys", "right file"),
        ("‸[machine]", "must have keys", "right file"),
        ("{‸[1]: 2}", "a key must be a text", ""),
        ("‸machin: {}", "neither kind nor", '"machine:"'),
        ("apiVersion: v1alpha1\nkind: ‸BondConfg", 'unknown kind "BondConfg"', '"BondConfig"'),
        ("‸kind: HostnameConfig\nhostname: a", "apiVersion of HostnameConfig must be v1alpha1", ""),
        ("apiVersion: ‸v1\nkind: NodespanConfig", "must be nodespan.dev/v1alpha1", ""),
        ("version: ‸v2\nmachine: {}", "version", "v1alpha1"),
        ("machine:\n  type: worker\n  ‸type: worker", 'the key "type" is given twice', "line 2"),
        ("machine: {time: {disabled: ‸!secret x}}", "has a tag", ""),
        ("machine: {<<: ‸text}", "<< must be followed", ""),
        ("machine: " + "[" * 63 + "‸[", "nested more than", ""),
    ],
)
def test_a_text_that_is_not_yaml_gives_one_error(marked: str, message: str, hint: str) -> None:
    text, [(line, column)] = unmark(marked)
    (problem,) = load(text).problems
    assert problem.severity is Severity.ERROR
    assert message in problem.message
    assert hint in problem.hint
    assert (problem.line, problem.column) == (line, column)


def test_a_misspelled_key_is_reported_even_among_keys_of_other_systems() -> None:
    (problem,) = load("machine:\n  kubelet: {}\n  evn: {}\n  nodeLabels: {}\n  tpye: worker\n").problems
    assert (problem.line, problem.message, problem.hint) == (5, 'unknown key "tpye"', 'did you mean "type"?')


def test_the_value_of_a_misspelled_key_is_checked_too() -> None:
    loaded = load("machine: {netwrok: {interfaces: [{intrface: eth0, mtu: -5}]}}")
    assert [problem.path for problem in loaded.problems] == [
        "machine.netwrok",
        "machine.netwrok.interfaces[0].intrface",
        "machine.netwrok.interfaces[0].mtu",
    ]


def test_growth_by_aliases_is_limited() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    (problem,) = load("\n".join(["l0: &l0 [a, a, a, a, a, a, a, a, a]", *levels])).problems
    assert "aliases make more than" in problem.message
    assert problem.line > 1


def test_a_text_that_is_too_large_is_refused_at_once() -> None:
    (problem,) = load("a: b\n" * (10 * 2**20 // 5)).problems
    assert f"{LARGEST_TEXT:,}" in problem.message


def test_an_escape_without_a_character_is_an_error() -> None:
    (problem,) = load('a: "\\U99999999"').problems
    assert "cannot be read" in problem.message


def test_bytes_that_are_not_utf8_are_an_error_with_a_place() -> None:
    (problem,) = load_bytes("grün: 1\nb: ".encode() + b"\xff").problems
    assert (problem.line, problem.column) == (2, 4)
    assert "0xff" in problem.message


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_byte_order_marks_do_not_shift_places(prefix: str, end: str) -> None:
    (problem,) = load(prefix + end.join(["machine:", "  type: boss", ""])).problems
    assert (problem.line, problem.column) == (2, 9)


def test_a_file_is_read_and_its_name_is_in_the_problems(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("machine: {type: boss}")
    (problem,) = read_and_load(path).problems
    assert problem.file == str(path)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (missing,) = read_and_load(tmp_path / "none.yaml").problems
    assert "No such file" in missing.message
    (directory,) = read_and_load(tmp_path).problems
    assert directory.severity is Severity.ERROR


def test_clients_get_the_text_of_the_operator() -> None:
    assert spec_to_plain(load(DOCUMENTS).config) == DOCUMENTS


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(load(WIREGUARD).config) + repr(load(DOCUMENTS).config)
    assert KEY_A not in shown
    assert SECRET not in shown


def test_more_than_a_hundred_problems_are_counted_and_not_listed() -> None:
    text = (
        "machine:\n  network:\n    interfaces:\n" + "      - {interface: a, cidr: 10.0.0.1/8}\n" * 150 + "      - 5\n"
    )
    problems = load(text).problems
    assert len(problems) == 101
    assert problems[0].severity is Severity.ERROR
    assert problems[-1].message == "51 more problems are not listed"


# What is not applied.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: v1alpha1\nkind: NetworkLinkIngressConfig\nname: eth0", "no packet is blocked"),
        ("apiVersion: v1alpha1\nkind: NetworkNATRuleConfig\nname: a", "no address is translated"),
        ("apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: grpc://x", "not connected to its management server"),
    ],
)
def test_what_changes_security_or_connectivity_and_is_not_applied_is_a_warning(text: str, message: str) -> None:
    loaded = load(text)
    (problem,) = loaded.problems
    assert (problem.severity, message in problem.message) == (Severity.WARNING, True)
    assert loaded.ignored == ()


NEWER = """
machine:
  network:
    interfaces:
      - {interface: a, mtu: 1400, quantumTunnelling: {qubits: 7}}
---
apiVersion: v1alpha1
kind: LinkConfig
name: b
entanglement: true
"""


def test_a_key_of_a_newer_original_is_ignored_with_a_warning_unless_the_check_is_strict() -> None:
    loaded = load(NEWER)
    assert [(problem.severity.value, problem.message) for problem in loaded.problems] == [
        ("warning", 'unknown key "quantumTunnelling", ignored'),
        ("warning", 'unknown key "entanglement", ignored'),
    ]
    assert loaded.config.machine.network.interfaces[0].mtu == 1400
    assert len(loaded.strictly().errors) == 2


@pytest.mark.parametrize("key", ["mut", "addreses", "dhcpOption"])
def test_a_near_miss_of_a_key_stays_an_error(key: str) -> None:
    assert len(load(f"machine: {{network: {{interfaces: [{{interface: a, {key}: x}}]}}}}").errors) >= 1


def test_a_strict_check_refuses_kinds_that_no_original_has() -> None:
    text = "apiVersion: v1alpha1\nkind: TeleportConfig\n---\napiVersion: v1alpha1\nkind: SwapVolumeConfig\nname: a\n"
    loaded = load(text)
    assert (loaded.errors, len(loaded.ignored)) == ((), 2)
    assert [(problem.path, problem.message) for problem in loaded.strictly().errors] == [
        ("TeleportConfig", "unknown kind of document")
    ]


# An empty text is an unset key.


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ("kind: BondConfig\nname: a\nlinks: [b]\nbondMode: balance-xor\nmiimon: 1\n", "primary"),
        ("kind: BondConfig\nname: a\nlinks: [b]\nbondMode: balance-xor\nmiimon: 1\n", "xmitHashPolicy"),
        ("kind: BondConfig\nname: a\nlinks: [b]\nbondMode: balance-xor\nmiimon: 1\n", "hardwareAddr"),
        ("kind: LinkConfig\nname: a\nroutes:\n  - destination: 10.0.0.0/8\n", "    gateway"),
        ("kind: LinkConfig\nname: a\nroutes:\n  - destination: 10.0.0.0/8\n", "    table"),
        ("kind: RoutingRuleConfig\nname: 1000\ntable: 5\n", "iifName"),
        ("kind: RoutingRuleConfig\nname: 1000\ntable: 5\n", "action"),
        ("kind: HostnameConfig\nauto: stable\n", "hostname"),
        ("kind: HostnameConfig\nhostname: a\n", "auto"),
        ("kind: DHCPv4Config\nname: a\n", "clientIdentifier"),
        ("kind: VLANConfig\nname: a.5\nparent: a\nvlanID: 5\n", "vlanMode"),
        (f"kind: WireguardConfig\nname: a\nprivateKey: {KEY_A}\npeers:\n  - publicKey: {KEY_A}\n", "    presharedKey"),
        (f"kind: WireguardConfig\nname: a\nprivateKey: {KEY_A}\npeers:\n  - publicKey: {KEY_A}\n", "    endpoint"),
    ],
)
def test_an_empty_text_is_an_unset_key(document: str, key: str) -> None:
    head = f"apiVersion: v1alpha1\n{document}"
    empty, unset = load(f"{head}{key}: ''\n"), load(head)
    assert empty.problems == ()
    assert empty.config.documents == unset.config.documents


def test_a_later_file_unsets_the_primary_of_a_bond() -> None:
    head = "apiVersion: v1alpha1\nkind: BondConfig\nname: a\n"
    first = f"{head}links: [b]\nbondMode: active-backup\nmiimon: 1\nprimary: b\n"
    loaded = load_sources([SourceText(name="a", text=first), SourceText(name="b", text=f"{head}primary: ''\n")])
    (bond,) = loaded.config.documents_of(BondConfig)
    assert (loaded.problems, bond.primary, bond.links) == ((), "", ("b",))


# Documents that exclude a part of the main document.


SECRET_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
SUBNETS = "podSubnets: [10.244.0.0/16]\nserviceSubnets: [10.96.0.0/12]"
CLUSTER = "clusterName: a\nendpoint: https://10.0.0.1:6443"
# The kind, the rest of the document, and each key of the main document with a value that excludes it.
EXCLUDED_KEYS = [
    ("HostnameConfig", "hostname: b", "machine.network.hostname", "a"),
    ("HostnameConfig", "auto: stable", "machine.features.stableHostname", "true"),
    ("ResolverConfig", "", "machine.network.searchDomains", "[]"),
    ("ResolverConfig", "", "machine.network.searchDomains", "[a.example]"),
    ("ResolverConfig", "", "machine.network.nameservers", "[]"),
    ("ResolverConfig", "", "machine.network.nameservers", "[10.0.0.1]"),
    ("ResolverConfig", "", "machine.network.disableSearchDomain", "true"),
    ("ResolverConfig", "hostDNS: {enabled: true}", "machine.features.hostDNS", "{}"),
    ("ResolverConfig", "hostDNS: {enabled: true}", "machine.features.hostDNS", "{enabled: true}"),
    ("TimeSyncConfig", "", "machine.time.disabled", "true"),
    ("TimeSyncConfig", "enabled: true", "machine.time.disabled", "true"),
    ("TimeSyncConfig", "ntp: {servers: [b]}", "machine.time.servers", "[a.example]"),
    ("TimeSyncConfig", "", "machine.time.bootTimeout", "1m"),
    ("KubeSpanConfig", "", "machine.network.kubespan", "{}"),
    ("KubeSpanConfig", "", "machine.network.kubespan", "{enabled: false}"),
    ("DiscoveryIdentityConfig", f"clusterID: b\nclusterSecret: {SECRET_KEY}", "cluster.id", "a"),
    ("DiscoveryIdentityConfig", f"clusterID: b\nclusterSecret: {SECRET_KEY}", "cluster.secret", SECRET_KEY),
    ("DiscoveryServiceConfig", "name: a\nendpoint: https://a.example", "cluster.discovery", "{enabled: false}"),
    ("DiscoveryServiceConfig", "name: a\nendpoint: https://a.example", "cluster.discovery", "{}"),
    ("KubeNetworkConfig", SUBNETS, "cluster.network", "{}"),
    ("KubeNetworkConfig", SUBNETS, "cluster.network", "{podSubnets: [10.244.0.0/16]}"),
    ("KubeClusterConfig", CLUSTER, "cluster.clusterName", "a"),
    ("KubeClusterConfig", CLUSTER, "cluster.controlPlane.endpoint", "https://10.0.0.1:6443"),
    ("KubeFlannelCNIConfig", "", "cluster.network", "{dnsDomain: a.example}"),
    ("KubeletConfig", "", "machine.kubelet", "{image: a}"),
    ("KubeletConfig", "", "machine.kubelet", "{}"),
    ("KubeCredentialProviderConfig", "", "machine.kubelet", "{image: a}"),
    *(
        ("KubeNodeConfig", "", key, value)
        for key, value in (
            *(("cluster.allowSchedulingOnControlPlanes", "true"), ("cluster.allowSchedulingOnControlPlanes", "false")),
            *(("cluster.allowSchedulingOnMasters", "true"), ("machine.kubelet.skipNodeRegistration", "false")),
            *(("machine.kubelet.registerWithFQDN", "true"), ("machine.kubelet.nodeIP", "{validSubnets: [a]}")),
            *(
                ("machine.nodeLabels", "{a: b}"),
                ("machine.nodeAnnotations", "{a: b}"),
                ("machine.nodeTaints", "{a: b}"),
            ),
        )
    ),
    ("KubePrismConfig", "", "machine.features.kubePrism", "{enabled: true}"),
    ("KubeProxyConfig", "", "cluster.proxy", "{disabled: true}"),
    ("KubeAPIServerConfig", "", "cluster.apiServer", "{certSANs: [a]}"),
    ("KubeAPIServerConfig", "", "cluster.controlPlane.localAPIServerPort", "6443"),
    ("KubeTalosAPIAccessConfig", "", "machine.features.kubernetesTalosAPIAccess", "{enabled: true}"),
    ("UnattendedInstallConfig", "", "machine.install", "{disk: /dev/sda}"),
    ("UnattendedInstallConfig", "", "machine.install", "{}"),
    ("VolumeConfig", "name: STATE\nencryption: {provider: luks2}", "machine.systemDiskEncryption.state", "{keys: []}"),
    ("VolumeConfig", "name: EPHEMERAL\nencryption: {a: b}", "machine.systemDiskEncryption.ephemeral", "{}"),
    ("ImageCacheConfig", "", "machine.features.imageCache", "{localEnabled: true}"),
    ("KubeAPIServerCAConfig", "", "cluster.ca", "{crt: a}"),
    ("KubeAggregatorCAConfig", "", "cluster.aggregatorCA", "{crt: a}"),
    ("KubeServiceAccountConfig", "", "cluster.serviceAccount", "{key: a}"),
    ("KubeAuditPolicyConfig", "", "cluster.apiServer.auditPolicy", "{kind: Policy}"),
    ("KubeAdmissionControlConfig", "name: a", "cluster.apiServer.admissionControl", "[{name: a}]"),
    ("KubeAuthorizerConfig", "name: a", "cluster.apiServer.admissionControl", "[{name: a}]"),
    ("KubeControllerManagerConfig", "", "cluster.controllerManager", "{image: a}"),
    ("KubeControllerManagerConfig", "", "machine.controlPlane.controllerManager", "{disabled: true}"),
    ("KubeCoreDNSConfig", "", "cluster.coreDNS", "{disabled: true}"),
    ("KubeEtcdEncryptionConfig", "", "cluster.secretboxEncryptionSecret", "a"),
    ("KubeEtcdEncryptionConfig", "", "cluster.aescbcEncryptionSecret", "a"),
    ("KubeSchedulerConfig", "", "cluster.scheduler", "{image: a}"),
    ("KubeSchedulerConfig", "", "machine.controlPlane.scheduler", "{disabled: true}"),
    ("CRIBaseRuntimeSpecConfig", "", "machine.baseRuntimeSpecOverrides", "{a: b}"),
]


def conflicting(kind: str, rest: str, key: str, value: str) -> str:
    """A main document with the key beside the type of the machine, and the document."""
    section, *keys = key.split(".")
    inner = "".join(f"{part}: {{" for part in keys[:-1]) + f"{keys[-1]}: {value}" + "}" * len(keys[:-1])
    sections = {"machine": "type: controlplane", "cluster": ""}
    sections[section] += f"{', ' if sections[section] else ''}{inner}"
    main = "\n".join(f"{name}: {{{content}}}" for name, content in sections.items())
    return f"{main}\n---\napiVersion: v1alpha1\nkind: {kind}\n{rest}\n"


@pytest.mark.parametrize(("kind", "rest", "key", "value"), EXCLUDED_KEYS)
def test_a_document_excludes_its_part_of_the_main_document(kind: str, rest: str, key: str, value: str) -> None:
    found = [(problem.path, problem.message) for problem in load(conflicting(kind, rest, key, value)).errors]
    assert [message for _, message in found].count(f"{key} is given in the main document too") == 1, found


def test_the_table_of_exclusions_has_every_kind() -> None:
    assert {kind for kind, _, _, _ in EXCLUDED_KEYS} == {*EXCLUDED, "VolumeConfig"}


@pytest.mark.parametrize(
    ("kind", "rest", "key", "value"),
    [
        ("HostnameConfig", "auto: stable", "machine.features.stableHostname", "false"),
        ("HostnameConfig", "hostname: b", "machine.network.hostname", "''"),
        ("TimeSyncConfig", "ntp: {servers: [a]}", "machine.time.disabled", "false"),
        ("TimeSyncConfig", "", "machine.time.servers", "[]"),
        ("TimeSyncConfig", "", "machine.time.bootTimeout", "0s"),
        ("ResolverConfig", "", "machine.network.disableSearchDomain", "false"),
        ("ResolverConfig", "", "machine.features.hostDNS", "{enabled: true}"),
        ("KubeAPIServerConfig", "", "cluster.controlPlane.localAPIServerPort", "0"),
        ("KubeNetworkConfig", SUBNETS, "cluster.network", "null"),
        ("KubeNodeConfig", "", "machine.nodeLabels", "{}"),
        ("KubeAdmissionControlConfig", "name: a", "cluster.apiServer.admissionControl", "[]"),
        ("VolumeConfig", "name: STATE", "machine.systemDiskEncryption.state", "{keys: []}"),
        ("VolumeConfig", "name: OTHER\nencryption: {a: b}", "machine.systemDiskEncryption.state", "{keys: []}"),
        # Both are used together.
        ("LinkConfig", "name: a", "machine.network.interfaces", "[{interface: b}]"),
        ("StaticHostConfig", "name: 10.0.0.1\nhostnames: [a]", "machine.network.extraHostEntries", "[{ip: 10.0.0.2}]"),
        ("EnvironmentConfig", "variables: {A: b}", "machine.env", "{B: c}"),
        ("KubeSpanEndpointsConfig", "", "machine.network.kubespan", "{enabled: false}"),
    ],
)
def test_what_says_nothing_or_goes_together_is_not_excluded(kind: str, rest: str, key: str, value: str) -> None:
    assert load(conflicting(kind, rest, key, value)).errors == ()


def test_without_a_main_document_nothing_is_excluded() -> None:
    assert load(f"apiVersion: v1alpha1\nkind: KubeNetworkConfig\n{SUBNETS}\n").errors == ()


def test_kinds_of_the_control_plane_are_refused_on_workers() -> None:
    documents = "".join(f"---\napiVersion: v1alpha1\nkind: {kind}\n" for kind in ("KubeProxyConfig", "KubeletConfig"))
    for main in ("machine: {type: worker}\n", "machine: {}\n", "cluster: {clusterName: a}\n"):
        (problem,) = load(main + documents).errors
        assert (problem.path, problem.line) == ("KubeProxyConfig.kind", 4)
        assert problem.message == "KubeProxyConfig is for machines of the control plane only"
    assert load("machine: {type: controlplane}\n" + documents).errors == ()
    assert load(documents).errors == ()
