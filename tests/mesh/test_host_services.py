"""The real services of a machine with systemd, configured by an agent that is a service of it."""

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import pytest
import trio

from tests.support.certificates import Authority
from tests.support.dns_over_tls import answering
from tests.support.inside import FEW_AUTHORITIES
from tests.support.netns import Namespace, connect, namespace
from tests.support.process import eventually, running
from tests.support.systemd import PROJECT, Booted, booted, no_systemd

pytestmark = [
    pytest.mark.needs_program("unshare", "nsenter", "setpriv", "dpkg-deb", "dnsmasq"),
    pytest.mark.skipif(no_systemd() is not None, reason=no_systemd() or ""),
]

NODESPAN = f"{sys.prefix}/bin/nodespan"
BARE = "version: v1alpha1\nmachine:\n  type: worker\n"
# What each of the name servers outside says of every name below corp.example.
PLAIN = {"192.0.2.53": "192.0.2.1", "192.0.2.54": "192.0.2.2"}
FIRST, SECOND = PLAIN
ENCRYPTED, ENCRYPTED_ANSWER = "192.0.2.55", "192.0.2.3"
EARLY, LATE = TIME_SERVERS = "192.0.2.123", "192.0.2.124"
TIME_SERVER = """\
local stratum 2
allow all
bindaddress {address}
bindcmdaddress /
cmdport 0
pidfile /run/time-{address}.pid
user root
"""
# A clock that may not be set is of use to tests only, so the services that set it are configured not to.
ANY_CLOCK = "[Unit]\nConditionCapability=\nConditionVirtualization=\n[Service]\nAmbientCapabilities=\n"


def main(**keys: str) -> str:
    """A main document with these keys of `machine`."""
    return BARE + "".join(f"  {key}: {value}\n" for key, value in keys.items())


@attrs.frozen
class Agent:
    """The agent on the machine, as the documented unit runs it."""

    machine: Booted
    config: Path

    def configure(self, text: str) -> None:
        """Give it another configuration, and have it look at once."""
        self.write(text)
        self.machine.run("systemctl", "reload", "nodespan")

    def write(self, text: str) -> None:
        """Give it another configuration."""
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.rename(self.config)

    def problems(self) -> list[str]:
        """What is wrong, by what it says."""
        said = self.machine.run(NODESPAN, "get", "networkproblems", "-o", "jsonpath={.spec.message}")
        return said.splitlines()


def documented_unit(config: Path) -> str:
    """The unit that the documentation gives, with the paths of this test."""
    _, _, rest = (PROJECT / "docs/operators.md").read_text().partition("`/etc/systemd/system/nodespan.service`:")
    unit = rest.partition("```ini\n")[2].partition("```")[0]
    assert "ExecStart=" in unit
    # PrivateTmp hides what this test has below /tmp, which may be the project itself.
    seen = f"PrivateTmp=yes\nBindReadOnlyPaths={PROJECT} {config.parent}"
    assert "PrivateTmp=yes" in unit
    unit = unit.replace("PrivateTmp=yes", seen)
    return unit.replace("/opt/nodespan/bin/nodespan", NODESPAN).replace("/etc/nodespan/config.yaml", str(config))


@contextlib.asynccontextmanager
async def agent(machine: Booted, directory: Path, config: str) -> AsyncIterator[Agent]:
    made = Agent(machine, directory / "config.yaml")
    made.write(config)
    machine.configure("/run/systemd/system/nodespan.service", documented_unit(made.config))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "nodespan")
    await eventually(lambda: machine.succeeds(NODESPAN, "version"))
    yield made
    machine.run("systemctl", "stop", "nodespan")


@attrs.frozen
class Lab:
    """The machine, and where the servers are: at the other end of its cable."""

    machine: Booted
    outside: Namespace


@contextlib.asynccontextmanager
async def lab(directory: Path) -> AsyncIterator[Lab]:
    async with booted(directory) as machine:
        with namespace("outside") as outside:
            connect(machine.network, "eth0", outside, "eth0")
            machine.network.run("ip", "address", "add", "192.0.2.10/24", "dev", "eth0")
            for address in (*PLAIN, ENCRYPTED, *TIME_SERVERS):
                outside.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            yield Lab(machine, outside)


