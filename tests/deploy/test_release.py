"""What may be released, and what a release says of its contents. The whole of one is built by `make test-packages`."""

import errno
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy import release, sbom, wheels
from deploy.errors import BuildError

ROOT = Path(__file__).parents[2]
GOOD = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-02\n\n- new\n\n## [1.1.0] - 2025-01-02\n\n- old\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (GOOD, ""),
        (GOOD.replace("2026-01-02", "soon"), "has no date"),
        (GOOD.replace(" - 2026-01-02", ""), "has no date"),
        (GOOD.replace("- new\n", ""), "nothing stands under 1.2.0"),
        (GOOD.replace("Unreleased]\n", "Unreleased]\n\n- newer\n"), 'belongs under "## [1.2.0] - DATE"'),
        (GOOD.replace("1.2.0", "1.3.0"), 'has to be "## [1.2.0] - DATE"'),
        (GOOD.replace("## [Unreleased]\n", ""), 'the first heading has to be "## [Unreleased]"'),
        ("", 'the first heading has to be "## [Unreleased]"'),
        ("## [Unreleased]\n", 'has to be "## [1.2.0] - DATE"'),
    ],
)
def test_a_change_log_has_the_version_and_nothing_that_is_unreleased(text: str, fault: str) -> None:
    found = [*release.changelog_faults(text, "1.2.0")]
    assert len(found) == bool(fault)
    assert fault in "".join(found)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a version that can be released."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(GOOD)
    (tmp_path / ".gitignore").write_text("dist/\n")
    run(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def run(checkout: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(("git", "-C", str(checkout), *settings, *arguments), check=True, capture_output=True)


def commit(checkout: Path) -> None:
    run(checkout, "add", "--all")
    run(checkout, "commit", "--quiet", "--allow-empty", "--message", "x")


def test_a_commit_with_its_version_can_be_released_tagged_or_not(checkout: Path) -> None:
    (checkout / "dist").mkdir()
    (checkout / "dist/old").touch()
    assert release.check(checkout) == "1.2.0"
    run(checkout, "tag", "v1.2.0")
    assert release.check(checkout) == "1.2.0"
    commit(checkout)
    with pytest.raises(BuildError, match=r"the tag v1\.2\.0 is on another commit"):
        release.check(checkout)


def test_a_tree_with_changes_is_no_release(checkout: Path) -> None:
    (checkout / "new.py").touch()
    with pytest.raises(BuildError, match=r"not committed: new\.py"):
        release.check(checkout)
    commit(checkout)
    (checkout / "CHANGELOG.md").write_text(GOOD + "x")
    with pytest.raises(BuildError, match=r"not committed: CHANGELOG\.md"):
        release.check(checkout)


def test_without_a_commit_there_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="git status: "):
        release.check(tmp_path)


def test_the_export_has_the_files_of_the_commit_and_no_others(checkout: Path, tmp_path: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("changed")
    (checkout / "secret").touch()
    target = tmp_path / "export"
    release._export(checkout, target)
    assert {path.name for path in target.iterdir()} == {"pyproject.toml", "CHANGELOG.md", ".gitignore"}
    assert (target / "CHANGELOG.md").read_text() == GOOD


def test_the_export_needs_no_filters_of_tarfile(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The Python of Debian 12, 3.11.2, has none.
    extract = tarfile.TarFile.extractall
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda archive, path: extract(archive, path))
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    target = tmp_path / "export"
    release._export(checkout, target)
    assert {path.name for path in target.iterdir()} == {"pyproject.toml", "CHANGELOG.md", ".gitignore"}


def test_a_release_is_there_as_a_whole_or_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, target = tmp_path / "made", tmp_path / "dist/1.2.0"
    made.mkdir()
    (made / "old").touch()
    assert release.put(made, target) == [target / "old"]
    (made / "old").rename(made / "new")

    def full(source: Path, staging: Path) -> None:
        staging.mkdir()
        (staging / "new").touch()
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copytree", full)
        with pytest.raises(BuildError, match="no space left"):
            release.put(made, target)
    assert [*target.parent.rglob("*")] == [target, target / "old"]
    assert release.put(made, target) == [target / "new"]
    assert [*target.parent.iterdir()] == [target]


# Puts a release of two files over another, in processes that are killed at their first, second ... look at a directory
# or change of one; prints what is at its place after each, then what is there once a further one came to its end.
KILLED = """\
import os, signal, sys
from pathlib import Path
from deploy import release

made, target = Path(sys.argv[1], "made"), Path(sys.argv[1], "dist/1.2.0")

def write(place, text):
    place.mkdir(parents=True)
    for name in ("a", "b"):
        (place / name).write_text(text)

class WithoutExchange:
    def renameat2(self, *_):
        release.ctypes.set_errno(release.errno.EINVAL)
        return -1

def put(steps):
    def count(event, _):
        nonlocal steps
        steps -= event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.listdir", "os.scandir")
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    release.put(made, target)
    os._exit(0)

if sys.argv[2] == "in steps":
    release._libc = WithoutExchange()
write(made, "new")
status = signal.SIGKILL
for steps in range(1000):
    write(target, "old")
    if not (child := os.fork()):
        put(steps)
    if not (status := os.waitpid(child, 0)[1]):
        break
    print(*(path.read_text() for path in target.glob("*")))
    release.put(made, target)
    assert [*target.parent.iterdir()] == [target]
    release.shutil.rmtree(target)
print(*(path.read_text() for path in target.iterdir()))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("how", "states"), [("at once", {"old old", "new new"}), ("in steps", {"old old", "", "new new"})]
)
def test_a_release_that_is_killed_leaves_the_one_before_or_is_there(tmp_path: Path, how: str, states: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), how], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert (found[0], found[-1]) == ("old old", "new new")
    assert set(found) == states


def test_a_release_that_was_put_aside_by_one_that_was_killed_is_there_again(tmp_path: Path) -> None:
    made, target, aside = tmp_path / "made", tmp_path / "dist/1.2.0", tmp_path / "dist/.1.2.0.old"
    aside.mkdir(parents=True)
    (aside / "old").touch()
    with pytest.raises(BuildError, match="made"):
        release.put(made, target)
    assert [*target.parent.rglob("*")] == [target, target / "old"]


@pytest.mark.needs_program("sha256sum")
def test_sums_are_those_of_sha256sum(tmp_path: Path) -> None:
    for name in ("b", "a b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "SUMS").write_text(release.sums([tmp_path / "b", tmp_path / "a b"]))
    done = subprocess.run(("sha256sum", "--check", "SUMS"), cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "a b: OK\nb: OK\n")


def wheel(directory: Path, name: str, metadata: str, **bills: str) -> Path:
    path = directory / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.4\nName: {name}\n{metadata}")
        for bill, text in bills.items():
            archive.writestr(f"{name}-1.dist-info/sboms/{bill}.json", text)
    return path


# As cryptography says what is linked into it.
HELD = """{"bomFormat": "CycloneDX", "components": [
    {"name": "openssl", "version": "4.0.3", "purl": "pkg:generic/openssl@4.0.3?download_url=https://example.org/o",
     "hashes": [{"alg": "SHA-256", "content": "%s"}]},
    {"name": "libc", "version": "0.2.1", "purl": "pkg:cargo/libc@0.2.1", "licenses": [{"expression": "MIT"}]}]}
""" % ("c" * 64)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The wheels of a lock file with two distributions."""
    lock = tmp_path / "lock.txt"
    digests = ["a" * 64, "b" * 64]
    lock.write_text(
        f"# head\none.x==1.0 \\\n    --hash=sha256:{digests[0]} \\\n    --hash=sha256:{digests[1]}\n"
        f"two==2.0 \\\n    --hash=sha256:{digests[0]}\n"
        f"three==3.0 \\\n    --hash=sha256:{digests[1]}\n"
    )
    monkeypatch.setattr(wheels, "LOCK", lock)
    project = tmp_path / "project.toml"
    project.write_text('[project]\ndependencies = ["One.X>=1,<2", "three"]\n')
    monkeypatch.setattr(sbom, "_PROJECT_FILE", project)
    return [
        wheel(
            tmp_path,
            "One_X",
            "License-Expression: MIT OR Apache-2.0\nRequires-Dist: Two>=1\n"
            'Requires-Dist: absent; extra == "more"\nRequires-Dist: old; python_version < "3.9"\n',
        ),
        wheel(
            tmp_path,
            "two",
            "License: Anything\nClassifier: License :: OSI Approved :: BSD License\nRequires-Dist: three\n",
        ),
        wheel(tmp_path, "three", "License-Expression: MIT\n", linked=HELD),
    ]


def test_the_bill_names_what_is_inside_and_what_needs_what(fetched: list[Path]) -> None:
    # Compiles dozens of grammars when it is imported: two seconds, for each process that collects these tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = sbom.bill("1.2.0", 1767312000, sbom.parts(fetched))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == sbom.bill("1.2.0", 1767312000, sbom.parts(reversed(fetched)))
    found = json.loads(text)
    assert (found["metadata"]["component"]["version"], found["metadata"]["timestamp"]) == (
        "1.2.0",
        "2026-01-02T00:00:00+00:00",
    )
    components = {component["bom-ref"]: component for component in found["components"]}
    one, two = components["pypi:one-x"], components["pypi:two"]
    assert (one["purl"], two["purl"]) == ("pkg:pypi/one-x@1.0", "pkg:pypi/two@2.0")
    assert one["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert two["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert [each["content"] for each in one["hashes"]] == ["a" * 64, "b" * 64]
    needs = {each["ref"]: set(each.get("dependsOn", ())) for each in found["dependencies"]}
    assert needs["pypi:one-x"] == {"pypi:two"}
    assert "pypi:one-x" in needs["nodespan"]
    assert "pypi:two" not in needs["nodespan"]
    # A direct one although another needs it too, and what is linked into it.
    assert "pypi:three" in needs["nodespan"]
    assert needs["pypi:three"] == {"generic:openssl@4.0.3", "cargo:libc@0.2.1"}
    openssl = components["generic:openssl@4.0.3"]
    assert openssl["purl"].startswith("pkg:generic/openssl@4.0.3")
    assert [each["content"] for each in openssl["hashes"]] == ["c" * 64]
    assert components["cargo:libc@0.2.1"]["licenses"] == [{"license": {"id": "MIT"}}]
    # The libraries of the dashboard are in the tree.
    assert components["npm:@tanstack/virtual-core"]["purl"].startswith("pkg:npm/%40tanstack/virtual-core@")


@pytest.mark.parametrize("text", ["{", '{"spdxVersion": "SPDX-2.3"}', '{"bomFormat": "CycloneDX", "components": [{}]}'])
def test_a_bill_in_a_wheel_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    path = wheel(tmp_path, "one", "", linked=text)
    with pytest.raises(
        BuildError, match=r"one-1-py3-none-any\.whl: one-1\.dist-info/sboms/linked\.json cannot be read"
    ):
        sbom._described(path)


def test_the_bill_is_of_the_locked_wheels() -> None:
    assert set(wheels.locked_digests()) == set(wheels.locked())
    assert all(wheels.locked_digests().values())
