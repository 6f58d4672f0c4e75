"""The command line asks other machines: several nodes in one table, an unreachable one as a line of error."""

import json
import subprocess
from pathlib import Path

import trio

from nodespan.controllers.config.action_names import APPLY, DRY_RUN
from nodespan.controllers.remote.talosconfig import Context, TalosConfig, write_config
from tests.controllers.api.nodes import ADMIN, AUTHORITY, APINode, api_node
from tests.controllers.api.test_api import Actions
from tests.support.agent import nodespan

# An address at which nothing listens: it refuses at once.
NOBODY = "127.1.1.1"


def configure(directory: Path, *endpoints: APINode) -> None:
    context = Context(
        endpoints=tuple(node.address for node in endpoints),
        authority=AUTHORITY.certificate,
        certificate=ADMIN.certificate,
        key=ADMIN.key,
        cluster="lab",
    )
    write_config(directory / "talosconfig", TalosConfig(context="lab", contexts={"lab": context}))


async def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    def run() -> subprocess.CompletedProcess[str]:
        return nodespan(*arguments, directory=directory)

    return await trio.to_thread.run_sync(run)


async def test_nodes_are_read_in_one_table_and_changed_from_afar(tmp_path: Path) -> None:
    actions = Actions()
    async with api_node("one") as one, api_node("two", actions=actions) as two:
        configure(tmp_path, one)
        names = f"{one.address},{NOBODY},{two.address}"
        table = await command(tmp_path, "--nodes", names, "get", "hostnamestatus")
        assert table.returncode == 1
        assert [line.split()[0] for line in table.stdout.splitlines()] == ["NODE", one.address, two.address]
        assert table.stderr.startswith(f"{NOBODY}: ")
        assert table.stderr.count("\n") == 1

        found = await command(tmp_path, "--nodes", two.address, "get", "hostnamestatus", "hostname", "-o", "json")
        assert json.loads(found.stdout)["spec"]["hostname"] == "two"
        shown = await command(tmp_path, "--context", "lab", "get", "hostnamestatus", "-o", "yaml")
        assert shown.stdout.startswith(f"node: {one.address}\nmetadata:\n    namespace: network\n")
        assert shown.stdout.endswith("spec:\n    hostname: one\n    domainname: example\n")

        (tmp_path / "new.yaml").write_text("machine: {type: worker}\n")
        applied = await command(tmp_path, "--nodes", two.address, "apply", "new.yaml")
        assert applied.stdout == f"{two.address}: Applied configuration without a reboot\n"
        assert actions.calls.pop()[:1] == (APPLY,)
        patched = await command(tmp_path, "--nodes", two.address, "patch", "-p", "machine: {env: {A: b}}", "--dry-run")
        assert patched.stdout.startswith(f"{two.address}: Dry run summary:\n")
        name, asked = actions.calls.pop()
        assert name == DRY_RUN
        assert b"A: b" in asked["files"][0][1]
        assert not actions.calls
        same = await command(tmp_path, "--nodes", two.address, "patch", "-p", "machine: {type: controlplane}")
        assert "no changes detected" in same.stdout

        unknown = await command(tmp_path, "--nodes", two.address, "get", "hostnamstatus")
        assert "did you mean" in unknown.stderr


async def test_options_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    for arguments, words in (
        (("--nodes", "a", "get", "links"), "no context is in use"),
        (("--nodes", "a", "--socket", "b", "get", "links"), "give one of them"),
        (("--nodes", "a", "graph"), "run graph on the node itself"),
        (("--context", "other", "get", "links"), "there is no context 'other'"),
    ):
        refused = await command(tmp_path, *arguments)
        assert refused.returncode != 0
        assert words in refused.stderr


async def test_contexts_are_merged_chosen_and_shown(tmp_path: Path) -> None:
    write_config(
        tmp_path / "given",
        TalosConfig(context="lab", contexts={"lab": Context(endpoints=("10.0.0.1",)), "b": Context()}),
    )
    for arguments, words in (
        (("merge", "given"), "the context in use is lab"),
        (("merge", "given"), "lab is here as lab-1"),
        (("use", "b"), "the context in use is b"),
        (("endpoint", "10.0.0.7"), "connects to 10.0.0.7"),
        (("node", "10.0.0.8", "10.0.0.9"), "asks 10.0.0.8, 10.0.0.9"),
    ):
        done = await command(tmp_path, "config", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert words in done.stdout
    shown = await command(tmp_path, "config", "contexts")
    assert "*         b       10.0.0.7    10.0.0.8,10.0.0.9" in shown.stdout.splitlines()
    for arguments in (("merge", "nosuch"), ("use", "nosuch")):
        refused = await command(tmp_path, "config", *arguments)
        assert refused.returncode == 1
