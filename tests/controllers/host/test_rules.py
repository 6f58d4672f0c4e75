"""The pure rules: names, resolvers, time, hosts, environment, files, trust."""

import base64
import ssl

import pytest

from nodespan.controllers.host.environment import (
    SYSTEM_FILE,
    USER_FILE,
    configured_environment,
    environment_files,
    unfit_variables,
)
from nodespan.controllers.host.etc_file import FollowUp, follow_up
from nodespan.controllers.host.hostname_config import hostname_specs, stable_name
from nodespan.controllers.host.machine_file_rules import plan_files
from nodespan.controllers.host.network_etc_file import name_files, resolver_files, time_files
from nodespan.controllers.host.resolver_config import resolver_specs, unreadable_servers
from nodespan.controllers.host.services import Resolving, Timekeeping, TimeService
from nodespan.controllers.host.static_host import configured_hosts, static_hosts
from nodespan.controllers.host.texts import hosts_lines, resolv_conf, resolved_conf
from nodespan.controllers.host.time_server_config import time_server_specs
from nodespan.controllers.host.trust_rules import (
    anchor_files,
    bundle_digest,
    combined_bundle,
    parse_certificates,
    trust_entries,
)
from nodespan.resources.config import (
    Document,
    EnvironmentConfig,
    HostnameConfig,
    Machine,
    MachineConfigSpec,
    MainDocument,
    NodespanConfig,
    ResolverConfig,
    StaticHostConfig,
    TimeSyncConfig,
    TrustedRootsConfig,
)
from nodespan.resources.config.host import AutoHostname, DnsProtocol, Nameserver, Ntp, Ptp, SearchDomains
from nodespan.resources.config.main import Features, HostEntry, MachineFile, Network, TimeSettings
from nodespan.resources.config.nodespan import DefaultsSettings
from nodespan.resources.network import (
    ConfigLayer,
    DNSProtocol,
    HostnameSpecSpec,
    HostnameStatusSpec,
    NameServer,
    ResolverStatusSpec,
    TimeServerStatusSpec,
)
from nodespan.runtime.certificate import pem_of
from nodespan.runtime.resource import FrozenMapping
from tests.support.certificates import Authority

ALL_DEFAULTS = DefaultsSettings(dhcp=True, hostname=True, resolvers=True, time_servers=True)
DEFAULT, CMDLINE, CONFIGURATION = ConfigLayer.DEFAULT, ConfigLayer.CMDLINE, ConfigLayer.CONFIGURATION


def config(
    *documents: Document, machine: Machine | None = None, defaults: DefaultsSettings | None = None
) -> MachineConfigSpec:
    return MachineConfigSpec(
        main=MainDocument(machine=machine),
        documents=documents,
        nodespan=NodespanConfig(defaults=defaults or DefaultsSettings()),
    )


def network(**given: object) -> Machine:
    return Machine(network=Network(**given))  # type: ignore[arg-type]


# The host name.


@pytest.mark.parametrize(
    ("given", "line", "names"),
    [
        (config(), "", []),
        (config(), "ip=192.0.2.1::192.0.2.254:24:fromip", [("cmdline", "fromip", "")]),
        (config(), "ip=192.0.2.1::192.0.2.254:24:fromip talos.hostname=a.b.c", [("cmdline", "a", "b.c")]),
        (config(), "talos.hostname=a ip=off", []),
        (config(machine=network(hostname="web")), "", [("configuration", "web", "")]),
        (config(machine=network(hostname="web.corp.example")), "", [("configuration", "web", "corp.example")]),
        (config(HostnameConfig(hostname="doc"), machine=network(hostname="web")), "", [("configuration", "doc", "")]),
        (config(defaults=ALL_DEFAULTS), "", [("default", "talos-192-0-2-7", "")]),
        (config(HostnameConfig(auto=AutoHostname.OFF), defaults=ALL_DEFAULTS), "", []),
        (config(HostnameConfig(auto=AutoHostname.STABLE)), "", [("default", stable_name("node"), "")]),
        (config(machine=Machine(features=Features(stable_hostname=True))), "", [("default", stable_name("node"), "")]),
    ],
)
def test_the_layers_of_the_host_name(given: MachineConfigSpec, line: str, names: list[tuple[str, str, str]]) -> None:
    specs = hostname_specs(given, cmdline=line, address="192.0.2.7/24", node_id="node")
    assert [(spec.layer.value, spec.hostname, spec.domainname) for spec in specs] == names


