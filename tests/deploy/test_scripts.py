"""What packages do before they go: the scripts, with programs in place of the real ones that write down their calls."""

import os
import re
import subprocess
from pathlib import Path

import attrs
import pytest

from deploy.tree import HERE, UNITS

_LOG = 'echo "$(basename "$0") $*" >> "$STAGE/calls"'
_PROGRAMS = {
    # An agent that is asked answers once it is up, and leaves if it may.
    "nodespan": """
case "$1" in
get) [ -e "$STAGE/up" ] ;;
leave) [ -e "$STAGE/obedient" ] && rm "$STAGE/up" ;;
agent)
    trap 'exit 0' TERM
    [ -e "$STAGE/broken" ] && exit 1
    : > "$STAGE/up"
    while [ -e "$STAGE/up" ]; do /bin/sleep 0.02; done ;;
esac
""",
    # One that hangs answers nobody, and is killed by systemd.
    "timeout": """
shift 2
if [ -e "$STAGE/hanging" ] && [ "$2" = get ]; then exit 124; fi
exec "$@"
""",
    "systemctl": 'rm -f "$STAGE/hanging" "$STAGE/up"',
    "sleep": "/bin/sleep 0.02",
    "find": "",
    "deb-systemd-helper": "",
    "deb-systemd-invoke": "",
    "systemd-tmpfiles": "",
}


