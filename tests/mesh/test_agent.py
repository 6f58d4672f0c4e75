"""The real agent in a namespace: what it shows is what `ip` shows, and it leaves, hides and says what it should."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import COMMAND, AgentProcess, agent, environment, nodespan
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


as_others = pytest.mark.usefixtures("others")
# What `ip` calls otherwise, and what it adds of its own.
IP_FLAGS = {"POINTOPOINT": "POINTTOPOINT"}
IP_OWN_FLAGS = {"NO-CARRIER", "M-DOWN"}


@pytest.fixture(scope="module")
def others() -> None:
    """Skip where a user without rights cannot even run the command from where it is installed."""
    check = (*NOBODY, *COMMAND[:2], "import nodespan.runtime.cli.agent")
    if (
        os.geteuid() != 0
        or shutil.which("setpriv") is None
        or subprocess.run(check, cwd="/", capture_output=True).returncode != 0
    ):
        pytest.skip("other users cannot run what is installed here")


@contextlib.asynccontextmanager
async def node(directory: Path, *options: str) -> AsyncIterator[tuple[Namespace, AgentProcess]]:
    with namespace() as inside:
        async with agent(directory, *options, namespace=inside) as served:
            yield inside, served


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a text that stand one after another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += 1
    return found


def shown(specs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    links = {}
    for id, spec in specs.items():
        links[id] = {
            "index": spec["index"],
            "mtu": spec["mtu"],
            "mac": spec["hardwareAddr"],
            "kind": spec["kind"],
            "flags": set(spec["flags"].split(",")) - {"RUNNING"},
        }
    return links


def reported(inside: Namespace) -> dict[str, dict[str, Any]]:
    links = {}
    for link in json.loads(inside.run("ip", "-j", "-d", "link")):
        links[link["ifname"]] = {
            "index": link["ifindex"],
            "mtu": link["mtu"],
            "mac": link.get("address", ""),
            "kind": link.get("linkinfo", {}).get("info_kind", ""),
            "flags": {IP_FLAGS.get(flag, flag) for flag in link["flags"]} - IP_OWN_FLAGS,
        }
    return links


def printed(served: AgentProcess) -> dict[str, dict[str, Any]]:
    return {link["metadata"]["id"]: link["spec"] for link in objects(served.run("get", "links", "-o", "json"))}


def agrees(inside: Namespace, served: AgentProcess) -> bool:
    assert shown(served.specs("links")) == reported(inside)
    return True


# The network.


@pytest.mark.needs_link("veth", "bridge")
async def test_links_match_what_ip_shows(tmp_path: Path) -> None:
    async with node(tmp_path) as (inside, served):
        assert shown(printed(served)) == reported(inside)
        until_renamed = (
            "link add v0 type veth peer name v1",
            "link add br0 type bridge",
            "link set v0 master br0 mtu 1400 up",
            "link set v1 address 02:00:00:00:00:07 up",
            "link set br0 up",
            "link set v1 name w1",
        )
        for steps in (until_renamed, ("link set w1 down", "link del br0", "link del v0")):
            for step in steps:
                inside.run("ip", *step.split())
                await eventually(lambda: agrees(inside, served))
            assert shown(printed(served)) == reported(inside)


@pytest.mark.needs_link("veth")
async def test_a_watch_reports_every_one_of_hundreds_of_links(tmp_path: Path) -> None:
    async with node(tmp_path) as (inside, served):
        out = tmp_path / "watch"
        with watching(served, "links", out):
            await eventually(lambda: " lo " in out.read_text())
            add = "".join(f"link add a{number} type veth peer name b{number}\n" for number in range(200))
            inside.run("ip", "-batch", "-", stdin=add)
            await eventually(lambda: agrees(inside, served))
            assert shown(printed(served)) == reported(inside)
            await eventually(lambda: len(present(out)) == 401)
            inside.run("ip", "-batch", "-", stdin="".join(f"link del a{number}\n" for number in range(200)))
            await eventually(lambda: present(out) == {"lo"})
        assert list(printed(served)) == ["lo"]


@contextlib.contextmanager
def watching(served: AgentProcess, type: str, out: Path) -> Iterator[None]:
    """`get -w` into a file."""
    with out.open("w") as file:
        process = subprocess.Popen(
            (*COMMAND, "get", type, "-w"), env=environment(served.directory), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def present(out: Path) -> set[str]:
    """The ids that a watch of links shows as present by now."""
    ids = set()
    for line in out.read_text().splitlines(keepends=True):
        mark, *words = line.partition(" ")[2].split()
        if mark == "*" or not line.endswith("\n"):
            continue
        if mark == "+":
            ids.add(words[2])
        elif mark == "-":
            ids.discard(words[2])
    return ids


@pytest.mark.needs_link("veth")
async def test_a_link_name_that_is_not_valid_text_is_handled(tmp_path: Path) -> None:
    async with node(tmp_path) as (inside, served):
        # What stands for bytes that are no text, as Python hands them to the system.
        inside.run("ip", "link", "add", "\udcff\udcfe\x1b[31m", "type", "veth", "peer", "name", "v1")
        await eventually(lambda: "v1" in served.specs("links"))
        for form in ("table", "yaml", "json"):
            text = served.run("get", "links", "-o", form)
            assert "v1" in text
            assert "\x1b" not in text
        assert "controller failed" not in served.log


# Its own life.


async def test_a_stopped_agent_leaves_nothing_behind(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, served):
        assert served.socket.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        lock = tmp_path / "agent.sock.lock"
        assert lock.read_text() == f"{served.pid}\n"
        os.kill(served.pid, signal.SIGTERM)
        await eventually(lambda: lock.read_text() == "")
        assert not served.socket.exists()
    assert '"signal": "SIGTERM"' in served.log
    assert "Traceback" not in served.log


async def test_a_second_stop_signal_does_not_skip_the_cleanup(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, served):
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                os.kill(served.pid, signal.SIGTERM)
        # The lock is released last, by the end of the process.
        await eventually(lambda: (tmp_path / "agent.sock.lock").read_text() == "")
        assert not served.socket.exists()


async def test_a_reload_signal_wakes_every_controller(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, served):
        before = wakeups(served)
        os.kill(served.pid, signal.SIGHUP)

        def woken() -> bool:
            after = wakeups(served)
            return all(after[name] > before[name] for name in LOOKING)

        await eventually(woken)
        assert '"event": "every controller gets a turn"' in served.log


LOOKING = ("network.LinkStatusController", "network.AddressStatusController", "network.HostnameStatusController")


def wakeups(served: AgentProcess) -> dict[str, int]:
    from nodespan.runtime.cli.client import ask

    (answer,) = ask(str(served.socket), {"call": "graph"})
    return {name: counts["wakeups"] for name, counts in answer["controllers"].items()}


async def test_a_second_agent_names_the_first_and_exits(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, served):
        done = nodespan("agent", directory=tmp_path)
        assert done.returncode == 1
        state = tmp_path / "state"
        assert f"nodespan: another agent (pid {served.pid}) already uses {state}" in done.stderr
        done = nodespan("agent", "--state-dir", str(tmp_path / "other"), directory=tmp_path)
        assert done.returncode == 1
        assert f"nodespan: another agent (pid {served.pid}) already serves {served.socket}" in done.stderr
        assert served.run("version")


FAILURES = [
    (("--state-dir", "/proc/nosuch"), "/proc/nosuch: No such file or directory"),
    (("--socket", "/sys/nodespan/agent.sock"), "/sys/nodespan: Operation not permitted"),
    (("--socket", "/tmp/" + "x" * 120), "a socket's path has 107 bytes"),
    (("--metrics", "here"), "--metrics 'here': write it like 127.0.0.1:9600"),
    (("--metrics", "192.0.2.1:1"), "Cannot assign requested address"),
    (("--controllers", "nosuch:One"), "--controllers 'nosuch:One': cannot import nosuch"),
]


@pytest.mark.parametrize(("options", "words"), FAILURES)
def test_an_agent_that_cannot_start_reports_why_and_leaves_nothing_behind(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = nodespan("agent", *options, directory=tmp_path)
    try:
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("nodespan: ")
        assert words in last
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "agent.sock").exists()
    finally:
        Path("/tmp/" + "x" * 120 + ".lock").unlink(missing_ok=True)


# Metrics.


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async with node(tmp_path, "--metrics", "127.0.0.1:9600") as (inside, served):
        fetch = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9600{}').read().decode(), end='')"
        text = inside.run(*COMMAND[:2], fetch.format("/metrics"))
        from prometheus_client.parser import text_string_to_metric_families

        families = {family.name: family for family in text_string_to_metric_families(text)}
        wakeups = {sample.labels["controller"] for sample in families["nodespan_controller_wakeups"].samples}
        assert "network.LinkStatusController" in wakeups
        counts = {sample.labels["type"]: sample.value for sample in families["nodespan_resources"].samples}
        assert counts["LinkStatuses.net.talos.dev"] == len(reported(inside))
        with pytest.raises(AssertionError, match="404"):
            inside.run(*COMMAND[:2], fetch.format("/"))
    assert "Traceback" not in served.log


# Configuration.

GOOD = "machine:\n  type: worker\n  network:\n    hostname: {}\n"
BAD = "machine:\n  type: worker\n  network:\n    hostname: [\n"


async def test_an_edited_configuration_is_loaded_and_an_invalid_one_keeps_the_last_good(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(GOOD.format("one"))
    async with node(tmp_path, "--config", str(config)) as (_, served):
        await eventually(lambda: "hostname: one" in loaded(served))
        rewrite(config, GOOD.format("two"))
        await eventually(lambda: "hostname: two" in loaded(served))
        rewrite(config, BAD)
        await eventually(lambda: "the last good one stays in effect" in served.log)
        assert "hostname: two" in loaded(served)
        rewrite(config, GOOD.format("three"))
        await eventually(lambda: "hostname: three" in loaded(served))
        assert served.log.count("the last good one stays in effect") == 1


def loaded(served: AgentProcess) -> str:
    """The configuration in effect."""
    return served.run("get", "mc", "-o", "yaml")


def rewrite(path: Path, text: str) -> None:
    """As editors do: a new file in the place of the old."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that can be opened up to others: pytest closes that of `tmp_path` each time it starts somewhere."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


