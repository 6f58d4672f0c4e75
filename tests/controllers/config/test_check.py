"""What `nodespan validate` says of a file: what belongs to other systems does not drown the rest."""

from pathlib import Path

import pytest

from nodespan.controllers.config.check import check_files

FOREIGN = "".join(f"    otherKey{number}: {{a: b}}\n" for number in range(30))
TEXT = f"debug: true\nmachine:\n  type: worker\n  kubelet:\n{FOREIGN}  features: {{rbac: true}}\ncluster:\n  token: a\n"


def check(directory: Path, text: str, *, verbose: bool = False) -> list[str]:
    file = directory / "config.yaml"
    file.write_text(text)
    said, _ = check_files([file], verbose=verbose)
    return said.replace(f"{directory}/", "").splitlines()


def test_parts_of_other_systems_are_one_line(tmp_path: Path) -> None:
    assert check(tmp_path, TEXT) == [
        "config.yaml:1: debug is not managed by nodespan, ignored: start the agent with --log-level debug",
        "3 parts of other systems are not managed by nodespan, ignored (-v lists them)",
        "config.yaml is valid: 0 errors, 0 warnings",
    ]


def test_they_are_listed_where_that_is_asked_for(tmp_path: Path) -> None:
    assert check(tmp_path, TEXT, verbose=True) == [
        "config.yaml:1: debug is not managed by nodespan, ignored: start the agent with --log-level debug",
        "config.yaml:4: machine.kubelet is not managed by nodespan, ignored",
        "config.yaml:35: machine.features.rbac is not managed by nodespan, ignored",
        "config.yaml:37: cluster.token is not managed by nodespan, ignored",
        "config.yaml is valid: 0 errors, 0 warnings",
    ]


@pytest.mark.parametrize("verbose", [False, True])
def test_mistakes_come_first_and_without_such_parts_nothing_is_said_of_them(tmp_path: Path, *, verbose: bool) -> None:
    lines = check(tmp_path, "cluster: {token: a}\nmachine: {network: {nameservers: [x]}}\n", verbose=verbose)
    assert '"x" is not an IP address' in lines[0]
    assert lines[-1] == "config.yaml is valid: 0 errors, 1 warning"
    counted = "1 part of other systems is not managed by nodespan, ignored (-v lists them)"
    assert lines[-2] == ("config.yaml:1: cluster.token is not managed by nodespan, ignored" if verbose else counted)
    assert check(tmp_path, "machine: {}\n", verbose=verbose) == ["config.yaml is valid: 0 errors, 0 warnings"]
