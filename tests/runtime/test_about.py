"""What packages tell about themselves, and that the runtime itself knows no application."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import structlog

from nodespan.runtime import about, installed
from nodespan.runtime.about import About, load_about

ROOT = Path(__file__).parents[2]
APPLICATIONS = re.compile(
    r"kubespan|talos|wireguard|\bdiscovery\b|affiliate|machine.?config|nftables|\bnft\b|\bvips?\b|virtual ip|dhcp"
    r"|\betcd\b|netlink|nodespan cluster|nodespan apply",
    re.IGNORECASE,
)
GOOD = About(namespaces={"test": "Things under test."})
NO_ABOUT = "not an About"


def test_the_runtime_names_no_application() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in sorted((ROOT / "runtime").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if APPLICATIONS.search(line)
    ]
    assert found == []


def test_the_built_in_packages_describe_every_namespace_of_their_types_and_the_configuration() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][about.GROUP]
    packages = []
    for value in points.values():
        module, _, attribute = value.partition(":")
        packages.append(getattr(importlib.import_module(module), attribute))
    described = {name: text for package in packages for name, text in package.namespaces.items()}
    table = (ROOT / "tests/resources/type_names.txt").read_text().splitlines()
    assert {line.split("|")[1] for line in table} - {"meta"} <= described.keys()
    assert all(text.endswith(".") for text in described.values())
    assert [package.option_help["--config"] for package in packages if package.option_help] != []


def test_a_package_that_cannot_be_loaded_is_logged_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[installed.EntryPoint]:
        values = {"b": f"{__name__}:GOOD", "a": f"{__name__}:NO_ABOUT", "c": f"{__name__}:MISSING", "d": "nowhere:X"}
        return [installed.EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr(installed, "entry_points", points)
    with structlog.testing.capture_logs() as logs:
        assert load_about(structlog.get_logger()) == [GOOD]
    assert [log["entry_point"].split("'")[1] for log in logs] == ["a", "c", "d"]


def test_an_empty_description_has_no_limitations() -> None:
    assert (dict(About().namespaces), About().limitations(), dict(About().option_help)) == ({}, (), {})