# Secrets.

SECRET = "q6kvuKWRPmE0kT0h8xZYQ0xg1ZbFJrEJXQZ5yT8PqkM="
KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
WITH_SECRETS = f"""\
machine:
  type: worker
  network:
    interfaces:
      - interface: wg0
        wireguard:
          privateKey: {KEY}
          listenPort: 51820
cluster:
  id: cluster
  secret: {SECRET}
"""


@as_others
async def test_no_secret_is_exposed(open_path: Path) -> None:
    config = open_path / "config.yaml"
    config.write_text(WITH_SECRETS)
    options = ("--config", str(config), "--log-level", "debug", "--metrics", "127.0.0.1:9601")
    async with node(open_path, *options) as (inside, served):
        # To its owner.
        await eventually(lambda: SECRET in served.run("get", "mc", "-o", "yaml"))
        rewrite(config, WITH_SECRETS.replace("listenPort: 51820", "listenPort: many"))
        await eventually(lambda: "the last good one stays in effect" in served.log)
        fetch = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9601/metrics').read().decode())"
        texts = [served.log, inside.run(*COMMAND[:2], fetch), served.run("graph", "--live")]
        # Even if somebody lets others in.
        let_others_in(served)
        for arguments in (("get", "mc"), ("get", "mc", "-o", "yaml"), ("get", "mc", "v1alpha1"), ("get", "mc", "-w")):
            done = as_nobody(served, *arguments)
            assert done.returncode == 1, arguments
            assert "MachineConfigs.config.talos.dev is sensitive" in done.stderr
            texts += [done.stdout, done.stderr]
        assert as_nobody(served, "get", "links").returncode == 0
        for text in texts:
            assert SECRET not in text
            assert KEY not in text


