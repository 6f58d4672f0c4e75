"""Two nodes whose only way out is a proxy that reads along: they find each other once both are configured."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.mesh import nodes
from tests.support.agent import AgentProcess, daemon
from tests.support.certificates import Authority
from tests.support.intercepting import InterceptingProxy
from tests.support.netns import Namespace, connect, entered, namespaces
from tests.support.process import eventually
from tests.support.proxying import serving

pytestmark = [pytest.mark.needs_link("veth", "bridge"), pytest.mark.needs_program("nft", "unshare")]

DISCOVERY = "discovery.corp.example"
PORT = 3000
PROXY = "10.99.0.9"
SETTINGS = f"""\
version: v1alpha1
cluster:
  id: Ti0xYWQtdGhlLWNsdXN0ZXItb2YtdGhlLXRlc3Qt
  secret: {"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="}
  discovery:
    enabled: true
    registries:
      service: {{endpoint: "https://{DISCOVERY}:{PORT}/"}}
"""
MACHINE = """\
machine:
  type: worker
  network: {kubespan: {enabled: true}}
"""


@attrs.frozen
class Office:
    """The network: nodes and proxy on one wire, and behind the proxy the discovery service."""

    nodes: tuple[Namespace, Namespace]
    proxy: InterceptingProxy


@contextlib.asynccontextmanager
async def office(directory: Path) -> AsyncIterator[Office]:
    corp, internet = Authority("the company"), Authority("everybody's")
    with namespaces("one", "two", "proxy", "discovery") as (one, two, middle, away):
        middle.run("ip", "link", "add", "lan", "type", "bridge")
        middle.run("ip", "address", "add", f"{PROXY}/24", "dev", "lan")
        middle.run("ip", "link", "set", "lan", "up")
        for number, node in enumerate((one, two), start=1):
            connect(node, "eth0", middle, f"port{number}")
            middle.run("ip", "link", "set", f"port{number}", "master", "lan")
            node.run("ip", "address", "add", f"10.99.0.{number}/24", "dev", "eth0")
        connect(middle, "wan", away, "eth0")
        middle.run("ip", "address", "add", "203.0.113.1/24", "dev", "wan")
        away.run("ip", "address", "add", "203.0.113.2/24", "dev", "eth0")
        certificate, key = internet.issue(directory, DISCOVERY)
        service = (
            *("discovery", "serve", "--listen", f"203.0.113.2:{PORT}"),
            *("--tls-cert", str(certificate), "--tls-key", str(key), "--state-dir", str(directory / "discovery")),
        )
        hosts = {DISCOVERY: "203.0.113.2"}
        forged = directory / "forged"
        forged.mkdir()
        proxy = InterceptingProxy(corp, internet, hosts, forged, partial(entered, middle))
        async with (
            daemon(directory, *service, namespace=away),
            serving(proxy, PROXY, 3128),
        ):
            yield Office((one, two), proxy)


@contextlib.asynccontextmanager
async def node(directory: Path, inside: Namespace, name: str) -> AsyncIterator[AgentProcess]:
    directory = directory / name
    directory.mkdir()
    configure(directory, MACHINE)
    async with nodes.node(directory, name, "--config", "config.yaml", namespace=inside) as served:
        yield served


def configure(directory: Path, machine: str) -> None:
    new = directory / "config.new"
    new.write_text(SETTINGS + machine)
    new.rename(directory / "config.yaml")


def with_proxy(machine: str) -> str:
    return f"{machine}  env: {{https_proxy: 'http://{PROXY}:3128', no_proxy: '10.0.0.0/8,.corp.internal'}}\n"


def with_authority(machine: str, authority: Authority) -> str:
    content = "".join(f"        {line}\n" for line in authority.pem.decode().splitlines())
    return (
        f"{machine}  files:\n    - op: append\n      path: /etc/ssl/certs/ca-certificates\n"
        f"      permissions: 0644\n      content: |\n{content}"
    )


def states(served: AgentProcess) -> str:
    return "\n".join(spec["state"] for spec in served.specs("kubespanpeerstatuses").values())


def is_trusting(served: AgentProcess) -> bool:
    return any(spec["error"].startswith("we trust it") for spec in served.specs("machinefilestatuses").values())


def has_both_members(served: AgentProcess) -> bool:
    return sorted(served.specs("members")) == ["one", "two"]


def is_up(served: AgentProcess) -> bool:
    return states(served) == "up"


def has_said_more(served: AgentProcess, said: int) -> bool:
    return served.log.count("cannot be used") > said


async def test_a_mesh_forms_once_proxy_and_authority_are_configured_without_a_restart(
    tmp_path: Path,
) -> None:
    async with (
        office(tmp_path) as place,
        node(tmp_path, place.nodes[0], "one") as one,
        node(tmp_path, place.nodes[1], "two") as two,
    ):
        both = (one, two)
        proxy = place.proxy
        # Nobody can even look the service up.
        await eventually(lambda: all("the discovery service cannot be used" in served.log for served in both))
        assert proxy.asked == []

        for served in both:
            configure(served.directory, with_proxy(MACHINE))
        await eventually(lambda: proxy.failed >= 2)
        assert set(proxy.asked) == {f"{DISCOVERY}:{PORT}"}
        assert proxy.seen == 0
        assert [states(served) for served in both] == ["", ""]

        for served in both:
            configure(served.directory, with_authority(with_proxy(MACHINE), proxy.authority))
        await eventually(lambda: proxy.seen > 0)
        for served in both:
            await eventually(partial(is_up, served))
            await eventually(partial(is_trusting, served))
            await eventually(partial(has_both_members, served))
        for served in both:
            assert served.log.count("agent runs") == 1

        # Without the proxy the service cannot be reached any more, which the mesh does not notice.
        before = len(proxy.asked)
        for served in both:
            said = served.log.count("cannot be used")
            configure(served.directory, with_authority(MACHINE, proxy.authority))
            await eventually(partial(has_said_more, served, said))
        await trio.sleep(1)
        assert len(proxy.asked) == before
        assert [states(served) for served in both] == ["up", "up"]
