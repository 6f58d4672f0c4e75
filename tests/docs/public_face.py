"""The public face: every name that users may import, with its signature. `python -m tests.docs.public_face` records it.

Signatures are read from the source, so that they are the same under every version of Python. A class is shown with its
public fields, methods and properties; those of its private bases are its own.
"""

import ast
import enum
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nodespan.runtime.resource import Kind, ResourceType

HERE = Path(__file__).parent
RECORD = HERE / "public_face.txt"
PAGE = HERE.parents[1] / "docs/api.md"

# What users may import, in the order of the page, and what it is for.
MODULES = {
    "nodespan.runtime.resource": "Declare types and make resources.",
    "nodespan.runtime.controller": "Write controllers: base classes, declarations, contexts, generic controllers.",
    "nodespan.runtime.errors": "What reads and writes raise.",
    "nodespan.runtime.testing": "Test controllers.",
    "nodespan.runtime.testing.state_suite": "Test another kind of state.",
    "nodespan.runtime.testing.state_model": "Test another kind of state by any sequence of writes, and crashes.",
    "nodespan.runtime.testing.engine_suite": "Test an engine on another kind of state.",
    "nodespan.runtime.state": "The state below the contexts.",
    "nodespan.etcd.state": "A state that many processes share, at etcd.",
    "nodespan.runtime.state.meta": "Register types and namespaces for clients.",
    "nodespan.runtime.api.cosi.client": "Use the state of another process or machine.",
    "nodespan.runtime.api.cosi.serving": "Let others use a state of your own.",
    "nodespan.runtime.state.sqlite": "Keep resources in a file.",
    "nodespan.runtime.state.mounted": "Namespaces on several states.",
    "nodespan.runtime.state.opening": "Open states by URL; offer a scheme, behind `nodespan.states`.",
    "nodespan.runtime.engine": "Run controllers in a program of your own.",
    "nodespan.runtime.plugins": "What the agent gives to a function behind `nodespan.controllers`.",
    "nodespan.runtime.about": "Describe your package, behind `nodespan.about`.",
    "nodespan.runtime.actions": "Offer actions to clients of the agent's socket.",
    "nodespan.runtime.overview": "Add to `status` and `doctor`, behind `nodespan.status` and `nodespan.checks`.",
    "nodespan.runtime.metrics": "Add to the metrics of the agent, by `Settings.publish`.",
    "nodespan.runtime.events": "Say what changes of your types mean, behind `nodespan.events`.",
    "nodespan.runtime.lifecycle": "Hand over before the agent stops.",
    "nodespan.runtime.cli.extension": "Add a verb to the command line, behind `nodespan.commands`.",
    "nodespan.runtime.cli.habits": "Answer what users of other tools type, behind `nodespan.habits`.",
    "nodespan.runtime.cli.errors": "How a verb fails.",
    "nodespan.resources.network": "The network, desired and observed.",
    "nodespan.resources.kubespan": "The mesh.",
    "nodespan.resources.cluster": "The nodes of the cluster.",
    "nodespan.resources.config": "The configuration of this node.",
    "nodespan.resources.files": "Files of the system.",
    "nodespan.resources.runtime": "The system that the agent runs on.",
    "nodespan.resources.trust": "Certificates.",
}
_HEAD = """\
# What you may import

These modules and names are public: a change that breaks a program which uses them is announced in
[the changelog](../CHANGELOG.md) and counts as one in the version. Everything else may change at any time. How to use
them is in [controllers.md](controllers.md).

This page is made from the code by `make docs`. Tests compare its names, and the signatures of all of them.
"""


def record() -> str:
    """The signatures of everything public, as text."""
    lines: list[str] = []
    for name in MODULES:
        module = importlib.import_module(name)
        lines.append(f"# {name}")
        for public in sorted(module.__all__):
            lines += _describe(public, getattr(module, public))
        lines.append("")
    return "\n".join(lines)


def page() -> str:
    """The page that lists everything public."""
    parts = [_HEAD]
    for name, purpose in MODULES.items():
        module = importlib.import_module(name)
        parts.append(f"## {name}\n\n{purpose}\n")
        rows = [f"| `{public}` | {_summary(getattr(module, public))} |" for public in sorted(module.__all__)]
        parts.append("\n".join(["| | |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


def names(text: str) -> list[str]:
    """The headings and names of a page. What it says of them is for people, and redone with the next `make docs`."""
    return re.findall(r"^(?:## |\| `)([\w.]+)", text, re.MULTILINE)


def _summary(value: Any) -> str:
    if isinstance(value, ResourceType):
        return f"the type `{value.name}`"
    if inspect.isclass(value) or inspect.isfunction(value):
        text = inspect.getdoc(value) or ""
        return " ".join(text.split("\n\n")[0].split()).replace("|", r"\|")
    if isinstance(value, str | int | float):
        return f"`{value!r}`"
    return ""


def _describe(name: str, value: Any) -> list[str]:
    if isinstance(value, ResourceType):
        return [f"{name} = {value.name} in {value.kind.namespace}, of {value.spec_class.__name__}"]
    if isinstance(value, Kind):
        return [f"{name} = {value.type} in {value.namespace}"]
    if inspect.isclass(value):
        return [_class_head(name, value), *(f"    {line}" for line in dict.fromkeys(_members(value)))]
    if inspect.isfunction(value):
        (function,) = _parsed(inspect.unwrap(value)).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        return [_signature(function)]
    if isinstance(value, str | int | float):
        return [f"{name} = {value!r}"]
    ours = type(value).__module__.startswith("nodespan.")  # others show themselves differently from version to version
    return [f"{name}: {type(value).__name__}" if ours else name]


def _class_head(name: str, value: type[Any]) -> str:
    bases = [base.__name__ for base in value.__bases__ if base is not object and not base.__name__.startswith("_")]
    return f"class {name}({', '.join(bases)})" if bases else f"class {name}"


def _parsed(value: Any) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(value)))


def _members(value: type[Any]) -> Iterator[str]:
    for base in value.__bases__:
        if base.__name__.startswith("_") and base.__module__.startswith("nodespan."):
            yield from _members(base)
    (definition,) = _parsed(value).body
    assert isinstance(definition, ast.ClassDef)
    for statement in definition.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if _is_public(name):
                decorators = [ast.unparse(each) for each in statement.decorator_list]
                yield " ".join([*(f"@{each}" for each in decorators), _signature(statement)])
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                yield ast.unparse(statement)
            case ast.Assign(targets=[ast.Name(id=name)]) if issubclass(value, enum.Enum) and not name.startswith("_"):
                yield ast.unparse(statement)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name != "__repr__")


def _signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    start = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{start} {function.name}({ast.unparse(function.args)}){returns}"


if __name__ == "__main__":
    RECORD.write_text(record())
    PAGE.write_text(page())
    sys.stdout.write(f"{RECORD}\n{PAGE}\n")