STABLE_ANYWHERE = [
    config(machine=Machine(features=Features(stable_hostname=True))),
    config(HostnameConfig(auto=AutoHostname.STABLE)),
]


@pytest.mark.parametrize("given", STABLE_ANYWHERE)
@pytest.mark.parametrize(
    ("current", "is_named"),
    [
        ("ordinary", False),
        ("", True),
        ("localhost", True),
        ("(none)", True),
        (stable_name("node"), True),
        (None, False),
    ],
)
def test_the_stable_name_is_for_machines_without_a_name_of_their_own(
    given: MachineConfigSpec, current: str | None, is_named: bool
) -> None:
    specs = list(hostname_specs(given, cmdline="", address="192.0.2.7/24", node_id="node", current=current))
    assert [spec.hostname for spec in specs] == ([stable_name("node")] if is_named else [])


def test_the_stable_name_is_for_any_machine_if_configured() -> None:
    given = config(HostnameConfig(auto=AutoHostname.STABLE), defaults=ALL_DEFAULTS)
    (spec,) = hostname_specs(given, cmdline="", address="", node_id="node", current="ordinary")
    assert spec.hostname == stable_name("node")


def test_a_configured_name_is_set_whatever_the_machine_is_called() -> None:
    given = config(machine=network(hostname="web"))
    assert [spec.hostname for spec in hostname_specs(given, cmdline="", address="", node_id="n", current="old")] == [
        "web"
    ]


def test_the_automatic_names() -> None:
    (by_address,) = hostname_specs(config(defaults=ALL_DEFAULTS), cmdline="", address="2001:db8::7/64", node_id="")
    assert by_address.hostname == "talos-2001db87"
    assert list(hostname_specs(config(defaults=ALL_DEFAULTS), cmdline="", address="", node_id="n")) == []
    # What the originals call a node of this identity.
    assert stable_name("fGdOI05hVrx3YMagLo0Bwxa2Nm9BAswWm8XLeEj0aS4") == "talos-hwz-sw5"


# Resolvers.


def resolver(layer: ConfigLayer, *servers: str, domains: tuple[str, ...] = ()) -> tuple[object, ...]:
    return layer, servers, domains


@pytest.mark.parametrize(
    ("given", "line", "specs"),
    [
        (config(), "", []),
        (config(defaults=ALL_DEFAULTS), "", [resolver(DEFAULT, "1.1.1.1", "8.8.8.8", domains=("corp.example",))]),
        (
            config(machine=network(nameservers=("10.0.0.1", "nonsense", "fd00::1"))),
            "",
            [
                resolver(DEFAULT, domains=("corp.example",)),
                resolver(CONFIGURATION, "10.0.0.1", "fd00::1"),
            ],
        ),
        (
            config(machine=network(nameservers=("10.0.0.1",), disable_search_domain=True)),
            "",
            [resolver(CONFIGURATION, "10.0.0.1")],
        ),
        (
            config(machine=network(search_domains=("a.example",), disable_search_domain=True)),
            "",
            [resolver(CONFIGURATION, domains=("a.example",))],
        ),
        (
            config(machine=network(disable_search_domain=True)),
            "ip=192.0.2.1:::24:h:::192.0.2.53:192.0.2.54",
            [resolver(CMDLINE, "192.0.2.53", "192.0.2.54")],
        ),
    ],
)
def test_the_layers_of_the_resolvers(given: MachineConfigSpec, line: str, specs: list[tuple[object, ...]]) -> None:
    found = resolver_specs(given, cmdline=line, domain="corp.example")
    assert [(spec.layer, spec.dns_servers, spec.search_domains) for spec in found] == specs


def test_a_document_replaces_the_resolvers_of_the_main_document() -> None:
    document = ResolverConfig(
        nameservers=(Nameserver(address="10.0.0.9", protocol=DnsProtocol.TLS, tls_server_name="dns.example"),),
        search_domains=SearchDomains(domains=(), disable_default=True),
    )
    (spec,) = resolver_specs(config(document, machine=network(nameservers=("10.0.0.1",))), cmdline="", domain="d")
    assert spec.name_servers == (NameServer(addr="10.0.0.9", protocol=DNSProtocol.DOT, tls_server_name="dns.example"),)
    assert spec.search_domains_overridden
    assert unreadable_servers(config(machine=network(nameservers=("10.0.0.1", "x.example")))) == ("x.example",)