@contextlib.asynccontextmanager
async def name_servers(outside: Namespace) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for address, answer in PLAIN.items():
            command = (
                *(
                    "dnsmasq",
                    "--keep-in-foreground",
                    "--pid-file",
                    "--conf-file=/dev/null",
                    "--no-resolv",
                    "--no-hosts",
                ),
                *("--bind-interfaces", f"--listen-address={address}", f"--address=/corp.example/{answer}"),
            )
            await stack.enter_async_context(running(*command, namespace=outside))
        yield


def time_server(at: Lab, address: str, more: str = "") -> AbstractAsyncContextManager[trio.Process]:
    """One that is right by its own word. Its program is the machine's, for this one need not have it."""
    file = f"/etc/time-{address}.conf"
    at.machine.configure(file, TIME_SERVER.format(address=address) + more)
    return running(*at.machine.programs, "chronyd", "-x", "-d", "-f", file, namespace=at.outside)


def start_resolved(machine: Booted, own: str = "") -> None:
    """Start it with settings that the machine has of its own, and without asking the neighbours, which takes time."""
    machine.configure("/etc/systemd/resolved.conf", f"[Resolve]\nLLMNR=no\nMulticastDNS=no\n{own}")
    assert machine.run("readlink", "/etc/resolv.conf") == "../run/systemd/resolve/stub-resolv.conf\n"
    machine.run("systemctl", "enable", "--quiet", "--now", "systemd-resolved")


def resolved_says(machine: Booted, what: str) -> list[str]:
    """What it shows for all links together; nothing while it starts."""
    lines = machine.run("sh", "-c", f"resolvectl {what} || true").splitlines()
    return lines[0].split()[1:] if lines else []


def look_up(machine: Booted, name: str = "www.corp.example") -> str:
    """The address that a program of the machine gets for a name, "" for none."""
    # Who is started anew while it is asked never answers.
    found = machine.run("sh", "-c", f"RES_OPTIONS='timeout:1 attempts:1' getent ahostsv4 {name} || true").split()
    return found[0] if found else ""


def asks(machine: Booted, server: str) -> Callable[[], bool]:
    return lambda: look_up(machine) == PLAIN[server]


async def test_resolved_uses_the_configured_name_servers_and_returns_to_its_own(tmp_path: Path) -> None:
    async with lab(tmp_path) as at, name_servers(at.outside):
        machine = at.machine
        start_resolved(machine, f"DNS={SECOND}\nDomains=elsewhere.example\n")
        # As a lease would have it.
        machine.run("resolvectl", "dns", "eth0", SECOND)
        await eventually(asks(machine, SECOND))
        before = machine.tree()
        config = main(network=f"{{nameservers: [{FIRST}], searchDomains: [corp.example]}}")
        async with agent(machine, tmp_path, config) as deployed:
            await eventually(lambda: look_up(machine, "www") == PLAIN[FIRST])
            assert resolved_says(machine, "dns") == [FIRST]
            assert resolved_says(machine, "domain") == ["corp.example", "~."]
            # More often than systemd by itself starts a service in a row.
            for server in (SECOND, FIRST) * 3:
                deployed.configure(main(network=f"{{nameservers: [{server}]}}"))
                await eventually(asks(machine, server))
            assert resolved_says(machine, "domain") == ["elsewhere.example", "~."]
            await eventually(lambda: deployed.problems() == [])
            deployed.configure(BARE)
            await eventually(lambda: machine.tree() == before)
            await eventually(lambda: resolved_says(machine, "dns") == [SECOND])
            assert resolved_says(machine, "domain") == ["elsewhere.example"]
            assert look_up(machine) == PLAIN[SECOND]


NAMES_OF_MEMBERS = """\
version: v1alpha1
machine:
  type: worker
  features:
    hostDNS: {enabled: true, resolveMemberNames: true}
cluster:
  id: 8XuV9TZHW08DOk3bVxQjH9ih_TBKjnh-j44tsCLSBzo=
  secret: 7dcjbfCdvrlGIgLvKVlZ0dsxDwD5Hs0hRwnW4Ba0Cmc=
  discovery: {enabled: true, registries: {service: {endpoint: "https://192.0.2.99:3000/"}}}
---
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
names: {mode: resolved, domain: mesh.internal}
"""