@as_others
async def test_other_users_are_denied(open_path: Path) -> None:
    async with node(open_path) as (_, served):
        let_others_in(served)
        served.socket.chmod(0o600)
        done = as_nobody(served, "get", "links")
        assert done.returncode == 1
        assert done.stderr == (
            f"nodespan: {served.socket}: permission denied: only the user that runs the agent may read its state\n"
        )


def let_others_in(served: AgentProcess) -> None:
    served.socket.chmod(0o666)
    open_up(served.directory)


def open_up(directory: Path) -> None:
    """Let everybody reach what is in a temporary directory."""
    for path in (directory, *directory.parents):
        if path.stat().st_mode & 0o011 != 0o011:
            path.chmod(path.stat().st_mode | 0o011)


def as_nobody(served: AgentProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*NOBODY, *COMMAND, *arguments),
        env=environment(served.directory),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


# Without privileges.


@as_others
async def test_without_privileges_the_agent_observes_and_reports_once_what_it_lacks(open_path: Path) -> None:
    open_up(open_path)
    (open_path / "agent.log").touch()
    os.chown(open_path, 65534, 65534)
    os.chown(open_path / "agent.log", 65534, 65534)
    with namespace() as inside:
        inside.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        async with agent(open_path, namespace=inside, wrapper=NOBODY) as served:
            await eventually(lambda: agrees(inside, served))
            inside.run("ip", "link", "set", "v0", "mtu", "1400")
            await eventually(lambda: agrees(inside, served))
            await eventually(lambda: "lo/127.0.0.1/8" in served.specs("addresses"))
            assert served.log.count("CAP_NET_ADMIN") == 1
            assert "controller failed" not in served.log
            table = served.run("get", "controllers", "-o", "jsonpath={.spec.crashes}")
            assert set(table.split()) == {"0"}


async def test_a_client_of_the_state_service_reads_what_the_command_shows(tmp_path: Path) -> None:
    from tests.runtime.api.cosi.client import connected

    path = tmp_path / "cosi.sock"
    async with node(tmp_path, "--state-socket", str(path)) as (_, served), contextlib.AsyncExitStack() as stack:
        assert path.stat().st_mode & 0o777 == 0o600
        cosi = stack.enter_context(connected(path))
        (loopback,) = cosi.list(namespace="network", type="LinkStatuses.net.talos.dev")
        assert loopback.metadata.id == "lo"
        assert loopback.spec.proto_spec
        written = served.run("get", "links", "lo", "-o", "yaml")
        assert all(line.strip() in written for line in loopback.spec.yaml_spec.splitlines())
        definitions = cosi.list(namespace="meta", type="ResourceDefinitions.meta.cosi.dev")
        assert "linkstatuses.net.talos.dev" in [definition.metadata.id for definition in definitions]
