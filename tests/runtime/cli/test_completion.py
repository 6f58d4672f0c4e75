"""Shell completion: the candidates for the next word."""

import subprocess
from pathlib import Path

import pytest

from nodespan.runtime import paths
from nodespan.runtime.cli import completion
from nodespan.runtime.cli.arguments import verbs
from nodespan.runtime.cli.completion import candidates, script
from tests.support.agent import COMMAND, agent, environment, nodespan
from tests.support.deadlines import PATIENCE

OFFLINE: list[tuple[list[str], list[str]]] = [
    (["get", "links", "-o", ""], ["custom-columns=", "json", "jsonpath=", "name", "table", "wide", "yaml"]),
    (["get", "links", "--output", "j"], ["json", "jsonpath="]),
    (["status", "-o", ""], ["json", "text", "yaml"]),
    (["doctor", "--only", "d"], ["discovery", "disk"]),
    (["graph", "-o", ""], ["dot", "mermaid", "png", "svg"]),
    (["completion", ""], ["bash", "fish", "zsh"]),
    (["completion", "bash", ""], []),
    (["val"], ["validate"]),
    (["--socket", "/nosuch", "val"], ["validate"]),
    (["--socket=/nosuch", "val"], ["validate"]),
    (["agent", "--log-level", ""], ["debug", "error", "info", "warning"]),
    (["agent", "--log-level="], [f"--log-level={level}" for level in ("debug", "error", "info", "warning")]),
    (["agent", "--log-format", "j"], ["json"]),
    (["agent", "--me"], ["--metrics"]),
    (["agent", "--metrics", ""], []),
    (["why", "-"], ["--depth", "--help", "--namespace", "--node", "--socket", "--verbose", "-h", "-n", "-v"]),
    (["--so"], ["--socket"]),
    (["apply", "--mode", ""], ["apply", "staged", "try"]),
    (["apply", "--d"], ["--dry-run"]),
    (["cluster", ""], ["create", "destroy", "exec", "show"]),
    (["cluster", "de"], ["destroy"]),
    (["cluster", "create", "--wi"], ["--wireguard-cidr", "--with-kubespan"]),
    (["gen", "key", "--p"], ["--public"]),
    (["discovery", ""], ["serve"]),
    (["help", "ag"], ["agent"]),
    (["help", "cluster", "sh"], ["show"]),
    (["hel"], ["help"]),
    (["leav"], ["leave"]),
    (["nosuch", "--"], []),
    (["cluster", "nosuch", ""], []),
    (["get", "links", "-l", ""], []),
    (["get", "links", "lo", ""], []),
    (["nosuch", ""], []),
]


@pytest.mark.parametrize(("words", "found"), OFFLINE)
def test_completions_that_need_no_agent(words: list[str], found: list[str]) -> None:
    assert candidates(words, "/nosuch") == found


FILES: list[tuple[list[str], list[str]]] = [
    (["validate", ""], ["a.yaml", "b.d/"]),
    (["validate", "a.yaml", "b"], ["b.d/"]),
    (["validate", "b.d/"], ["b.d/c.yaml"]),
    (["validate", "./"], ["./a.yaml", "./b.d/"]),
    (["validate", "."], [".hidden"]),
    (["agent", "--config", ""], ["a.yaml", "b.d/"]),
    (["support", "-o", ""], ["a.yaml", "b.d/"]),
    (["agent", "--config=b.d/"], ["--config=b.d/c.yaml"]),
    (["agent", "--state-dir", "b"], ["b.d/"]),
    (["--socket", "a"], ["a.yaml"]),
    (["apply", "--dry-run", "a"], ["a.yaml"]),
    (["gen", "config", "--join", "a"], ["a.yaml"]),
    (["validate", "nosuch/"], []),
]