PLAIN = ResolverStatusSpec(dns_servers=("10.0.0.1", "fd00::1", "10.0.0.3", "10.0.0.4"), search_domains=("a.b", "c.d"))
MIXED = ResolverStatusSpec(
    name_servers=(
        NameServer(addr="10.0.0.1"),
        NameServer(addr="10.0.0.2", protocol=DNSProtocol.DOT, tls_server_name="dns.example"),
        NameServer(addr="10.0.0.3", protocol=DNSProtocol.DOH, tls_server_name="doh.example"),
    )
)


def body(text: str) -> list[str]:
    return text.splitlines()[1:]


def test_resolv_conf_has_three_servers_and_the_search_domains() -> None:
    assert body(resolv_conf(PLAIN)) == [
        "nameserver 10.0.0.1",
        "nameserver fd00::1",
        "nameserver 10.0.0.3",
        "",
        "search a.b c.d",
    ]
    assert body(resolv_conf(MIXED)) == ["nameserver 10.0.0.1"]


def test_systemd_resolved_also_gets_encrypted_servers() -> None:
    assert body(resolved_conf(PLAIN)) == [
        "[Resolve]",
        "DNS=",
        "DNS=10.0.0.1 fd00::1 10.0.0.3 10.0.0.4",
        "Domains=",
        "Domains=a.b c.d ~.",
    ]
    assert body(resolved_conf(MIXED)) == [
        "[Resolve]",
        "DNS=",
        "DNS=10.0.0.2#dns.example",
        "DNSOverTLS=yes",
        "Domains=~.",
    ]
    assert body(resolved_conf(ResolverStatusSpec(search_domains=("a.b",)))) == ["[Resolve]", "Domains=", "Domains=a.b"]
    assert resolved_conf(ResolverStatusSpec(name_servers=MIXED.name_servers[2:])) == ""


@pytest.mark.parametrize(
    ("spec", "resolving", "files", "problem"),
    [
        (PLAIN, Resolving(by_resolved=True), ["systemd/resolved.conf.d/50-nodespan.conf"], ""),
        (PLAIN, Resolving(), ["resolv.conf"], ""),
        (PLAIN, Resolving(problem="somebody else's"), [], "somebody else's"),
        (
            MIXED,
            Resolving(),
            ["resolv.conf"],
            "/etc/resolv.conf cannot do it, left out: 10.0.0.2 (DoT), 10.0.0.3 (DoH)",
        ),
        (
            MIXED,
            Resolving(by_resolved=True),
            ["systemd/resolved.conf.d/50-nodespan.conf"],
            "systemd-resolved asks over TLS all servers or none, left out: 10.0.0.1 (Do53), 10.0.0.3 (DoH)",
        ),
        (
            ResolverStatusSpec(name_servers=MIXED.name_servers[2:]),
            Resolving(by_resolved=True),
            [],
            "systemd-resolved cannot do it, left out: 10.0.0.3 (DoH)",
        ),
        (
            ResolverStatusSpec(search_domains=("a.b",)),
            Resolving(),
            [],
            "search domains without name servers are not applied here: name the servers too",
        ),
    ],
)
def test_how_resolvers_are_applied(
    spec: ResolverStatusSpec, resolving: Resolving, files: list[str], problem: str
) -> None:
    found = resolver_files(spec, resolving)
    assert (list(found.texts), found.problem) == (files, problem)


# Time.


@pytest.mark.parametrize(
    ("given", "line", "specs"),
    [
        (config(), "", []),
        (config(defaults=ALL_DEFAULTS), "", [(DEFAULT, ("time.cloudflare.com",), True)]),
        (config(machine=Machine(time=TimeSettings(servers=("a", "b")))), "", [(CONFIGURATION, ("a", "b"), False)]),
        (config(), "ip=192.0.2.1:::24:h:::::ntp.example", [(CMDLINE, ("ntp.example",), False)]),
        (
            config(
                TimeSyncConfig(ntp=Ntp(servers=("n",), use_nts=True)),
                machine=Machine(time=TimeSettings(servers=("a",))),
            ),
            "",
            [(CONFIGURATION, ("n",), True)],
        ),
        (config(TimeSyncConfig(ptp=Ptp(devices=("/dev/ptp0",)))), "", [(CONFIGURATION, ("/dev/ptp0",), False)]),
    ],
)
def test_the_layers_of_the_time_servers(given: MachineConfigSpec, line: str, specs: list[tuple[object, ...]]) -> None:
    found = [(spec.layer, spec.time_servers, spec.use_nts) for spec in time_server_specs(given, cmdline=line)]
    assert found == specs


