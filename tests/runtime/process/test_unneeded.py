"""A stand-in for a library that is imported and not used."""

import importlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from nodespan.runtime.cli import command
from nodespan.runtime.process import lean
from nodespan.runtime.process.unneeded import leave_unloaded, not_installed

NAME = "a_library_for_tests"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two modules below it, of which it imports one."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "__init__.py").write_text("from .below import answer\nsame = below\n__all__ = ['answer']\n")
    (tmp_path / NAME / "rare.py").write_text("question = 'which'\n")
    (tmp_path / NAME / "below.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    # Removed at the end, whatever is there then.
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in (NAME, f"{NAME}.below", f"{NAME}.rare"):
        monkeypatch.setitem(sys.modules, name, sys)
        del sys.modules[name]
    return NAME


def test_importing_it_loads_nothing_and_using_it_loads_it(library: str) -> None:
    leave_unloaded(library)
    imported = importlib.import_module(library)
    assert not hasattr(imported, "__file__")
    assert f"{library}.below" not in sys.modules
    assert imported.answer == 42
    assert sys.modules[library] is not imported
    assert sys.modules[library].__file__
    # Who has it already goes on using it.
    assert imported.answer == 42
    with pytest.raises(AttributeError, match="question"):
        _ = imported.question


@pytest.mark.parametrize(
    "statement", [f"import {NAME}.below as found", f"from {NAME} import below as found", f"from {NAME} import *"]
)
def test_every_way_to_import_from_it_finds_what_is_there(library: str, statement: str) -> None:
    leave_unloaded(library)
    names: dict[str, object] = {}
    exec(f"import {library}\n{statement}", names)
    found = names.get("found")
    assert getattr(found, "answer", names.get("answer")) == 42


@pytest.mark.parametrize("statement", [f"import {NAME}.below", f"from {NAME}.below import answer"])
def test_a_module_below_that_is_imported_first_is_loaded_once(library: str, statement: str) -> None:
    leave_unloaded(library)
    exec(statement, {})
    loaded, below = sys.modules[library], sys.modules[f"{library}.below"]
    # What it has imported itself, too, and as if nothing had been left unloaded.
    assert loaded.below is loaded.same is below
    assert below.__spec__ is not None
    assert below.__spec__.origin == below.__file__
    assert below.__spec__.loader is below.__loader__
    assert importlib.reload(below) is below


def test_a_module_below_that_the_library_does_not_load_is_loaded(library: str) -> None:
    leave_unloaded(library)
    assert importlib.import_module(f"{library}.rare").question
    assert sys.modules[f"{library}.rare"].__spec__


def test_those_who_use_it_first_at_once_get_the_same(library: str) -> None:
    leave_unloaded(library)
    stand_in = sys.modules[library]
    with ThreadPoolExecutor(8) as threads:
        modules = list(threads.map(lambda _: stand_in.same, range(32)))
    assert {id(module) for module in modules} == {id(sys.modules[f"{library}.below"])}


def test_modules_that_have_imported_it_have_the_library_once_it_is_loaded(library: str) -> None:
    leave_unloaded(library)
    user = ModuleType("a_module_for_tests")
    sys.modules[user.__name__] = user
    try:
        exec(f"import {library} as its_own\nfirst = its_own\n", user.__dict__)
        assert user.first.answer == 42
        assert user.__dict__["its_own"] is user.__dict__["first"] is sys.modules[library]
    finally:
        del sys.modules[user.__name__]


def test_a_module_of_a_package_is_found_in_the_package_and_then_replaced_there(library: str) -> None:
    package = importlib.import_module(library)
    leave_unloaded(f"{library}.rare")
    names: dict[str, ModuleType] = {}
    exec(f"import {library}.rare", names)
    assert names[library] is package
    assert not hasattr(package.rare, "__file__")
    assert package.rare.question == "which"
    assert package.rare is sys.modules[f"{library}.rare"]
    assert package.rare.__file__


def test_a_library_that_is_loaded_stays(library: str) -> None:
    loaded = importlib.import_module(library)
    leave_unloaded(library)
    assert sys.modules[library] is loaded


@pytest.mark.parametrize("verb", ["agent", "discovery", "relay"])
def test_a_program_that_stays_leaves_what_it_does_not_use_unloaded(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Beside asyncio, which the tests have loaded.
    left: list[str] = []
    monkeypatch.setattr("nodespan.runtime.process.unneeded.leave_unloaded", left.append)
    monkeypatch.setattr("nodespan.runtime.process.garbage.tune", lambda: None)
    monkeypatch.setattr("nodespan.runtime.process.generated_methods.compile_when_used", lambda: None)
    assert command.run([verb, "--help"]) == 0
    assert left == list(lean.UNNEEDED)


@pytest.mark.process
def test_a_dns_server_and_probes_look_at_no_installed_packages_and_load_tls_and_idna_when_they_are_used() -> None:
    program = """
import sys
from nodespan.runtime.process import lean
lean.prepare()
import nodespan.controllers.dns.serving, nodespan.controllers.network.probes.attempts
heavy = {"_ssl", "email.message", "idna.core", "importlib.metadata._meta", "stringprep"}
loaded = {name for name, module in sys.modules.items() if hasattr(module, "__file__")}
print(sorted((heavy | {"dns.name"}) & loaded))
import dns.name
print(nodespan.controllers.dns.serving._tls(None)("dot").get_ciphers() != [])
print(dns.name.from_text("b\u00fccher.example"), dns.name.have_idna_2008, "b\u00fccher".encode("idna").decode())
import importlib.metadata
print(importlib.metadata.version("trio") > "0", importlib.metadata.PackageNotFoundError.__name__)
"""
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "['dns.name']",
        "True",
        "xn--bcher-kva.example. True xn--bcher-kva",
        "True PackageNotFoundError",
    ]


@pytest.mark.process
def test_what_libraries_of_an_agent_import_without_need_works_when_it_is_used(tmp_path: Path) -> None:
    program = """
import os, sys
from nodespan.runtime.process import lean
lean.prepare()
import pathlib, shutil, trio, structlog, ruamel.yaml
from google.protobuf.timestamp_pb2 import Timestamp
names = set(lean.UNNEEDED)
print(sorted(name for name in names if hasattr(sys.modules.get(name), "__file__")))
os.chdir(sys.argv[1])
pathlib.Path("files").mkdir()
pathlib.Path("files", "one").write_text("1")
for form in ("bztar", "xztar"):
    shutil.unpack_archive(shutil.make_archive(form, form, "files"), form)
print([pathlib.Path(form, "one").read_text() for form in ("bztar", "xztar")])
print(pathlib.PureWindowsPath("c:/a", "b").is_absolute(), pathlib.WindowsPath.__mro__[1].__name__)
print(Timestamp(seconds=86_400).ToJsonString())
moment = Timestamp()
moment.FromJsonString("1970-01-02T00:00:00Z")
print(moment.seconds)
print(structlog.stdlib.get_logger("a").new(b=1)._context, hasattr(structlog.threadlocal, "wrap_dict"))
import calendar, glob
print(calendar.monthrange(2024, 2), glob.glob("files/*"))
"""
    done = subprocess.run(
        (sys.executable, "-W", "ignore", "-c", program, str(tmp_path)),
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [
        "[]",
        "['1', '1']",
        "True Path",
        "1970-01-02T00:00:00Z",
        "86400",
        "{'b': 1} True",
        "(3, 29) ['files/one']",
    ], done.stderr


@pytest.mark.process
@pytest.mark.parametrize("verb", ["agent", "discovery"])
def test_it_is_left_unloaded_before_anything_imports_it(verb: str) -> None:
    program = f"""
import sys
from nodespan.runtime.cli import main
main([{verb!r}, "--help"])
print(sorted({{"_ssl", "asyncio.events", "idna.core", "trio"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        (sys.executable, "-c", program), cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] in ("['trio']", "[]")


def test_what_is_hidden_cannot_be_imported_until_the_end_of_the_block_unless_it_is_loaded() -> None:
    assert "json" in sys.modules
    assert "this" not in sys.modules
    with not_installed("json", "this"):
        importlib.import_module("json")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("this")
    assert "this" not in sys.modules
    assert sys.modules["json"] is json
