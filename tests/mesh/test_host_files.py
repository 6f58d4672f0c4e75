"""The real agent on a copy of this machine: its files, its host name and its own tools, and everything put back.

The copy is a mount and UTS namespace in which /etc and /usr/local are overlaid: nothing reaches the machine itself.
"""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent import AgentProcess, agent
from tests.support.certificates import Authority
from tests.support.copied_machine import copy
from tests.support.inside import Inside
from tests.support.netns import Namespace, namespace
from tests.support.process import eventually

pytestmark = [pytest.mark.needs_program("unshare", "nsenter")]

CONFIG = """\
version: v1alpha1
machine:
  type: worker
  env: {https_proxy: "http://proxy.corp.example:3128"}
  files:
    - {op: create, path: /etc/corp/motd, permissions: 0640, content: "hello\\n"}
    - {op: append, path: /etc/hosts.corp, permissions: 0644, content: "x\\n"}
    - {op: overwrite, path: /etc/issue, permissions: 0600, content: "ours\\n"}
  network:
    hostname: web.corp.example
    nameservers: [192.0.2.53]
    extraHostEntries: [{ip: 192.0.2.9, aliases: [nine.corp.example]}]
---
apiVersion: v1alpha1
kind: EtcFileConfig
name: corp/app.conf
mode: 0600
contents: "secret\\n"
---
apiVersion: v1alpha1
kind: TrustedRootsConfig
name: corp
certificates: |
"""
EMPTY = "version: v1alpha1\nmachine: {type: worker}\n"


def file_errors(served: AgentProcess) -> list[str]:
    """What the agent says is wrong with the files that it is to write."""
    errors = served.run("get", "machinefilestatuses", "-o", "jsonpath={.spec.error}").splitlines()
    return [error for error in errors if error]


@contextlib.asynccontextmanager
async def at_work(
    on: Inside, directory: Path, config: str, *options: str, inside: Namespace | None = None
) -> AsyncIterator[AgentProcess]:
    configure(directory, config)
    root = () if "--root" in options else ("--root", "/")
    async with agent(
        directory, "--config", str(directory / "config.yaml"), *root, *options, namespace=inside, machine=on
    ) as it:
        yield it
        # Taking back takes its time.
        with contextlib.suppress(ProcessLookupError):
            os.kill(it.pid, signal.SIGTERM)
        await eventually(lambda: not Path(f"/proc/{it.pid}/root/etc").is_dir())


def configure(directory: Path, config: str) -> None:
    new = directory / "config.new"
    new.write_text(config)
    new.rename(directory / "config.yaml")


def trusting(authority: Authority) -> str:
    return CONFIG + "".join(f"  {line}\n" for line in authority.pem.decode().splitlines())


def applied(on: Inside) -> bool:
    return (
        on.succeeds("grep", "-q", "nine.corp.example", "/etc/hosts")
        and on.succeeds("test", "-e", "/etc/corp/app.conf", "-a", "-e", "/etc/corp/motd")
        and on.read("/etc/hostname") == "web\n"
        and on.run("hostname") == "web\n"
    )


async def test_the_configuration_is_applied_to_the_machine_and_undone_afterwards(tmp_path: Path) -> None:
    async with copy(tmp_path) as machine:
        before = machine.tree()
        async with at_work(machine, tmp_path, trusting(Authority("corp")), "--cleanup") as served:
            await eventually(lambda: applied(machine))
            assert machine.read("/etc/issue") == "ours\n"
            assert machine.read("/etc/corp/app.conf") == "secret\n"
            assert machine.run("stat", "-c", "%a", "/etc/corp/motd", "/etc/issue", "/etc/corp/app.conf").split() == [
                "640",
                "600",
                "600",
            ]
            assert machine.run("getent", "ahostsv4", "nine.corp.example").split()[0] == "192.0.2.9"
            expected = ["there is no such file to append to: write op: create"]
            await eventually(lambda: file_errors(served) == expected)
            assert await eventually(lambda: "nameserver 192.0.2.53" in machine.read("/etc/resolv.conf"))
        assert machine.tree() == before
        assert machine.run("hostname") == "before\n"
        assert not list((tmp_path / "state" / "originals").iterdir())


@pytest.mark.needs_program("update-ca-certificates", "openssl")
async def test_system_tools_trust_an_authority_while_it_is_configured(tmp_path: Path) -> None:
    authority = Authority("corp")
    certificate, _ = authority.issue(tmp_path, "server.corp.example")
    verify = ("openssl", "verify", "-CApath", "/etc/ssl/certs", "-CAfile", "/etc/ssl/certs/ca-certificates.crt")

    def is_trusted() -> bool:
        return machine.succeeds(*verify, str(certificate))

    async with copy(tmp_path) as machine:
        before = machine.tree()
        assert not is_trusted()
        async with at_work(machine, tmp_path, trusting(authority)) as served:
            await eventually(is_trusted)
            asked = ("get", "trustedroots", "corp", "-o", "jsonpath={.spec.installed}")
            await eventually(lambda: served.run(*asked).strip() == "/usr/local/share/ca-certificates")
            # An update of the package makes the bundle anew: nothing is lost.
            machine.run("update-ca-certificates", "--fresh")
            assert is_trusted()
            configure(tmp_path, EMPTY)
            await eventually(lambda: not is_trusted())
            await eventually(lambda: machine.tree() == before)


async def test_an_agent_undoes_what_a_killed_one_left(tmp_path: Path) -> None:
    async with copy(tmp_path) as machine:
        before = machine.tree()
        async with at_work(machine, tmp_path, trusting(Authority("corp"))) as served:
            os.kill(served.pid, signal.SIGKILL)
        async with at_work(machine, tmp_path, trusting(Authority("corp"))) as served:
            await eventually(lambda: applied(machine))
            os.kill(served.pid, signal.SIGKILL)
        assert machine.tree() != before
        async with at_work(machine, tmp_path, EMPTY, "--cleanup"):
            pass
        assert machine.tree() == before
        assert machine.run("hostname") == "before\n"


async def test_an_agent_in_a_named_namespace_does_not_manage_the_machine(tmp_path: Path) -> None:
    with namespace() as inside:
        async with copy(tmp_path) as machine:
            before = machine.tree()
            async with at_work(machine, tmp_path, trusting(Authority("corp")), "--root", "", inside=inside) as served:
                reason = await eventually(
                    lambda: served.run(
                        "get",
                        "networkproblems",
                        "HostnameSpecs/hostname",
                        "-o",
                        "jsonpath={.spec.message}",
                        check=False,
                    )
                )
                assert f"the agent runs in the network namespace {inside.name}" in reason
            assert machine.tree() == before
            assert machine.run("hostname") == "before\n"


async def test_with_its_own_root_an_agent_only_writes_files(tmp_path: Path) -> None:
    root = tmp_path / "elsewhere"
    async with copy(tmp_path) as machine:
        before = machine.tree()
        async with at_work(machine, tmp_path, trusting(Authority("corp")), "--root", str(root)):
            await eventually(lambda: (root / "etc/hostname").exists() and (root / "etc/corp/motd").exists())
        assert machine.tree() == before
        assert machine.run("hostname") == "before\n"
