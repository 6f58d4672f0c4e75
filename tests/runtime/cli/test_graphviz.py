"""Images of the graph: drawn by Graphviz where it is installed; where it is not, the error says what to install."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.graphviz import render
from nodespan.runtime.text.drawing import Arrow, Drawing, Node, dot
from tests.support.agent import nodespan

HOSTILE = '<b>"quoted" & \\back\n\x1b[31m\ufffe\ud800 ]]> &lt; `*_#1;'
SHOWN = '<b>"quoted" & \\back\\n\\x1b[31m\\ufffe\\ud800 ]]> &lt; `*_#1;'
DRAWING = Drawing(
    controllers=(Node("c", HOSTILE, HOSTILE),),
    types=(Node("t", HOSTILE, HOSTILE),),
    edges=(Arrow("c", "t", "exclusive"), Arrow("t", "c", "weak", HOSTILE)),
)
GRAPH = dot(DRAWING)
TEXT = "{http://www.w3.org/2000/svg}text"


@pytest.mark.needs_program("dot")
def test_names_stay_text_in_an_image() -> None:
    root = ET.fromstring(render(GRAPH, "svg"))
    assert [(text.text or "").replace("\N{NO-BREAK SPACE}", " ") for text in root.iter(TEXT)] == [SHOWN] * 5


@pytest.mark.needs_program("dot")
def test_an_image_has_the_requested_form() -> None:
    assert render(GRAPH, "png").startswith(b"\x89PNG")


def test_without_graphviz_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"^-o svg needs Graphviz, .* is not installed: apt install graphviz"):
        render(GRAPH, "svg")


def fake_dot(directory: Path, script: str, *, mode: int = 0o755) -> None:
    command = directory / "dot"
    command.write_text(f"#!{sys.executable}\n{script}\n")
    command.chmod(mode)


def test_graphviz_gets_the_graph_and_its_image_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, "import sys; sys.stdout.buffer.write(sys.argv[1].encode() + b'\\xff' + sys.stdin.buffer.read())")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render(GRAPH, "png") == b"-Tpng\xff" + GRAPH.encode()


def test_errors_of_graphviz_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, "import sys; sys.stdin.read(); sys.exit('no such format')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="Graphviz failed: dot exited with 1: no such format"):
        render(GRAPH, "svg")


def test_a_command_that_cannot_be_run_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, "", mode=0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="cannot be run: Permission denied"):
        render(GRAPH, "svg")


@pytest.mark.needs_program("dot")
@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_command_writes_the_image(tmp_path: Path, form: str, start: bytes) -> None:
    command = Path(sys.executable).with_name("nodespan")
    done = subprocess.run([command, "graph", "-o", form, "--only", "runtime."], capture_output=True, cwd=tmp_path)
    assert (done.stderr, done.returncode) == (b"", 0)
    assert done.stdout.startswith(start)


def test_the_command_fails_without_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = nodespan("graph", "-o", "svg", directory=tmp_path)
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.startswith("nodespan: -o svg needs Graphviz")
