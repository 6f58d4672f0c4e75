"""The habits of other tools' users: what is accepted, and what is answered with the right command."""

import re
import tomllib
from pathlib import Path

import pytest

from nodespan.controllers.overview.habits import HABITS
from nodespan.runtime.cli.arguments import parse, parser_of, verbs
from nodespan.runtime.cli.habits import advice_on, advice_on_type, explain_namespace, instead_of, looks_like_host

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["10.0.0.1", "fd00::1", "a,b", "node-1.example.org", "host:50000", "192.168.0"])
def test_names_that_are_machines_and_no_namespaces(name: str) -> None:
    assert looks_like_host(name)


@pytest.mark.parametrize("name", ["network", "network-config", "kubespan", "cluster-raw", "a_b", "x1"])
def test_names_that_may_be_namespaces(name: str) -> None:
    assert not looks_like_host(name)


def test_a_namespace_that_looks_like_a_machine_is_answered_with_how_machines_are_asked() -> None:
    explained = explain_namespace("no such namespace", "10.0.0.1", "get")
    assert explained.splitlines() == [
        "no such namespace",
        "-n is a namespace here; other machines are asked so: nodespan --nodes 10.0.0.1 get ...",
    ]
    assert explain_namespace("no such namespace", "networks", "get") == "no such namespace"


# What is typed, the verb and some options that it is parsed to.
ACCEPTED: list[tuple[str, dict[str, object]]] = [
    ("g links", {"verb": "get", "type": "links"}),
    ("get links/eth0", {"verb": "get", "type": "links", "id": "eth0"}),
    ("get addresses/eth0/10.0.0.1", {"type": "addresses", "id": "eth0/10.0.0.1"}),
    ("why link/eth0", {"verb": "why", "type": "link", "id": "eth0"}),
    ("describe link/eth0", {"verb": "describe", "id": "eth0"}),
    ("get links --selector a=b", {"labels": ["a=b"]}),
    ("get links --show-labels", {"output": "wide"}),
    ("get -A links", {"all_namespaces": True}),
    ("get links --all-namespaces", {"all_namespaces": True}),
    ("-n kubespan get links", {"namespace": "kubespan", "nodes": None}),
    ("-n 10.0.0.1 get links", {"namespace": "", "nodes": "10.0.0.1"}),
    ("-n 10.0.0.1 status", {"verb": "status", "nodes": "10.0.0.1"}),
    ("describe link/eth0 --nodes a", {"verb": "describe", "nodes": "a"}),
    ("-n 10.0.0.1,10.0.0.2 get links", {"nodes": "10.0.0.1,10.0.0.2"}),
    ("get links --nodes 10.0.0.1", {"nodes": "10.0.0.1"}),
    ("get links --nodes=10.0.0.1 --context=a -w", {"nodes": "10.0.0.1", "context": "a", "watch": True}),
    ("health", {"verb": "status"}),
    ("cluster-info -o json", {"verb": "status", "output": "json"}),
    ("api-resources -o name", {"verb": "get", "type": "rd", "output": "name"}),
    ("inspect dependencies --live", {"verb": "graph", "live": True}),
    ("dependencies", {"verb": "graph"}),
    ("interfaces", {"verb": "get", "type": "links"}),
    ("routes -w", {"verb": "get", "type": "routes", "watch": True}),
    ("members", {"verb": "get", "type": "members"}),
    ("netcheck", {"verb": "doctor"}),
    ("bugreport --list", {"verb": "support", "list": True}),
    ("logs --tail 5 -f", {"verb": "logs", "lines": 5, "follow": True}),
    ("--node one health", {"verb": "status", "node": "one"}),
    ("config use-context lab", {"verb": "config", "action": "use", "name": "lab"}),
    ("--context lab config info", {"verb": "config", "action": "contexts", "context": "lab"}),
    ("peers list -w", {"verb": "get", "type": "kubespanpeerstatuses", "watch": True, "id": None}),
    ("show kubespan", {"verb": "status"}),
]


@pytest.mark.parametrize(("line", "expected"), ACCEPTED)
def test_what_is_accepted(line: str, expected: dict[str, object]) -> None:
    options = parse(line.split())
    assert {name: getattr(options, name) for name in expected} == expected


# What is typed, and a part of the answer.
ANSWERED = [
    ("dmesg", "dmesg"),
    ("reset", "nodespan leave"),
    ("inspect foo", "nodespan graph"),
    ("services", "systemctl"),
    ("upgrade", "apt upgrade nodespan"),
    ("time", "nodespan doctor --only clock"),
    ("exec", "ssh"),
    ("wait", "nodespan get TYPE ID -w"),
    ("down", "systemctl stop nodespan"),
    ("get links --sort-by x", "--sort-by: resources come sorted by id"),
    ("get links --kubeconfig=x", "TALOSCONFIG"),
    ("-e 1.1.1.1 get links", "-e: where to connect stands in the context"),
    ("--talosconfig x get links", "set TALOSCONFIG"),
    ("get links -i", "no maintenance mode"),
    ("get links --field-selector a=b", "-o jsonpath"),
    ("-n network version", "version takes none"),
    ("-n 10.0.0.1 graph", "run graph on the node itself"),
    ("why link", "required: ID"),
    ("statsu", "did you mean 'status'"),
    ("apply x --mode no-reboot", "--mode=no-reboot: --mode apply"),
    ("apply x --mode=reboot", "systemctl reboot"),
    ("apply x --mode sideways", "invalid choice: 'sideways'"),
    ("apply -f x --dry-run=server", "--dry-run takes no value"),
    ("gen secrets", "there is no command 'gen secrets': nodespan gen config makes the secrets too"),
    ("gen nothing", "invalid choice: 'nothing'"),
    ("config", "required: contexts|use|merge|endpoint|node"),
    ("get links --limit=5", "pipe a table into head"),
    ("get links -L app", "-L: -o custom-columns"),
    ("events --for link/eth0", "nodespan describe TYPE ID"),
    ("status --json", "--json: -o json"),
    ("metrics print", "nodespan agent --metrics"),
]


@pytest.mark.parametrize(("line", "part"), ANSWERED)
def test_what_is_answered_with_the_right_command(line: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parse(line.split())
    assert done.value.code == 2
    assert part in capsys.readouterr().err


def test_no_habit_hides_a_verb_and_each_accepted_one_leads_to_a_verb() -> None:
    own = set(verbs())
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(points["nodespan.commands"]) <= own
    for typed, instead in HABITS.verbs.items():
        if not isinstance(instead, str):
            assert instead[0] in own, typed
            found = parser_of(instead[0])
            assert found is not None
        elif " " not in typed:
            assert instead, typed


def test_no_advice_hides_a_type() -> None:
    names = (ROOT / "tests/resources/type_names.txt").read_text()
    here = {word for line in names.splitlines() for word in re.split(r"[\s,:]+", line.lower())}
    assert [name for name in HABITS.types if name in here] == []
    assert advice_on_type("Nodes") == "nodes are members here: nodespan get members"


def test_what_no_tool_has_gets_no_advice() -> None:
    assert instead_of("xyzzy", ["a"]) is None
    assert instead_of("xyzzy", []) is None
    assert instead_of("config", ["xyzzy"]) is None
    assert advice_on(["--xyzzy", "links", "-x=1"]) == ""
    assert advice_on(["--mode=xyzzy"]) == ""
    assert advice_on_type("xyzzy") == ""
