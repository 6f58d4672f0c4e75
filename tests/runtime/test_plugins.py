"""Controllers are found behind entry points and references, in each form, and what is none is named."""

import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from nodespan.runtime import installed, plugins
from nodespan.runtime.controller import Controller, ControllerContext, QueueContext, QueueController
from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.plugins import Settings, instantiate, load_installed, load_named
from nodespan.runtime.resource import Pointer
from tests.support.agent import agent, nodespan

SETTINGS = Settings(state_dir=Path("/state"), config=(Path("/config.yaml"),))


class One(Controller):
    name = "test.One"

    async def run(self, ctx: ControllerContext) -> None:
        raise NotImplementedError


class Two(QueueController):
    name = "test.Two"

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        raise NotImplementedError


class Configured(One):
    name = "test.Configured"

    def __init__(self, path: Path) -> None:
        self.path = path


class Abstract(Controller):
    name = "test.Abstract"


def made(settings: Settings) -> Configured:
    (path,) = settings.config
    return Configured(path)


def several(settings: Settings) -> list[Any]:
    return [One, Two(), made]


def none_at_all(settings: Settings) -> tuple[()]:
    return ()


def a_generator(settings: Settings) -> Any:
    yield One
    yield Two


CONTROLLERS = (One, Two)
NOTHING = None
TEXT = "test.One"


class Nested:
    inner = One


FORMS = [
    ("One", ["test.One"]),
    ("CONTROLLERS", ["test.One", "test.Two"]),
    ("made", ["test.Configured"]),
    ("several", ["test.One", "test.Two", "test.Configured"]),
    ("none_at_all", []),
    ("a_generator", ["test.One", "test.Two"]),
    ("Nested.inner", ["test.One"]),
]


@pytest.mark.parametrize(("attribute", "names"), FORMS)
def test_every_form_gives_controllers(attribute: str, names: list[str]) -> None:
    found = load_named(f"{__name__}:{attribute}", SETTINGS)
    assert [controller.name for controller in found] == names


def test_an_instance_is_itself() -> None:
    one = One()
    assert list(instantiate(one, SETTINGS, "here")) == [one]


WRONG = [
    ("", "write it like mypackage.mymodule:MyController"),
    ("module", "write it like"),
    (":One", "write it like"),
    ("module:", "write it like"),
    ("no_such_module:One", "cannot import no_such_module: No module named 'no_such_module'"),
    (f"{__name__}:NoSuch", "has no attribute 'NoSuch'"),
    (f"{__name__}:Nested.nosuch", "has no attribute 'nosuch'"),
    (f"{__name__}:NOTHING", "is None: expected a controller, a controller class, or a function"),
    (f"{__name__}:TEXT", "is 'test.One': expected"),
    (f"{__name__}:Nested", "expected a controller"),
    (f"{__name__}:Configured", "missing 1 required positional argument: 'path'; name a function from settings"),
    (f"{__name__}:Abstract", "abstract"),
]


@pytest.mark.parametrize(("reference", "text"), WRONG)
def test_what_is_wrong_with_a_reference_is_said(reference: str, text: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        load_named(reference, SETTINGS)
    assert text in str(caught.value)
    assert repr(reference) in str(caught.value)


def test_a_module_in_the_current_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_this_test.py").write_text(f"from {__name__} import One as Mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert [controller.name for controller in load_named("module_of_this_test:Mine", SETTINGS)] == ["test.One"]


def test_a_broken_entry_point_is_logged_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        installed.EntryPoint("c-good", f"{__name__}:CONTROLLERS", plugins.GROUP),
        installed.EntryPoint("a-missing", "no_such_module:One", plugins.GROUP),
        installed.EntryPoint("b-wrong", f"{__name__}:TEXT", plugins.GROUP),
        installed.EntryPoint("d-raises", f"{__name__}:made", plugins.GROUP),
    ]
    monkeypatch.setattr(installed, "entry_points", lambda group: points)
    log = LogCapture()
    found = load_installed(Settings(state_dir=Path("/state")), structlog.wrap_logger(None, processors=[log]))
    assert [controller.name for controller in found] == ["test.One", "test.Two"]
    said = [entry["entry_point"] for entry in log.entries]
    assert [text.partition(" = ")[0] for text in said] == [
        "entry point 'a-missing'",
        "entry point 'b-wrong'",
        "entry point 'd-raises'",
    ]


BROKEN = {
    "broken-import": "import no_such_module",
    "broken-registration": (
        "from nodespan.runtime.controller import Controller\n"
        "class Thing(Controller):\n"
        "    name = 'network.LinkStatusController'\n"
        "    async def run(self, ctx): pass\n"
    ),
}


@pytest.mark.parametrize(("name", "text"), BROKEN.items(), ids=BROKEN.keys())
async def test_a_broken_package_does_not_stop_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    package = tmp_path / "packages"
    info = package / "zzz_broken-1.dist-info"
    info.mkdir(parents=True)
    (package / "zzz_broken.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zzz-broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nzzz-{name} = zzz_broken:Thing\n")
    monkeypatch.setenv("PYTHONPATH", str(package))
    async with agent(tmp_path) as served:
        assert "network.LinkStatusController" in served.run("get", "controllers")
        assert "of an installed package cannot be" in served.log


FAULTY = [
    ("def (:\n", "x", "cannot import broken: SyntaxError: invalid syntax (broken.py, line 1)"),
    ("\n1 / 0\n", "x", "cannot import broken: ZeroDivisionError: division by zero (DIRECTORY/broken.py:2)"),
    ("import sys\nsys.exit(3)\n", "x", "cannot import broken: SystemExit: 3 (DIRECTORY/broken.py:2)"),
    ("import nosuch\n", "x", "cannot import broken: No module named 'nosuch' (DIRECTORY/broken.py:1)"),
    ("def make(settings):\n    return {}['k']\n", "make", "cannot be made: KeyError: 'k' (DIRECTORY/broken.py:2)"),
    (
        f"from {__name__} import One\nclass Bad(One):\n    def __init__(self):\n        raise OSError('no')\n",
        "Bad",
        "cannot be made: OSError: no (DIRECTORY/broken.py:4)",
    ),
]


@pytest.mark.parametrize(("text", "attribute", "message"), FAULTY)
def test_an_error_in_the_code_of_a_reference_is_one_line_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, attribute: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(RegistrationError) as caught:
        load_named(f"broken:{attribute}", SETTINGS)
    sys.modules.pop("broken", None)
    assert str(caught.value) == f"--controllers 'broken:{attribute}': {message.replace('DIRECTORY', str(tmp_path))}"


@pytest.mark.parametrize("verb", ["agent", "graph"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (:\n", "cannot import broken: SyntaxError"),
        (
            f"from {__name__} import One\nclass Bad(One):\n    name = 'test.Bad'\n    inputs = 5\n",
            "Bad",
        ),
    ],
)
def test_a_broken_reference_ends_each_verb_with_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, text: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    done = nodespan(verb, "--controllers", "broken:Bad", directory=tmp_path)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("nodespan: "))
    assert message in line
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
