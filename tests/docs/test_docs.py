"""What the documents show works: Python runs, commands parse, links lead somewhere, lists are complete."""

import argparse
import ast
import base64
import functools
import importlib
import re
import shlex
import subprocess
import sys
import types
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.config.finding import Severity
from nodespan.controllers.config.loading import load
from nodespan.runtime.cli.arguments import _VERBS, parse
from nodespan.runtime.resource import Resource
from nodespan.runtime.resource.definition import ResourceDefinitionSpec, definition_resource, named_definitions
from tests.docs import public_face
from tests.resources import type_names
from tests.support.deadlines import PATIENCE

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
# The folders of the tree whose files are named in documents by their path from the top.
_FOLDERS = ["bench", "cluster", "controllers", "discovery", "docs", "etcd", "examples", "kernel", "nodespan"]
_FOLDERS += ["resources", "runtime", "tests"]
_PATH = re.compile(rf"`((?:{'|'.join(_FOLDERS)})/[\w./-]*)`")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# The word before a command: none, a pipe, sudo, or the name of the namespace of `ip netns exec`.
_COMES_BEFORE = ("", "|", "&&", "sudo", "blue")


_CONFIGURATION = re.compile(
    r"^(apiVersion: (nodespan\.dev/)?v1alpha1$|machine:|cluster:|version: v1alpha1)", re.MULTILINE
)
# What stands for any type.
_PLACEHOLDERS = ("TYPE",)
_MENTIONED = re.compile(r"`(?:sudo )?nodespan ([^`]+)`")
# A command that is only named lacks what it needs.
_INCOMPLETE = ("are required", "expected one argument")