@pytest.mark.parametrize(("words", "found"), FILES)
def test_files_are_those_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], found: list[str]
) -> None:
    (tmp_path / "b.d").mkdir()
    for name in ("a.yaml", "b.d/c.yaml", ".hidden"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert candidates(words, "/nosuch") == found


@pytest.mark.parametrize(
    "words", [["--node", ""], ["get", "--node", ""], ["get", "links", "--node", ""], ["cluster", "exec", ""]]
)
def test_nodes_are_those_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    for name in ("a.sock", "a.sock.lock", "lab-b.sock"):
        (tmp_path / name).touch()
    monkeypatch.setattr(paths, "_NODES", str(tmp_path))
    assert candidates(words, "/nosuch") == ["a", "lab-b"]


def test_every_verb_completes_its_options() -> None:
    for verb in verbs():
        assert "--help" in candidates([verb, "--he"], "/nosuch")


@pytest.mark.parametrize("words", [[], [""]])
def test_the_verbs_come_first(words: list[str]) -> None:
    assert {"agent", "completion", "get", "graph", "validate", "version", "why"} <= set(candidates(words, "/nosuch"))


DEFINITIONS = [
    {
        "metadata": {"id": "addressstatuses.net.talos.dev"},
        "spec": {"type": "AddressStatuses.net.talos.dev", "displayType": "AddressStatus", "aliases": ["address", "as"]},
    },
    {
        "metadata": {"id": "linkstatuses.net.talos.dev"},
        "spec": {"type": "LinkStatuses.net.talos.dev", "displayType": "LinkStatus", "aliases": ["link", "links", "ls"]},
    },
]


def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What the agent is asked: where, for what type, in which namespace."""
    questions = []

    def ask(path: str, request: dict[str, str]) -> list[dict[str, object]]:
        questions.append((path, request["type"], request["namespace"]))
        found: list[dict[str, object]] = (
            [{"resource": definition} for definition in DEFINITIONS]
            if request["type"] == "resourcedefinitions"
            else [{"resource": {"metadata": {"id": id}}} for id in ("lo", "eth0", "eth1")]
        )
        return [{"definition": {}}, *found]

    monkeypatch.setattr(completion, "ask", ask)
    return questions


ONLINE: list[tuple[list[str], list[str], tuple[str, str, str]]] = [
    (
        ["get", ""],
        ["addressstatuses.net.talos.dev", "linkstatuses.net.talos.dev"],
        ("/s", "resourcedefinitions", ""),
    ),
    (["get", "l"], ["link", "links", "linkstatuses.net.talos.dev", "ls"], ("/s", "resourcedefinitions", "")),
    (["get", "Link"], ["LinkStatus", "LinkStatuses.net.talos.dev"], ("/s", "resourcedefinitions", "")),
    (["why", "LinkStatus", "e"], ["eth0", "eth1"], ("/s", "LinkStatus", "")),
    (["g", "-w", "as"], ["as"], ("/s", "resourcedefinitions", "")),
    (["get", "links", ""], ["eth0", "eth1", "lo"], ("/s", "links", "")),
    (["get", "links", "e"], ["eth0", "eth1"], ("/s", "links", "")),
    (["why", "--depth", "1", "links", "e"], ["eth0", "eth1"], ("/s", "links", "")),
    (["get", "-n", "network", "links", "-o", "yaml", "l"], ["lo"], ("/s", "links", "network")),
    (["get", "--namespace=network", "links", "l"], ["lo"], ("/s", "links", "network")),
    (["--socket", "/t", "get", "links", "l"], ["lo"], ("/t", "links", "")),
    (["get", "--socket=/t", "links", "l"], ["lo"], ("/t", "links", "")),
    (["get", "links", "-n", ""], ["eth0", "eth1", "lo"], ("/s", "namespaces", "")),
    (["get", "links", "--node", "x", "l"], ["lo"], ("/run/nodespan/nodes/x.sock", "links", "")),
    (["--node", "x", "get", "links", "l"], ["lo"], ("/run/nodespan/nodes/x.sock", "links", "")),
]


@pytest.mark.parametrize(("words", "found", "question"), ONLINE)
def test_types_ids_and_namespaces_are_the_agents(
    monkeypatch: pytest.MonkeyPatch, words: list[str], found: list[str], question: tuple[str, str, str]
) -> None:
    questions = asked(monkeypatch)
    assert candidates(words, "/s") == found
    assert questions == [question]


def test_without_an_agent_there_are_no_candidates_and_no_complaints(tmp_path: Path) -> None:
    done = nodespan("__complete", "get", "", directory=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# In bash.

BASH: list[tuple[str, list[str]]] = [
    ("nodespan get linkst", ["linkstatus", "linkstatuses.net.talos.dev"]),
    ("nodespan get links l", ["lo"]),
    ("nodespan get links -o ya", ["yaml"]),
    ("nodespan get addresses lo/127", ["lo/127.0.0.1/8"]),
    # Bash replaces only what stands behind the last colon.
    ("nodespan get addresses lo/::", ["1/128"]),
    ("nodespan valid", ["validate"]),
    ("nodespan cluster cr", ["create"]),
    ("nodespan agent --log-level=d", ["debug"]),
    ("nodespan get LinkStatu", ["LinkStatus", "LinkStatuses.net.talos.dev"]),
    ("get-resources links l", ["lo"]),
    ("nodespan get nosuch ", []),
]


async def test_bash_completes_ids_with_colons_too(tmp_path: Path) -> None:
    async with agent(tmp_path):
        for line, found in BASH:
            assert in_bash(line, tmp_path) == found, line


def in_bash(line: str, directory: Path) -> list[str]:
    """What bash offers after the line, by its own completion function."""
    command = " ".join(f"'{part}'" for part in COMMAND)
    text = f"""
        set -u
        nodespan() {{ {command} "$@"; }}
        {script("bash")}
        COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _nodespan
        printf "%s\\n" "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ("bash", "-c", text), env=environment(directory), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_is_for_both_commands(shell: str) -> None:
    assert "nodespan" in script(shell)
    assert "get-resources" in script(shell)