async def test_resolved_asks_the_agent_for_members_and_nothing_else_until_the_agent_ends(tmp_path: Path) -> None:
    async with lab(tmp_path) as at, name_servers(at.outside):
        machine = at.machine
        start_resolved(machine, f"DNS={SECOND}\n")
        # The link of the mesh, as far as systemd-resolved is concerned.
        machine.network.run("ip", "link", "add", "kubespan", "type", "veth", "peer", "name", "other")
        for link in ("kubespan", "other"):
            machine.network.run("ip", "link", "set", link, "up")
        machine.network.run("ip", "address", "add", "fd00::1/128", "dev", "kubespan", "nodad")
        # Only that of the namespaces, whatever this machine is called.
        machine.run("sh", "-c", "echo one > /proc/sys/kernel/hostname")
        before = machine.tree()
        async with agent(machine, tmp_path, NAMES_OF_MEMBERS) as deployed:
            await eventually(lambda: look_up(machine, "one.mesh.internal") == "192.0.2.10")
            assert look_up(machine, "nobody.mesh.internal") == ""
            assert look_up(machine) == PLAIN[SECOND]
            await eventually(lambda: deployed.problems() == [])
        assert "mesh.internal" not in machine.run("resolvectl", "domain")
        assert machine.tree() == before


def trusting(authority: Authority) -> str:
    pem = "".join(f"  {line}\n" for line in authority.pem.decode().splitlines())
    return f"---\napiVersion: v1alpha1\nkind: TrustedRootsConfig\nname: corp\ncertificates: |\n{pem}"


def over_tls(authority: Authority, name: str) -> str:
    return f"""\
{BARE}{trusting(authority)}---
apiVersion: v1alpha1
kind: ResolverConfig
hostDNS: {{enabled: true}}
nameservers:
  - {{address: {ENCRYPTED}, protocol: DoT, tlsServerName: {name}}}
  - {{address: {FIRST}}}
"""


@pytest.mark.needs_program("update-ca-certificates", "openssl")
async def test_a_name_server_configured_for_tls_is_queried_over_tls_only(tmp_path: Path) -> None:
    authority = Authority("corp")
    certificate = authority.issue(tmp_path, "dns.corp.example")
    async with lab(tmp_path) as at, name_servers(at.outside):
        machine = at.machine
        machine.run("sh", "-c", FEW_AUTHORITIES)
        start_resolved(machine)
        before = machine.tree()
        with answering(at.outside, ENCRYPTED, certificate, ENCRYPTED_ANSWER):
            async with agent(machine, tmp_path, over_tls(authority, "dns.corp.example")) as deployed:
                await eventually(lambda: look_up(machine) == ENCRYPTED_ANSWER)
                problem = f"systemd-resolved asks over TLS all servers or none, left out: {FIRST} (Do53)"
                await eventually(lambda: deployed.problems() == [problem])
                # Whoever has a certificate for another name only is somebody else.
                deployed.configure(over_tls(authority, "elsewhere.example"))
                await eventually(lambda: resolved_says(machine, "dns") == [f"{ENCRYPTED}#elsewhere.example"])
                assert look_up(machine) == ""
                deployed.configure(BARE)
                await eventually(lambda: machine.tree() == before)
                await eventually(lambda: machine.succeeds("resolvectl") and resolved_says(machine, "dns") == [])


def timesyncd_says(machine: Booted, what: str) -> str:
    """A property of it, "" while it starts."""
    return machine.run("sh", "-c", f"timedatectl show-timesync --property={what} --value || true").strip()