@attrs.frozen
class Stage:
    """A directory with the programs, and with files that say how they behave."""

    path: Path

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={"PATH": f"{self.path / 'bin'}:{os.environ['PATH']}", "STAGE": str(self.path), **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def has(self, *names: str) -> None:
        for name in names:
            (self.path / name).touch()

    @property
    def calls(self) -> list[str]:
        found = self.path / "calls"
        return found.read_text().splitlines() if found.exists() else []


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "bin").mkdir()
    for name, text in _PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{_LOG if name not in ('timeout', 'sleep') else ''}\n{text}\n")
        program.chmod(0o755)
    return Stage(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    (path / "identity").touch()
    return path


LEAVE = HERE / "leave.sh"
CLEANUP = "nodespan agent --cleanup --log-level error"


def test_an_agent_that_answers_leaves(stage: Stage, state: Path) -> None:
    stage.has("up", "obedient")
    assert stage.run("sh", LEAVE, state).returncode == 0
    assert CLEANUP not in stage.calls
    assert "nodespan leave" in stage.calls


def test_where_no_agent_ever_ran_none_is_started(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for state in (tmp_path / "missing", tmp_path / "empty"):
        assert stage.run("sh", LEAVE, state).returncode == 0
    assert CLEANUP not in stage.calls


@pytest.mark.parametrize("before", [(), ("up", "hanging")], ids=["it was stopped", "it hangs"])
def test_for_an_agent_that_does_not_answer_another_one_reverts(
    stage: Stage, state: Path, before: tuple[str, ...]
) -> None:
    stage.has("obedient", *before)
    (state / "not-reverted").touch()
    assert stage.run("sh", LEAVE, state).returncode == 0
    assert stage.calls.index(CLEANUP) < stage.calls.index("nodespan leave")
    assert not (state / "not-reverted").exists()


@pytest.mark.parametrize("how", ["broken", "disobedient"])
def test_what_could_not_be_reverted_is_remembered(stage: Stage, state: Path, how: str) -> None:
    stage.has(how)
    done = stage.run("sh", LEAVE, state)
    assert done.returncode == 1
    assert "not everything could be reverted" in done.stderr
    assert CLEANUP in stage.calls
    assert (state / "not-reverted").exists()


@pytest.mark.parametrize("is_reverted", [True, False])
def test_a_purge_keeps_what_says_how_to_revert(stage: Stage, tmp_path: Path, is_reverted: bool) -> None:
    root = tmp_path / "root"
    for name in ("etc/nodespan", "var/lib/nodespan", "var/lib/nodespan-discovery"):
        (root / name).mkdir(parents=True)
    if not is_reverted:
        (root / "var/lib/nodespan/not-reverted").touch()
    assert stage.run("sh", HERE / "debian/postrm", "purge", DPKG_ROOT=str(root)).returncode == 0
    assert (root / "var/lib/nodespan").exists() is not is_reverted
    assert not (root / "etc/nodespan").exists()
    assert not (root / "var/lib/nodespan-discovery").exists()


@pytest.mark.parametrize(("installed", "is_removed"), [("1", False), ("0", True)])
def test_an_upgrade_of_the_rpm_does_not_touch_the_new_version(stage: Stage, installed: str, is_removed: bool) -> None:
    spec = (HERE / "rpm/nodespan.spec").read_text()
    section = re.search(r"^%preun\n(.*?)^%postun$", spec, re.DOTALL | re.MULTILINE)
    assert section
    assert stage.run("sh", "-c", section[1].replace("%%", "%"), "preun", installed).returncode == 0
    assert any(call.startswith("find /usr/lib/nodespan ") for call in stage.calls) is is_removed


def test_both_packages_use_the_script_that_is_in_them() -> None:
    for script in ("debian/prerm", "rpm/nodespan.spec"):
        assert "sh /usr/lib/nodespan/leave.sh" in (HERE / script).read_text()
    assert '"leave.sh"' in (HERE / "tree.py").read_text()


UNIT = "nodespan.service"
WANTED = f"multi-user.target.wants/{UNIT}"
# What the scripts start that would look at this machine, or that has no root of its own.
_LEFT_OUT = ("py3clean", "py3compile", "systemd-sysusers", "systemd-tmpfiles")


@attrs.frozen
class Root:
    """The root of a machine in which dpkg runs the scripts of the package."""

    path: Path
    programs: Path

    def dpkg(self, script: str, *arguments: str) -> str:
        """Run a script; returns what it says to the administrator."""
        done = subprocess.run(
            ("sh", HERE / "debian" / script, *arguments),
            env={
                "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin",
                "DPKG_ROOT": str(self.path),
                "DPKG_MAINTSCRIPT_PACKAGE": "nodespan",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    def unpack(self) -> None:
        """The unit files."""
        units = self.path / "usr/lib/systemd/system"
        units.mkdir(parents=True, exist_ok=True)
        for unit in UNITS:
            (units / unit).write_text((HERE / "systemd" / unit).read_text())
        (self.path / "etc/nodespan").mkdir(parents=True, exist_ok=True)

    def remove_files(self) -> None:
        """As dpkg does between the scripts."""
        for unit in UNITS:
            (self.path / "usr/lib/systemd/system" / unit).unlink()

    def link(self, name: str, target: str) -> None:
        """As systemctl does."""
        path = self.path / "etc/systemd/system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def left(self) -> set[str]:
        """The files and links of services that are there."""
        found = {*self.path.glob("etc/systemd/**/*"), *self.path.glob("var/lib/systemd/**/*")}
        return {str(path.relative_to(self.path)) for path in found if path.is_symlink() or path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in _LEFT_OUT:
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    root = Root(tmp_path / "root", programs)
    root.unpack()
    return root


@pytest.mark.needs_program("deb-systemd-helper")
@pytest.mark.parametrize(
    ("place", "links", "loses_record"),
    [
        ("/lib/systemd/system", [WANTED], False),
        ("/usr/lib/systemd/system", [WANTED, f"other.target.requires/{UNIT}", "mine.service"], False),
        ("/lib/systemd/system", [WANTED], True),
    ],
    ids=["enabled", "and wanted by others", "without its record"],
)
def test_of_an_enabled_unit_nothing_is_left_by_a_purge(
    root: Root, place: str, links: list[str], loses_record: bool
) -> None:
    root.dpkg("postinst", "configure")
    for link in links:
        root.link(link, f"{place}/{UNIT}")
    root.link(f"multi-user.target.wants/foreign-{UNIT}", f"{place}/foreign-{UNIT}")
    root.dpkg("postinst", "configure", "0.0.9")  # an upgrade
    root.dpkg("prerm", "remove")
    root.remove_files()
    root.dpkg("postrm", "remove")
    # Installed again it is enabled as it was.
    assert {f"etc/systemd/system/{link}" for link in links} <= root.left()
    if loses_record:
        for record in root.path.glob("var/lib/systemd/*/*.dsh-also"):
            record.unlink()
    assert root.dpkg("postrm", "purge") == ""
    kept = {path for path in root.left() if "deb-systemd-helper-enabled/multi-user" not in path or not loses_record}
    assert kept == {f"etc/systemd/system/multi-user.target.wants/foreign-{UNIT}"}


@pytest.mark.needs_program("deb-systemd-helper")
def test_what_the_administrator_wrote_for_a_unit_stays_and_is_named(root: Root) -> None:
    root.dpkg("postinst", "configure")
    drop_in = root.path / "etc/systemd/system" / f"{UNIT}.d/override.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nNice=5\n")
    root.dpkg("prerm", "remove")
    root.remove_files()
    root.dpkg("postrm", "remove")
    assert "nodespan.service.d is kept: it is the administrator's" in root.dpkg("postrm", "purge")
    assert root.left() == {f"etc/systemd/system/{UNIT}.d/override.conf"}