def test_disabled_time_sync_manages_no_time() -> None:
    assert config().time_is_kept
    assert not config(machine=Machine(time=TimeSettings(disabled=True))).time_is_kept
    assert not config(TimeSyncConfig(enabled=False)).time_is_kept


CHRONY = Timekeeping(service=TimeService.CHRONY, file="chrony/chrony.conf")
SERVERS = TimeServerStatusSpec(time_servers=("ntp1.example", "ntp2.example"))


@pytest.mark.parametrize(
    ("spec", "timekeeping", "reads_sources", "files", "problem"),
    [
        (SERVERS, CHRONY, True, {"chrony/sources.d/nodespan.sources": "server ntp1.example iburst prefer\n"}, ""),
        (SERVERS, CHRONY, False, {"chrony/chrony.conf": "server ntp2.example iburst prefer\n"}, ""),
        (
            TimeServerStatusSpec(time_servers=("ntp1.example",), use_nts=True),
            CHRONY,
            True,
            {"chrony/sources.d/nodespan-nts.sources": "# Authorities: 12 corp\nserver ntp1.example iburst prefer nts"},
            "",
        ),
        (
            TimeServerStatusSpec(time_servers=("/dev/ptp0",)),
            CHRONY,
            True,
            {"chrony/chrony.conf": "refclock PHC /dev/ptp0 poll 2 prefer\n"},
            "",
        ),
        (
            TimeServerStatusSpec(time_servers=("/dev/ptp7", "a")),
            CHRONY,
            True,
            {"chrony/sources.d/nodespan.sources": "server a iburst prefer\n"},
            "this machine has no /dev/ptp7",
        ),
        (TimeServerStatusSpec(time_servers=("/dev/ptp7",)), CHRONY, True, {}, "this machine has no /dev/ptp7"),
        (SERVERS, Timekeeping(service=TimeService.CHRONY), False, {}, "configuration is not found"),
        (
            SERVERS,
            Timekeeping(service=TimeService.TIMESYNCD),
            False,
            {"systemd/timesyncd.conf.d/50-nodespan.conf": "[Time]\nNTP=\nNTP=ntp1.example ntp2.example\n"},
            "",
        ),
        (
            TimeServerStatusSpec(time_servers=("a",), use_nts=True),
            Timekeeping(service=TimeService.TIMESYNCD),
            False,
            {},
            "cannot do NTS: install chrony",
        ),
        (
            TimeServerStatusSpec(time_servers=("/dev/ptp0", "a")),
            Timekeeping(service=TimeService.TIMESYNCD),
            False,
            {"systemd/timesyncd.conf.d/50-nodespan.conf": "NTP=a\n"},
            "cannot do /dev/ptp0",
        ),
        (SERVERS, Timekeeping(), False, {}, "no time service runs here"),
    ],
)
def test_how_time_servers_are_applied(
    spec: TimeServerStatusSpec, timekeeping: Timekeeping, reads_sources: bool, files: dict[str, str], problem: str
) -> None:
    missing = {"/dev/ptp7"} & {*spec.time_servers}
    found = time_files(spec, timekeeping, reads_sources=reads_sources, missing=missing, trust="12 corp")
    assert found.texts.keys() == files.keys()
    for path, part in files.items():
        assert part in found.texts[path]
    assert problem in found.problem
    assert bool(problem) is bool(found.problem)


# Names of hosts.

HOSTS = config(
    StaticHostConfig(name="10.0.0.2", hostnames=("two",)),
    StaticHostConfig(name="10.0.0.10", hostnames=("Ten", "ten.example")),
    machine=network(extra_host_entries=(HostEntry(ip="10.0.0.2", aliases=("zwei", "two")),)),
)


def test_hosts_of_all_sources_are_merged_by_address() -> None:
    assert configured_hosts(HOSTS) == {"10.0.0.10": ("Ten", "ten.example"), "10.0.0.2": ("zwei", "two")}


def test_static_hosts_are_keyed_by_name_and_include_the_node_itself() -> None:
    own = HostnameStatusSpec(hostname="Web", domainname="corp.example")
    found = static_hosts(HOSTS, own, ("192.0.2.7/24", "fd00::7/64"))
    assert found["web"].addresses == found["web.corp.example"].addresses == ("192.0.2.7", "fd00::7")
    assert found["ten"].addresses == ("10.0.0.10",)
    assert found.keys() == {"web", "web.corp.example", "ten", "ten.example", "two", "zwei"}
    assert static_hosts(config(), own, ()) == {}


