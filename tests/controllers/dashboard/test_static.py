"""The files of the dashboard: libraries are as they were published, and nothing makes markup or goes elsewhere."""

import hashlib
import json
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "controllers/dashboard/static"
VENDOR = STATIC / "vendor"
LIBRARIES = json.loads((VENDOR / "vendored.json").read_text())
OWN = sorted(path for path in STATIC.iterdir() if path.suffix in (".js", ".html", ".css"))
# What would make markup, styles or code of a text.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|cssText|javascript:|"
    r"setAttribute\([\"']style|\bon(click|load|error)="
)


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library["name"])
def test_libraries_are_the_files_that_were_published_with_their_licence(library: dict[str, object]) -> None:
    files = library["files"]
    assert isinstance(files, dict)
    for name, checksum in files.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == checksum, name
    (licence,) = [name for name in files if name.endswith("/LICENSE.txt")]
    assert "Permission is hereby granted" in (VENDOR / licence).read_text()
    assert library["license"] == "MIT"


def test_every_file_of_a_library_is_listed() -> None:
    there = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} - {"vendored.json"}
    assert there == {name for library in LIBRARIES for name in library["files"]}


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_our_files_make_no_markup_of_texts_and_name_no_other_place(path: Path) -> None:
    text = path.read_text()
    assert FORBIDDEN.findall(text) == []
    assert set(re.findall(r"https?://[^\"'`\s]+", text)) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", [path for path in OWN if path.suffix == ".js"], ids=lambda path: path.name)
def test_every_module_that_is_imported_is_there(path: Path) -> None:
    for name in re.findall(r'from "(\./[^"]+)"|^import "(\./[^"]+)"', path.read_text(), re.MULTILINE):
        assert (STATIC / next(filter(None, name))).is_file()
