"""Reference pages of what nodespan says: events, and problems with their remedies.

They are read from the calls that make them (`Happening`, `at`, `failed` ...), so none is missing. What a text fills in
while it runs stands in braces, by the name that it has in the code.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from deploy.site.markdown import code, plain, table

ROOT = Path(__file__).parents[2]


@attrs.frozen(kw_only=True)
class Message:
    """A text that the code makes, and what goes with it."""

    place: str
    call: str
    text: str
    remedy: str = ""
    kind: str = ""
    severity: str = ""


def pages() -> dict[str, str]:
    """The pages, by their path below `reference/`."""
    return {"events.md": _events_page(), "problems.md": _problems_page()}


def calls(folder: str, names: Iterable[str]) -> Iterator[tuple[str, ast.Call, ast.AST]]:
    """Every call of these names below a folder: where, the call, and the function that it is in.

    A name that begins with `*` stands for all with that end.
    """
    wanted = re.compile("|".join(re.escape(name).replace(r"\*", r"\w*") for name in names))
    top = ROOT / folder
    for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
        source = path.read_text()
        if not wanted.search(source):
            continue
        found: list[tuple[ast.Call, ast.AST]] = []
        tree = ast.parse(source)
        _collect(tree, tree, wanted, found)
        for call, scope in found:
            yield str(path.relative_to(ROOT)), call, scope


def _collect(node: ast.AST, scope: ast.AST, wanted: re.Pattern[str], found: list[tuple[ast.Call, ast.AST]]) -> None:
    """Find the calls below a node, each with the function that it is in, in one walk over half a million nodes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and wanted.fullmatch(child.func.id):
            found.append((child, scope))
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            _collect(child, child, wanted, found)
        elif not isinstance(child, ast.Lambda | ast.Name | ast.Constant | ast.expr_context):
            _collect(child, scope, wanted, found)


def text_of(node: ast.expr | None, scope: ast.AST, seen: frozenset[str] = frozenset()) -> str:
    """The text of an expression: of constants and f-strings as it is, else what the name is bound to, else the code.

    `seen` are the names on the way here: a name that is bound to a text with itself in it ends there.
    """
    match node:
        case None:
            return ""
        case ast.Constant(value=value):
            return "" if value is None else str(value)
        case ast.JoinedStr(values=values):
            return "".join(text_of(value, scope, seen) for value in values)
        case ast.FormattedValue(value=ast.Name(id=name)) if name not in seen and (
            written := _written_as(name, scope, seen)
        ):
            return written
        case ast.FormattedValue(value=value):
            return "{" + _name(value) + "}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left, scope, seen) + text_of(right, scope, seen)
        case ast.IfExp(body=body, orelse=orelse):
            choices = (text_of(body, scope, seen), text_of(orelse, scope, seen))
            return " / ".join(dict.fromkeys(filter(None, choices)))
        case ast.Name(id=name) if name not in seen:
            bound = [text_of(value, scope, seen | {name}) for value in _bound_to(name, scope)]
            return " / ".join(dict.fromkeys(filter(None, bound))) if bound else "{" + name + "}"
        case _:
            return "{" + _name(node) + "}"


def _bound_to(name: str, scope: ast.AST) -> list[ast.expr]:
    """What a name is assigned in a scope."""
    return [
        node.value
        for node in _within(scope)
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets)
    ]


def _written_as(name: str, scope: ast.AST, seen: frozenset[str]) -> str:
    """The text that a name stands for, if it is bound once and to a text with words in it; else ""."""
    bound = _bound_to(name, scope)
    if len(bound) == 1 and isinstance(bound[0], ast.JoinedStr):
        return text_of(bound[0], scope, seen | {name})
    return ""


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a scope, without those of functions in it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _within(child)


def _name(node: ast.AST) -> str:
    """A word for what is filled in: the last name of the expression, or what it is made of."""
    match node:
        case ast.Name(id=name):
            return name.strip("_").replace("_", " ").lower()
        case ast.Attribute(attr=name):
            return name.strip("_").replace("_", " ").lower()
        case ast.Call(func=ast.Name(id="quote"), args=[value, *_]):
            return _name(value)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str())), args=[value, *_]):
            return _name(value)
        case ast.Call(args=[value, *_]):
            return _name(value)
        case ast.Call(func=func):
            return _name(func)
        case ast.Subscript(value=value):
            return _name(value)
        case ast.GeneratorExp(elt=value) | ast.ListComp(elt=value):
            return _name(value)
        case ast.BinOp(left=value) | ast.Starred(value=value):
            return _name(value)
        case ast.Constant(value=value):
            return str(value)
        case _:
            return "..."