def test_hosts_lines_are_aligned_in_columns() -> None:
    lines = hosts_lines(("192.0.2.77", ("web.corp.example", "web")), configured_hosts(HOSTS))
    assert lines == "192.0.2.77 web.corp.example web\n10.0.0.10  Ten ten.example\n10.0.0.2   zwei two\n"


@pytest.mark.parametrize(
    ("layer", "paths"),
    [
        (ConfigLayer.CONFIGURATION, {"hostname", "hosts"}),
        (ConfigLayer.DEFAULT, {"hostname", "hosts"}),
        (ConfigLayer.OPERATOR, set()),
        (ConfigLayer.CMDLINE, set()),
        (None, set()),
    ],
)
def test_only_a_permanent_name_is_written_to_files(layer: ConfigLayer | None, paths: set[str]) -> None:
    hostname = None if layer is None else HostnameSpecSpec(hostname="web", layer=layer)
    assert name_files(config(), hostname, "192.0.2.7/24").keys() == paths


# The environment.


def test_later_variables_win() -> None:
    given = config(
        EnvironmentConfig(variables=FrozenMapping({"c": "doc1", "d": "doc1"})),
        EnvironmentConfig(variables=FrozenMapping({"d": "doc2"})),
        machine=Machine(env=FrozenMapping({"b": "machine", "c": "machine"})),
    )
    line = "quiet talos.environment=a=one=1 talos.environment=a=two=2 talos.environment=b=line talos.environment=odd"
    assert configured_environment(given, line) == {"a": "two=2", "b": "machine", "c": "doc1", "d": "doc2"}
    assert configured_environment(None, "talos.environment=a=1") == {"a": "1"}


def test_the_files_of_services_quote_what_their_syntax_would_expand() -> None:
    given = {"https_proxy": 'http://u:p%40$"\\@p', "A": "one two", "not a name": "x", "B": "a\nb", "C": ""}
    files = environment_files(given)
    users, system = (files[path].contents.decode() for path in (USER_FILE, SYSTEM_FILE))
    assert body(users) == ['A="one two"', 'https_proxy="http://u:p%40$$\\"\\\\@p"']
    assert body(system) == ["[Manager]", 'DefaultEnvironment="A=one two" "C=" "https_proxy=http://u:p%%40$\\"\\\\@p"']
    assert files[SYSTEM_FILE].mode == 0o600
    assert environment_files({}) == {}
    assert unfit_variables(given) == ("B", "not a name")


# Files.


def file(path: str, op: str, content: str = "", permissions: int = 0) -> MachineFile:
    return MachineFile(path=path, op=op, content=content, permissions=permissions)


def test_entries_of_one_path_apply_in_order() -> None:
    plan = plan_files(
        enumerate(
            [
                file("/a", "create", "1", 0o600),
                file("/b", "append", "x"),
                file("/a", "append", "2"),
                file("/b", "append", "y", 0o640),
                file("/c", "append", "lost"),
                file("/c", "overwrite", "3"),
                file("/a", "overwrite", "4"),
            ]
        )
    )
    found = {planned.path: planned for planned in plan.files}
    assert found["/a"].edit.apply(None) == b"4"
    assert found["/a"].mode == 0o600
    assert found["/a"].entries == (0, 2, 6)
    assert found["/b"].edit.apply(b"base") == b"base\nx\ny"
    assert found["/b"].mode == 0o640
    assert found["/c"].edit.apply(b"base") == b"3"
    assert found["/c"].mode is None
    assert plan.errors == {}
    (created,) = plan_files(enumerate([file("/a", "create", "1"), file("/a", "append", "2")])).files
    assert created.edit.apply(None) == b"1\n2"


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (file("/a", "zap"), 'op "zap" is not known: write one of create, append, overwrite'),
        (file("/a", ""), 'op "" is not known'),
        (file("a", "create"), '"a" is not an absolute path'),
        (file("/a/", "create"), '"/a/" is not the path of a file'),
    ],
)
def test_invalid_entries_are_reported_and_do_not_block_the_others(entry: MachineFile, error: str) -> None:
    plan = plan_files(enumerate([entry, file("/b", "create")]))
    assert error in plan.errors[0]
    assert [planned.path for planned in plan.files] == ["/b"]


