"""What installed packages offer is found as importlib.metadata finds it."""

import importlib.metadata
import os
import sys
import zipfile
from pathlib import Path

import pytest

from nodespan.runtime import installed
from nodespan.runtime.installed import EntryPoint, entry_points, version

GROUP = "nodespan.test_installed"
Found = list[tuple[str, str, str]]


def _install(directory: Path, name: str, text: str | None, *, version: str = "1", kind: str = "dist-info") -> Path:
    info = directory / f"{name}-{version}.{kind}"
    info.mkdir(parents=True)
    (info / ("METADATA" if kind == "dist-info" else "PKG-INFO")).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: of the text\n"
    )
    if text is not None:
        (info / "entry_points.txt").write_text(text)
    return info


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that packages are installed into, the only one."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def _found(group: str = GROUP) -> Found:
    return [(point.name, point.value, point.group) for point in entry_points(group)]


def _expected(group: str = GROUP) -> Found:
    return [(point.name, point.value, point.group) for point in importlib.metadata.entry_points(group=group)]


def test_what_is_installed_here_is_found_as_by_importlib_metadata() -> None:
    groups = [group for group in importlib.metadata.entry_points().groups if group.startswith("nodespan.")]
    assert len(groups) > 8
    assert {group: sorted(_found(group)) for group in groups} == {group: sorted(_expected(group)) for group in groups}
    assert version("nodespan") == importlib.metadata.version("nodespan")


def test_every_form_of_a_file_is_read_as_importlib_metadata_reads_it(directory: Path) -> None:
    _install(
        directory,
        "forms",
        f"# a comment\nbefore = any:section\n\n[console_scripts]\nnodespan-x = a:b\n\n[{GROUP}]\n  plain=module:thing\n"
        f"  # another = comment\nspaced  =  module : thing . part [extra, more]\nbare = module\n=nameless:thing\n"
        f"[nodespan.other]\nplain = other:thing\n[{GROUP}]\nagain = module:thing\n",
    )
    _install(directory, "none", None)
    _install(directory, "empty", "")
    assert _found() == _expected()
    assert [name for name, _, _ in _found()] == ["plain", "spaced", "bare", "", "again"]
    assert _found("nodespan.other") == _expected("nodespan.other") != []


def test_a_line_that_is_no_entry_point_does_not_hide_the_others(directory: Path) -> None:
    _install(directory, "odd", f"[{GROUP}]\nodd\ngood = module:thing\n")
    assert _found() == [("good", "module:thing", GROUP)]


def test_of_two_of_one_name_the_first_on_the_path_counts(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("Two_words.here", "two_words_here", "other")):
        _install(tmp_path / str(number), name, f"[{GROUP}]\nname{number} = module:thing\n", version=f"{number}.5")
    paths = [str(tmp_path / str(number)) for number in range(3)]
    for order in (paths, paths[::-1]):
        monkeypatch.setattr(sys, "path", order)
        assert _found() == _expected()
        assert len(_found()) == 2
        assert version("two.words.here") == importlib.metadata.version("two.words.here")


def test_what_is_installed_and_removed_later_is_seen(directory: Path) -> None:
    assert _found() == []
    info = _install(directory, "late", f"[{GROUP}]\nlate = module:thing\n")
    assert _found() == [("late", "module:thing", GROUP)]
    (info / "entry_points.txt").unlink()
    info.rename(directory / "gone")
    assert _found() == []


def test_what_is_installed_within_one_tick_of_the_clock_is_seen(directory: Path) -> None:
    times = (1_000_000_000, 1_000_000_000)
    os.utime(directory, ns=times)
    assert _found() == []
    info = _install(directory, "late", None)
    os.utime(directory, ns=times)
    assert _found() == []
    # As while a package is being installed.
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nlate = module:thing\n")
    assert _found() == [("late", "module:thing", GROUP)]


def test_a_file_that_cannot_be_read_is_an_error_and_hides_no_packages(directory: Path) -> None:
    _install(directory, "there", f"[{GROUP}]\nthere = module:thing\n")
    info = _install(directory, "broken", None, version="2")
    loop = info / "entry_points.txt"
    loop.symlink_to(loop)
    for find in (_found, _expected):
        with pytest.raises(OSError, match="symbolic links"):
            find()
    # Of which only the files of one package are read.
    assert version("there") == "1"
    loop.unlink()
    loop.write_bytes(b"[\xff]")
    for find in (_found, _expected):
        with pytest.raises(UnicodeDecodeError):
            find()
    assert version("broken") == "2"


def test_what_cannot_be_read_on_the_path_is_passed_over(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(directory, "there", f"[{GROUP}]\nthere = module:thing\n", kind="egg-info")
    (directory / "file-1.egg-info").write_text("Name: file\nVersion: 1\n")
    monkeypatch.setattr(sys, "path", ["/no/such/directory", str(directory)])
    monkeypatch.setattr(importlib.metadata, "entry_points", None)
    assert _found() == [("there", "module:thing", GROUP)]
    assert version("there") == "1"


def test_the_current_directory_is_one_of_the_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(directory, "here", f"[{GROUP}]\nhere = module:thing\n")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(sys, "path", [""])
    assert _found() == _expected() != []


@pytest.mark.parametrize("suffix", ["zip", "egg"])
def test_packages_of_an_archive_are_found_too(directory: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    _install(directory, "beside", f"[{GROUP}]\nbeside = module:thing\n")
    archive = directory / f"archive.{suffix}"
    with zipfile.ZipFile(archive, "w") as file:
        for place in ("packed-2.dist-info", "EGG-INFO"):
            file.writestr(f"{place}/entry_points.txt", f"[{GROUP}]\npacked = module:thing\n")
            file.writestr(f"{place}/METADATA", "Name: packed\nVersion: 2\n")
            file.writestr(f"{place}/PKG-INFO", "Name: packed\nVersion: 2\n")
    monkeypatch.setattr(sys, "path", [str(directory), str(archive)])
    assert _found() == _expected()
    assert {name for name, _, _ in _found()} == {"beside", "packed"}
    assert version("packed") == "2"


def test_a_finder_of_another_program_is_asked(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = _install(directory / "elsewhere", "found", f"[{GROUP}]\nfound = module:thing\n")

    class Finder(importlib.metadata.DistributionFinder):
        def find_spec(self, *_: object) -> None:
            return None

        def find_distributions(self, context: object = None) -> list[importlib.metadata.Distribution]:
            return [importlib.metadata.Distribution.at(info)]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert _found() == _expected() == [("found", "module:thing", GROUP)]
    assert version("found") == "1"


def test_a_package_that_is_not_there_has_no_version(directory: Path) -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        version("no-such-package-of-nodespan")


def test_an_entry_point_is_loaded_by_module_and_attribute() -> None:
    assert EntryPoint("a", "os.path:join", GROUP).load() is os.path.join
    assert EntryPoint("a", "os : path.join [extra]", GROUP).load() is os.path.join
    assert EntryPoint("a", "nodespan.runtime.installed", GROUP).load() is installed


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("no module", ImportError),
        ("", ImportError),
        ("os:no_such", AttributeError),
        ("no_such_module", ModuleNotFoundError),
    ],
)
def test_one_that_refers_to_nothing_is_an_error(value: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        EntryPoint("a", value, GROUP).load()