@attrs.frozen
class Block:
    """A fenced block and where it begins."""

    path: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """`docs/controllers.md:12`."""
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """All blocks in these languages."""
    return [
        Block(path, text.count("\n", 0, match.start()) + 2, match[1], match[2])
        for path, text in ((path, path.read_text()) for path in DOCUMENTS)
        for match in _FENCED.finditer(text)
        if match[1] in languages
    ]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where, and the arguments of, every command of ours."""
    for block in blocks("console", "ini"):
        for number, line in enumerate(block.text.splitlines()):
            command = re.sub(r"^(\$ |ExecStart=)", "", line)
            if command != line:
                for arguments in calls(command):
                    yield f"{block.path.relative_to(ROOT)}:{block.line + number}", arguments


def configurations() -> list[Block]:
    """Machine configurations, whole ones and parts; no patches."""
    return [block for block in blocks("yaml") if _CONFIGURATION.search(block.text) and "$patch" not in block.text]


@functools.cache
def built_in_types() -> list[Resource[ResourceDefinitionSpec]]:
    """The definitions of all types that commands may name."""
    return [definition_resource(type) for type in type_names.types()]


@functools.cache
def own_types() -> frozenset[str]:
    """Types that pages and examples declare, by their names in the singular."""
    sources = [block.text for block in blocks("python")]
    sources += [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    return frozenset(name.lower() for text in sources for name in re.findall(r'ResourceType\(\s*"(\w+)s\.', text))


def calls(line: str) -> Iterator[list[str]]:
    """The arguments of each `nodespan` in a line of shell: alone, in a pipe, behind sudo, in a substitution."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    arguments: list[str] | None = None
    before = ""
    for word in words:
        if word.startswith("$("):
            yield from calls(word[2:-1])
        elif arguments is not None and set(word) <= set("|&;<>()"):
            yield arguments
            arguments = None
        elif arguments is not None:
            arguments.append(word)
        elif Path(word).name == "nodespan" and before in _COMES_BEFORE:
            arguments = []
        before = word
    if arguments is not None:
        yield arguments


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.place)
def test_python_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the block keep their numbers in the document; what `main` is, is run."""
    module = types.ModuleType("shown_in_a_document")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = "\n" * (block.line - 1) + block.text
    exec(compile(source, block.path, "exec", dont_inherit=True), vars(module))

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            await vars(module)["main"]()

    if "main" in vars(module):
        trio.run(main)


@pytest.mark.parametrize(("place", "words"), list(commands()))
def test_command_lines_parse(place: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        options = parse(words)
    except SystemExit:
        pytest.fail(f"{place}: nodespan {shlex.join(words)}\n{capsys.readouterr().err}", pytrace=False)
    types = getattr(options, "type", None)
    for type in types.split(",") if isinstance(types, str) else ():
        if type not in _PLACEHOLDERS and type.lower().removesuffix("s") not in own_types():
            assert named_definitions(built_in_types(), type), f"{place}: there is no type {type}"


def mentions() -> dict[tuple[str, ...], Path]:
    """The arguments of every command of ours in the text, and a document that has it."""
    found: dict[tuple[str, ...], Path] = {}
    for path in DOCUMENTS:
        # The changes tell of commands as they were.
        if path.name != "CHANGELOG.md":
            for mention in _MENTIONED.findall(_FENCED.sub("", path.read_text())):
                found.setdefault(tuple(shlex.split(mention)), path)
    return found


def test_commands_in_the_text_exist_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for words, path in mentions().items():
        try:
            parse([*words])
        except SystemExit as done:
            said = capsys.readouterr().err
            if done.code and "COMMAND" not in words and not any(part in said for part in _INCOMPLETE):
                wrong.append(f"{path.relative_to(ROOT)}: nodespan {shlex.join(words)}: {said}")
    assert wrong == []
    assert len(mentions()) > 100


@pytest.mark.parametrize("block", configurations(), ids=lambda block: block.place)
def test_configurations_are_valid(block: Block) -> None:
    """As shown: with keys in place of `<what stands for them>`, and parts without what they need beside them."""
    text = re.sub(r"<[^>\n]*>", base64.b64encode(bytes(range(32))).decode(), block.text)
    errors = [problem for problem in load(text, name=block.place).problems if problem.severity is Severity.ERROR]
    assert [str(error) for error in errors if " needs " not in error.message] == []


def test_there_is_something_to_check() -> None:
    assert len(configurations()) > 20
    assert len(blocks("python")) > 8
    assert len(list(commands())) > 20


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    lost = []
    for target, fragment in _LINK.findall(text):
        found = (path.parent / target).resolve() if target else path
        if not found.exists():
            lost.append(target)
        elif fragment and fragment not in map(anchor, _HEADING.findall(_FENCED.sub("", found.read_text()))):
            lost.append(f"{target}#{fragment}")
    assert not lost, f"{path.name} links to what is not there: {lost}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_documents_exist(path: Path) -> None:
    assert [name for name in _PATH.findall(path.read_text()) if not (ROOT / name).exists()] == []


def test_the_map_has_a_line_for_every_package() -> None:
    rows = re.findall(r"^\| `([\w/]+/)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    folders = [path for path in (ROOT / "nodespan").iterdir() if path.is_dir() and path.name != "__pycache__"]
    packages = {
        f"{module.parent.relative_to(ROOT)}/" for folder in folders for module in folder.resolve().rglob("__init__.py")
    }
    assert len(rows) == len(set(rows))
    assert packages - set(rows) == set(), "packages without a line in the map of docs/architecture.md"


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/adr"
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("0*.md")}


@pytest.mark.parametrize("path", sorted((ROOT / "docs/adr").glob("0*.md")), ids=lambda path: path.stem)
def test_a_decision_has_its_five_parts(path: Path) -> None:
    parts = re.findall(r"^\*\*(\w+)\*\*:", path.read_text(), re.MULTILINE)
    assert parts == ["Status", "Context", "Decision", "Measurement", "Consequences"]


def anchor(heading: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_operators_guide_names_every_verb_and_option() -> None:
    text = (ROOT / "docs/operators.md").read_text()
    assert [word for word in verbs_and_options() if not re.search(rf"(?<![\w-]){word}(?![\w-])", text)] == []


def verbs_and_options() -> Iterator[str]:
    """`get`, `--output`, `-o` ..."""
    for verb, (_, add_arguments) in _VERBS.items():
        yield verb
        parser = argparse.ArgumentParser(add_help=False)
        add_arguments(parser)
        for action in parser._actions:
            yield from action.option_strings


@pytest.mark.parametrize(("picture", "options"), [("graph.svg", ()), ("graph-kubespan.svg", ("--only", "kubespan"))])
def test_the_pictures_of_the_graph_are_those_of_the_declarations(picture: str, options: tuple[str, ...]) -> None:
    # A process of its own, as a user would run it: the verb sets up logging for the process that it is in.
    nodespan = Path(sys.executable).with_name("nodespan")
    command = [str(nodespan), "graph", "-o", "dot", *options]
    declared = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert drawn(ROOT / "docs" / picture) == (
        dict(re.findall(r'^\t(n\d+)\[.*label="([^"]*)"', declared, re.MULTILINE)),
        sorted(re.findall(r"^\t(n\d+->n\d+)\[", declared, re.MULTILINE)),
    ), f"docs/{picture} is out of date: make docs"


def drawn(picture: Path) -> tuple[dict[str, str], list[str]]:
    """The labels of an image's nodes, and its edges. Where Graphviz puts them differs between its versions."""
    svg = "{http://www.w3.org/2000/svg}"
    nodes: dict[str, str] = {}
    edges: list[str] = []
    for group in ET.parse(picture).iter(f"{svg}g"):
        title = group.findtext(f"{svg}title", "")
        match group.get("class"):
            case "node":
                nodes[title] = "\\n".join(text.text or "" for text in group.iter(f"{svg}text"))
            case "edge":
                edges.append(title)
    return nodes, sorted(edges)


def test_no_public_name_goes_or_changes_its_signature_unnoticed() -> None:
    assert public_face.record().splitlines() == public_face.RECORD.read_text().splitlines(), (
        "if meant: python -m tests.docs.public_face, and a line in CHANGELOG.md"
    )


def test_the_page_of_public_names_lists_them_all() -> None:
    assert public_face.names(public_face.page()) == public_face.names(public_face.PAGE.read_text()), (
        "docs/api.md is out of date: python -m tests.docs.public_face"
    )


def test_documents_and_examples_import_public_names_only() -> None:
    sources = [(block.place, block.text) for block in blocks("python")]
    sources += [(str(path.relative_to(ROOT)), path.read_text()) for path in sorted((ROOT / "examples").glob("*.py"))]
    private = []
    for place, text in sources:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nodespan"):
                public = (
                    importlib.import_module(node.module or "").__all__ if node.module in public_face.MODULES else ()
                )
                private += [f"{place}: {node.module}.{name.name}" for name in node.names if name.name not in public]
    assert private == []
