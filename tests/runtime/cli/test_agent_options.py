"""The options of `nodespan agent` are read without argparse, and are what argparse makes of them."""

import argparse
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from nodespan.runtime.cli.agent_options import agent_arguments
from nodespan.runtime.cli.arguments import parse, parser_of

ROOT = Path(__file__).parents[3]
# Of each option a value as operators give it.
GIVEN = {
    "--cleanup": (),
    "--config": ("a.yaml",),
    "--controllers": ("package.module:CONTROLLERS",),
    "--log-format": ("json",),
    "--log-level": ("debug",),
    "--metrics": ("[::1]:9600",),
    "--root": ("/",),
    "--socket": ("/run/a socket",),
    "--state-dir": ("dir",),
    "--state-socket": ("/run/state",),
}
WORDS = [[option, *values] for option, values in GIVEN.items()]
LINES = [
    [],
    *WORDS,
    *([f"{option}={values[0]}"] for option, values in GIVEN.items() if values),
    *([*one, *other] for one, other in itertools.combinations(WORDS, 2)),
    ["--config", "a", "--config=b", "--config", "c=d"],
    ["--socket", "first", "--socket", "second"],
    ["--config=--cleanup", "--root=-", "--state-dir=a=b"],
]


def _of_argparse(given: list[str]) -> dict[str, object]:
    known = agent_arguments(["agent"])
    assert known is not None
    options = vars(parse(["agent", *given]))
    return {name: options[name] for name in vars(known)}


def test_what_service_files_say_is_what_argparse_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({}, {"NODESPAN_ROOT": "/r", "NODESPAN_STATE_SOCKET": "/s", "NODESPAN_STATE_DIR": "/d"}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for given in LINES:
            found = agent_arguments(["agent", *given])
            assert found is not None, given
            assert vars(found) == _of_argparse(given), given


def test_all_options_of_the_agent_are_known() -> None:
    found = parser_of("agent")
    assert found is not None
    actions = {option: action for action in found[0]._actions for option in action.option_strings}
    assert {option for option in actions if option.startswith("--")} == {*GIVEN, "--help"}
    # A choice that is new has to be known, too.
    for option in ("--log-format", "--log-level"):
        for choice in actions[option].choices or ():
            assert vars(agent_arguments(["agent", option, choice]) or argparse.Namespace()), choice


@pytest.mark.parametrize(
    "given",
    [
        *(["get", "links"], [], ["--node", "a", "agent"], ["agent", "--help"], ["agent", "-h"], ["agent", "--"]),
        *(["agent", "--conf", "a"], ["agent", "--config"], ["agent", "--config", "--cleanup"], ["agent", "--config="]),
        *(["agent", "a.yaml"], ["agent", "--log-level", "loud"], ["agent", "--log-format=xml"], ["agent", "--new=1"]),
        *(["agent", "--cleanup=yes"], ["agent", "--config", ""], ["agent", "--config", "-"], ["agent", "--node", "a"]),
    ],
)
def test_anything_else_is_left_to_argparse(given: list[str]) -> None:
    assert agent_arguments(given) is None


@pytest.mark.process
def test_an_agent_is_run_without_argparse(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    program = """
import sys
from nodespan.runtime.cli import main
print(main(["agent", "--metrics", sys.argv[1]]), sorted({"argparse", "gettext", "trio"} & sys.modules.keys()))
"""
    command = (sys.executable, "-c", program, "nonsense")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1 ['trio']\n"
    assert "--metrics 'nonsense': write it like" in done.stderr