def _argument(call: ast.Call, position: int | None, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if position is not None and position < len(call.args):
        return call.args[position]
    return None


def events() -> list[Message]:
    """Every event that the rules make."""
    found = [
        Message(
            place=place,
            call="Happening",
            kind=text_of(_argument(call, 0, "kind"), scope),
            text=text_of(_argument(call, 1, "text"), scope),
            severity=_severity(_argument(call, 2, "severity")),
        )
        for folder in ("controllers", "runtime/events")
        for place, call, scope in calls(folder, ["Happening"])
    ]
    return [message for message in found if not re.fullmatch(r"\{[^}]*\}", message.text)]


def _severity(node: ast.expr | None) -> str:
    """`info`, or the choices of an expression."""
    if node is None:
        return "info"
    words = [part.id if isinstance(part, ast.Name) else getattr(part, "attr", "") for part in ast.walk(node)]
    severities = [word.strip("_").lower() for word in words if word.strip("_").upper() in {"INFO", "WARNING", "ERROR"}]
    return " or ".join(dict.fromkeys(severities)) or "info"


def _events_page() -> str:
    found = sorted(events(), key=lambda message: (message.kind, message.text))
    rows = [(code(_kind(message)), message.severity, _shown(message.text)) for message in found]
    return "\n".join(
        [
            "# Events\n",
            (
                "What `nodespan events` shows, and where it comes from: [What happened]"
                "(../at-a-glance.md#what-happened-nodespan-events). Words in braces are filled in. "
                "Packages may add more.\n"
            ),
            table(("kind", "severity", "text"), rows),
        ]
    )


def _kind(message: Message) -> str:
    return "agent" if message.kind.startswith("{") else message.kind


@attrs.frozen(kw_only=True)
class Source:
    """A group of problems: which calls below which folders make them, and where each has its text and its remedy."""

    title: str
    intro: str
    folders: tuple[str, ...]
    calls: tuple[str, ...]
    text: tuple[int | None, str]
    remedy: tuple[int | None, str]
    keep: Callable[[Message], bool] = lambda _: True


SOURCES = (
    Source(
        title="In the configuration",
        intro="`nodespan validate`, `nodespan apply` and the agent's log show them with file, line and column. An "
        "error makes the whole configuration unusable, and the one before stays in effect; a warning does not.",
        folders=("controllers/config",),
        calls=("at", "warn", "Finding"),
        text=(None, "message"),
        remedy=(None, "hint"),
    ),
    Source(
        title="Of the node: `nodespan status`",
        intro="[`nodespan status`](../at-a-glance.md#how-the-node-is-nodespan-status) shows them, worst first.",
        folders=("controllers/overview/status.py",),
        calls=("Finding",),
        text=(1, "text"),
        remedy=(2, "remedy"),
    ),
    Source(
        title="Of the machine: `nodespan doctor`",
        intro="[`nodespan doctor`](../at-a-glance.md#what-is-missing-nodespan-doctor) shows them, with an agent or "
        "without.",
        folders=("controllers/overview/checks",),
        calls=("failed", "warning"),
        text=(0, "text"),
        remedy=(1, "remedy"),
    ),
    Source(
        title="Of commands",
        intro="A command that cannot do its work says why, and what to do, on standard error, and exits with status 1.",
        folders=("runtime/cli", "controllers", "cluster", "discovery"),
        calls=("CommandError",),
        text=(0, "message"),
        remedy=(None, ""),
    ),
    *(
        Source(
            title=title,
            intro="They are in problems (`nodespan get networkproblems`), statuses and the log.",
            folders=folders,
            calls=("*Error",),
            text=(0, "message"),
            remedy=(None, ""),
        )
        for title, folders in {
            "Of the network": ("controllers/network", "controllers/common", "kernel"),
            "Of the mesh, discovery and relays": ("controllers/kubespan", "controllers/cluster", "discovery"),
            "Of virtual IPs' etcd": ("etcd",),
            "Of the machine's names, files and certificates": (
                "controllers/host",
                "controllers/secrets",
                "controllers/api",
            ),
        }.items()
    ),
)


def problems(source: Source) -> list[Message]:
    """The problems of a group, each once."""
    found: dict[str, Message] = {}
    for folder in source.folders:
        for place, call, scope in calls(folder, source.calls):
            text = text_of(_argument(call, *source.text), scope)
            remedy = text_of(_argument(call, *source.remedy), scope)
            severity = _severity(call.args[0] if call.args else None)
            if re.search(r"[a-z]{3}", re.sub(r"\{[^}]*\}", "", text)):
                name = call.func.id if isinstance(call.func, ast.Name) else ""
                found[text] = Message(place=place, call=name, text=text, remedy=remedy, severity=severity)
    return [found[text] for text in sorted(found, key=lambda text: (found[text].place, text))]


def _problems_page() -> str:
    parts = [
        "# Problems and what to do\n",
        (
            "Every problem that nodespan names, as its code has them; words in braces are filled in, and ` / ` stands "
            "between texts of which one is shown. What the kernel refused, with its reason, is in `nodespan get "
            "networkproblems`. By symptom: [Troubleshooting](../howto/troubleshooting.md).\n"
        ),
    ]
    for source in SOURCES:
        found = problems(source)
        if source.remedy[1]:
            shown = table(("what it says", "what to do"), [(_shown(each.text), _shown(each.remedy)) for each in found])
        else:
            shown = table(("what it says",), [(_shown(each.text),) for each in found])
        parts += [f"## {source.title}\n", f"{source.intro}\n", shown]
    parts += ["## In Python\n", "Errors of the public modules, with what raises them: [Python](python/index.md).\n"]
    return "\n".join(parts)


def _shown(text: str) -> str:
    return plain(" ".join(text.split()))