async def test_timesyncd_uses_the_configured_time_servers_and_returns_to_its_own(tmp_path: Path) -> None:
    async with lab(tmp_path) as at, time_server(at, EARLY), time_server(at, LATE):
        machine = at.machine
        machine.configure("/etc/systemd/system/systemd-timesyncd.service.d/any-clock.conf", ANY_CLOCK)
        machine.configure("/etc/systemd/timesyncd.conf", f"[Time]\nNTP={LATE}\n")
        machine.run("systemctl", "enable", "--quiet", "--now", "systemd-timesyncd")
        await eventually(lambda: timesyncd_says(machine, "ServerAddress") == LATE)
        before = machine.tree()
        async with agent(machine, tmp_path, main(time=f"{{servers: [{EARLY}]}}")) as deployed:
            await eventually(lambda: timesyncd_says(machine, "ServerAddress") == EARLY)
            assert timesyncd_says(machine, "SystemNTPServers") == EARLY
            document = f"{BARE}---\napiVersion: v1alpha1\nkind: TimeSyncConfig\n"
            deployed.configure(f"{document}ntp: {{servers: [{LATE}, {EARLY}]}}\n")
            await eventually(lambda: timesyncd_says(machine, "SystemNTPServers") == f"{LATE} {EARLY}")
            await eventually(lambda: deployed.problems() == [])
            deployed.configure(f"{document}ntp: {{servers: [time.corp.example], useNTS: true}}\n")
            await eventually(lambda: deployed.problems() == ["systemd-timesyncd cannot do NTS: install chrony"])
            await eventually(lambda: timesyncd_says(machine, "SystemNTPServers") == LATE)
            deployed.configure(f"{document}ntp: {{servers: [{EARLY}]}}\n")
            await eventually(lambda: timesyncd_says(machine, "ServerAddress") == EARLY)
            deployed.configure(f"{document}enabled: false\nntp: {{servers: [{EARLY}]}}\n")
            await eventually(lambda: machine.tree() == before)
            await eventually(lambda: timesyncd_says(machine, "ServerAddress") == LATE)


def start_chrony(machine: Booted) -> None:
    """Start it with a server that the machine has of its own, after what its package does when it is installed."""
    machine.configure("/run/sysusers.d/chrony.conf", "u _chrony - - /var/lib/chrony\n")
    machine.run("systemd-sysusers")
    machine.configure("/etc/systemd/system/chrony.service.d/any-clock.conf", ANY_CLOCK)
    machine.configure("/etc/default/chrony", "DAEMON_OPTS=-x\n")
    machine.run("cp", "/usr/share/chrony/chrony.conf", "/usr/share/chrony/chrony.keys", "/etc/chrony/")
    machine.run("sed", "-i", f"s/^pool .*/server {LATE} iburst/", "/etc/chrony/chrony.conf")
    machine.run("systemctl", "enable", "--quiet", "--now", "chrony")


def chrony_says(machine: Booted) -> dict[str, str]:
    """The sources that it has, by address, with the mark for how it uses each; none while it starts."""
    lines = machine.run("sh", "-c", "chronyc -n -c sources || true").splitlines()
    fields = [line.split(",") for line in lines if line.startswith("^")]
    return {address: mark for _, mark, address, *_ in fields}


SELECTED = "*"


async def test_chrony_prefers_the_configured_time_servers_and_returns_to_its_own(tmp_path: Path) -> None:
    async with lab(tmp_path) as at, time_server(at, EARLY), time_server(at, LATE):
        machine = at.machine
        start_chrony(machine)
        await eventually(lambda: chrony_says(machine).keys() == {LATE})
        before = machine.tree()
        async with agent(machine, tmp_path, main(time=f"{{servers: [{EARLY}]}}")) as deployed:
            await eventually(lambda: chrony_says(machine).get(EARLY) == SELECTED)
            assert chrony_says(machine).keys() == set(TIME_SERVERS)
            process = machine.run("systemctl", "show", "--property=MainPID", "chrony")
            deployed.configure(main(time="{servers: []}"))
            await eventually(lambda: machine.tree() == before)
            await eventually(lambda: chrony_says(machine).keys() == {LATE})
            assert machine.run("systemctl", "show", "--property=MainPID", "chrony") == process
        # Where it reads no such directory, its own file is all there is.
        machine.run("sed", "-i", "/sources.d/d", "/etc/chrony/chrony.conf")
        before = machine.tree()
        async with agent(machine, tmp_path, main(time=f"{{servers: [{EARLY}, /dev/ptp7]}}")) as deployed:
            await eventually(lambda: chrony_says(machine).keys() == set(TIME_SERVERS))
            await eventually(lambda: deployed.problems() == ["this machine has no /dev/ptp7"])
            deployed.configure(BARE)
            await eventually(lambda: machine.tree() == before)
            await eventually(lambda: chrony_says(machine).keys() == {LATE})