@pytest.mark.parametrize(
    ("id", "told"),
    [
        ("hosts", FollowUp()),
        ("resolv.conf", FollowUp()),
        ("environment.d/50-nodespan.conf", FollowUp()),
        ("systemd/network/x.network", FollowUp()),
        ("systemd/resolved.conf.d/x.conf", FollowUp(service=("systemd-resolved.service",))),
        ("systemd/timesyncd.conf.d/x.conf", FollowUp(service=("systemd-timesyncd.service",))),
        ("systemd/system.conf.d/x.conf", FollowUp(command=("systemctl", "daemon-reload"))),
        ("chrony/sources.d/x.sources", FollowUp(command=("chronyc", "reload", "sources"))),
        ("chrony/sources.d/nodespan-nts.sources", FollowUp(service=("chronyd.service", "chrony.service"))),
        ("chrony/chrony.conf", FollowUp(service=("chronyd.service", "chrony.service"))),
        ("chrony.conf", FollowUp(service=("chronyd.service", "chrony.service"))),
    ],
)
def test_which_service_is_notified_of_a_file(id: str, told: FollowUp) -> None:
    assert follow_up(id) == told


# Trust.

ONE, TWO = Authority("one"), Authority("two")


def test_certificates_come_from_documents_and_from_entries_appended_to_a_bundle() -> None:
    both = ONE.pem.decode() + "and\n" + TWO.pem.decode()
    given = config(
        TrustedRootsConfig(name="corp ca", certificates=both),
        TrustedRootsConfig(name="empty", certificates="nothing"),
        machine=Machine(
            files=(
                file("/etc/ssl/certs/ca-certificates", "append", ONE.pem.decode()),
                file("/etc/ssl/certs/ca-certificates", "overwrite", "x"),
                file("/etc/other", "append", ONE.pem.decode()),
            )
        ),
    )
    entries = list(trust_entries(given))
    assert [(entry.name, entry.source, len(entry.certificates)) for entry in entries] == [
        ("machine-files-0", "machine.files[0]", 1),
        ("corp ca", "TrustedRootsConfig", 2),
        ("empty", "TrustedRootsConfig", 0),
    ]
    assert "it holds no certificate" in entries[2].error
    assert list(anchor_files(entries, ".crt")) == ["nodespan-machine-files-0.crt", "nodespan-corp-ca.crt"]
    assert [certificate.subject for certificate in entries[1].certificates] == ["CN=one", "CN=two"]


def test_several_certificates_of_one_entry_are_files_of_their_own() -> None:
    given = config(TrustedRootsConfig(name="a", certificates=(ONE.pem + TWO.pem).decode()))
    assert list(anchor_files(trust_entries(given), ".pem")) == ["nodespan-a.pem", "nodespan-a-2.pem"]


def test_a_damaged_certificate_is_one_clear_error() -> None:
    damaged = ONE.pem.decode().replace("MII", "NII", 1)
    with pytest.raises(ValueError, match="certificate 2 of 2 is damaged: copy it again"):
        list(parse_certificates(TWO.pem.decode() + damaged))
    for cut in (TWO.pem[:20], TWO.pem[:300], TWO.pem.rstrip()[:-1]):
        with pytest.raises(ValueError, match=r"line \d+.*copy the certificates again"):
            list(parse_certificates((ONE.pem + cut).decode()))


def test_an_authority_that_openssl_does_not_take_is_damaged_and_not_in_the_bundle() -> None:
    der = base64.b64decode("".join(ONE.pem.decode().splitlines()[1:-1]))
    taken = 0
    # Each byte of it that is not the signature, one bit of it changed.
    for at in range(len(der) - 72):
        text = pem_of(der[:at] + bytes((der[at] ^ 1,)) + der[at + 1 :]).decode()
        (entry,) = trust_entries(config(TrustedRootsConfig(name="a", certificates=text)))
        if entry.error:
            assert "certificate 1 of 1 is damaged" in entry.error
        else:
            ssl.create_default_context(cadata=text)
            taken += 1
    assert 0 < taken < len(der) - 72


def test_a_bundle_does_not_change_when_the_system_learns_what_we_added() -> None:
    entries = tuple(trust_entries(config(TrustedRootsConfig(name="a", certificates=TWO.pem.decode()))))
    before = combined_bundle(ONE.pem.rstrip(), entries)
    after = combined_bundle(TWO.pem + ONE.pem, entries)
    assert before == ONE.pem + TWO.pem
    assert after == TWO.pem + ONE.pem
    assert bundle_digest(before) == bundle_digest(after) != bundle_digest(ONE.pem)
