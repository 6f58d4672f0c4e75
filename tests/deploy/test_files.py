"""What packages and images are made of: the lock file, the units, the manual pages, the manifest."""

import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from ruamel.yaml import YAML

from deploy import manual, wheels
from deploy.tree import HERE, UNITS, project_version
from nodespan.controllers.config.loading import read_and_load
from nodespan.runtime.cli import arguments

ROOT = HERE.parent


def test_the_lock_file_satisfies_the_project() -> None:
    import tomllib

    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in wheels.locked().items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        wanted = Requirement(text)
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        assert name in locked, f"run `python -m deploy.lock`: {text} is missing in {wheels.LOCK}"
        assert locked[name] in wanted.specifier, f"run `python -m deploy.lock`: {text} is not {locked[name]}"
    pythons = {text.rpartition(" ")[2] for text in project["classifiers"] if " :: 3." in text}
    assert pythons == set(wheels.PYTHONS)


def test_every_wheel_is_pinned_by_digest() -> None:
    text = wheels.LOCK.read_text()
    entries = [line for line in text.splitlines() if line and line[0] not in "# "]
    assert len(entries) == len(wheels.locked())


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return dict(manual.pages())


def test_every_verb_has_a_manual_page_without_markup_of_its_text(pages: dict[str, str]) -> None:
    assert set(pages) == {"nodespan", *(f"nodespan-{verb}" for verb in arguments.verbs())}
    assert project_version() in pages["nodespan"]
    for option in (r"\fB\-\-discovery\fR", r"\fB\-\-ttl\fR \fITIME\fR"):
        assert option in pages["nodespan-init"]
    for text in pages.values():
        requests = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
        assert requests <= {".TH", ".SH", ".TP", ".B", ".I", ".nf", ".fi", ".PP"}


@pytest.mark.parametrize(
    ("text", "expected"), [("a-b\\c", r"a\-b\ec"), (".x", r"\&.x"), ("a\n'b", "a\n\\&'b"), ("", "")]
)
def test_text_is_no_request_of_roff(text: str, expected: str) -> None:
    assert manual._escaped(text) == expected


@pytest.mark.needs_program("man")
def test_man_shows_the_pages_without_a_warning(tmp_path: Path, pages: dict[str, str]) -> None:
    for name, text in itertools.islice(pages.items(), 3):
        page = tmp_path / f"{name}.1"
        page.write_text(text)
        done = subprocess.run(("man", "--warnings", "--local-file", str(page)), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "SYNOPSIS" in done.stdout


def test_the_packaged_unit_is_the_documented_one() -> None:
    shown = (ROOT / "docs/operators.md").read_text()
    documented = re.search(r"`/etc/systemd/system/nodespan.service`:\n\n```ini\n(.*?)```", shown, re.DOTALL)
    assert documented
    packaged = (HERE / "systemd/nodespan.service").read_text().replace("/usr/bin/", "/opt/nodespan/bin/")
    for only_here in ("Documentation=man:nodespan-agent(1)\n", " $OPTIONS"):
        assert only_here in packaged
        packaged = packaged.replace(only_here, "")
    packaged = packaged.replace("# Options of the agent, in OPTIONS=\nEnvironmentFile=-/etc/nodespan/agent.env\n", "")
    assert packaged == documented[1]


@pytest.mark.needs_program("systemd-analyze")
@pytest.mark.parametrize(("unit", "most"), list(zip(UNITS, (5.0, 1.6, 1.6), strict=True)))
def test_the_exposure_of_the_packaged_units_is_limited(unit: str, most: float) -> None:
    command = ("systemd-analyze", "security", "--offline=yes", "--no-pager", str(HERE / "systemd" / unit))
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= most, done.stdout


def test_services_have_users_of_their_own_who_get_the_copies_of_their_keys() -> None:
    users = {}
    for unit in UNITS[1:]:
        text = (HERE / "systemd" / unit).read_text()
        (user,) = re.findall(r"^User=(.*)$", text, re.MULTILINE)
        copies = re.findall(r"install -o (\S+) -m 0400 -t (\S+)", text)
        assert set(copies) == {(user, f"/run/{unit.removesuffix('.service')}")}
        assert len(copies) == 2  # at the start, and at a reload
        users[unit] = user
    assert len(set(users.values())) == len(users)
    made = re.findall(r"^u (\S+)", (HERE / "systemd/sysusers.conf").read_text(), re.MULTILINE)
    assert sorted(made) == sorted(users.values())


def test_the_example_configuration_is_valid() -> None:
    loaded = read_and_load(HERE / "config.example.yaml")
    assert not loaded.errors


def manifest() -> dict[str, Any]:
    documents = list(YAML(typ="safe", pure=True).load_all((HERE / "container/daemonset.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Namespace", "DaemonSet"]
    found: dict[str, Any] = documents[1]
    return found


def test_the_daemonset_runs_beside_a_cni() -> None:
    spec = manifest()["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    pod = spec["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert pod["tolerations"] == [{"operator": "Exists"}]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    assert "privileged" not in security
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounted) == {volume["name"] for volume in pod["volumes"]}
    assert {"/etc/nodespan", "/var/lib/nodespan", "/run/nodespan"} <= set(mounted.values())
    arguments.parse(container["args"])


def test_the_image_runs_what_the_manifest_runs() -> None:
    text = (HERE / "container/Containerfile").read_text()
    command = re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert command
    (container,) = manifest()["spec"]["template"]["spec"]["containers"]
    assert YAML(typ="safe", pure=True).load(command[1]) == container["args"]
    assert 'ENTRYPOINT ["/usr/bin/nodespan"]' in text