PROVEN_TIME = f"""\
{BARE}---
apiVersion: v1alpha1
kind: StaticHostConfig
name: {EARLY}
hostnames: [time.corp.example]
---
apiVersion: v1alpha1
kind: TimeSyncConfig
ntp: {{servers: [time.corp.example], useNTS: true}}
"""


def has_proof(machine: Booted) -> bool:
    """Whether the server has proven who it is, and given a key."""
    lines = machine.run("sh", "-c", "chronyc -N -c authdata || true").splitlines()
    keys = [line.split(",")[1:3] for line in lines if line.startswith("time.corp.example,")]
    return keys == [["NTS", "1"]]


@pytest.mark.needs_program("update-ca-certificates", "openssl")
async def test_chrony_accepts_an_nts_server_once_its_authority_is_trusted(
    tmp_path: Path,
) -> None:
    authority = Authority("corp")
    certificate, key = authority.issue(tmp_path, "time.corp.example")
    proof = f"ntsservercert {certificate}\nntsserverkey {key}\nntsdumpdir /run\n"
    async with lab(tmp_path) as at, time_server(at, EARLY, proof):
        machine = at.machine
        machine.run("sh", "-c", FEW_AUTHORITIES)
        start_chrony(machine)
        before = machine.tree()
        async with agent(machine, tmp_path, PROVEN_TIME) as deployed:
            await eventually(lambda: machine.succeeds("journalctl", "--unit=chrony", "--grep=certificate verification"))
            assert not has_proof(machine)
            deployed.configure(f"{PROVEN_TIME}{trusting(authority)}")
            await eventually(lambda: has_proof(machine))
            deployed.configure(BARE)
            await eventually(lambda: machine.tree() == before)
            await eventually(lambda: chrony_says(machine).keys() == {LATE})


def variables_of_a_service(machine: Booted) -> dict[str, str]:
    """Those that a service has which systemd starts now."""
    lines = machine.run("systemd-run", "--quiet", "--pipe", "--wait", "env").splitlines()
    return dict(line.split("=", 1) for line in lines)


def variables_of_a_user(machine: Booted) -> dict[str, str]:
    """Those that the services of a user have, whose service manager is started now."""
    machine.run("systemctl", "restart", "user@0")
    ask = ("systemd-run", "--user", "--quiet", "--pipe", "--wait", "env")
    lines = machine.run("env", "XDG_RUNTIME_DIR=/run/user/0", *ask).splitlines()
    return dict(line.split("=", 1) for line in lines)


# Characters that mean something in the one file or the other.
PROXY = """http://user:50%-$HOME-"'\\x`;#@proxy.corp.example:3128"""


async def test_environment_variables_reach_services_started_later(tmp_path: Path) -> None:
    async with booted(tmp_path) as machine:
        before, known = machine.tree(), variables_of_a_service(machine).keys()
        quoted = PROXY.replace("'", "''")
        async with agent(machine, tmp_path, main(env=f"{{https_proxy: '{quoted}', no_proxy: '', x: a b}}")) as deployed:
            await eventually(lambda: variables_of_a_service(machine).get("https_proxy") == PROXY)
            found = variables_of_a_service(machine)
            assert (found["no_proxy"], found["x"]) == ("", "a b")
            found = variables_of_a_user(machine)
            assert (found["https_proxy"], found["x"]) == (PROXY, "a b")
            deployed.configure(main(env="{https_proxy: http://other.corp.example}"))
            await eventually(lambda: variables_of_a_service(machine)["https_proxy"] == "http://other.corp.example")
            assert "x" not in variables_of_a_service(machine)
            deployed.configure(BARE)
            await eventually(lambda: machine.tree() == before)
            await eventually(lambda: variables_of_a_service(machine).keys() == known)
            assert "https_proxy" not in variables_of_a_user(machine)
