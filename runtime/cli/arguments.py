"""The verbs of the command line and their options. Each verb imports what it needs when it is used."""

import argparse
import os
from typing import TYPE_CHECKING, NoReturn

from nodespan.runtime.cli.options import (
    REMOTE_OPTIONS,
    add_client_options,
    add_remote_options,
    add_socket,
    escaped,
    is_remote,
)
from nodespan.runtime.cli.overview.arguments import VERBS as _OVERVIEW_VERBS
from nodespan.runtime.paths import agent_socket, client_socket, default_state_dir, node_socket

if TYPE_CHECKING:
    from nodespan.runtime.cli.extension import Command

_OUTPUTS = ("table", "wide", "name", "yaml", "json", "jsonpath=EXPRESSION", "custom-columns=NAME:EXPRESSION,...")


class Parser(argparse.ArgumentParser):
    """A parser whose errors say what to type instead of options that other tools have."""

    given: list[str] = []  # noqa: RUF012  # set by the one command line of this process

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments") or "ambiguous option" in message:
            refused = message.partition(":")[2].split()
            self._advise(message, [each for each in refused if each in self.given or "=" in each])
        elif message.startswith("argument -"):
            # `argument -o/--option: invalid choice: 'value' (choose from ...)`
            names = message.removeprefix("argument ").partition(":")[0].split("/")
            _, _, value = message.partition(": '" if "invalid choice" in message else "explicit argument '")
            self._advise(message, [f"{name}={value.partition(chr(39))[0]}" for name in names])
        super().error(message)

    def _advise(self, message: str, options: list[str]) -> None:
        """Exit with the message and what there is to say of options of other tools, if there is anything."""
        from nodespan.runtime.cli.habits import advice_on

        if advice := advice_on(options):
            super().error(f"{message}\n{advice}")


def main_parser(*, with_help: bool = False) -> argparse.ArgumentParser:
    """The parser of what stands before the verb, the verb, and the rest."""
    parser = Parser(
        prog="nodespan",
        description=_description() if with_help else None,
        epilog=_summary() if with_help else None,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--node", metavar="NAME", help=f"the agent of this name ({node_socket('NAME')})")
    add_socket(parser, client_socket())
    add_remote_options(parser)
    # Of users of other tools, for whom it is either; see `_take_either`.
    parser.add_argument("-n", dest="either", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version of this command")
    parser.add_argument("verb", metavar="COMMAND", help="see below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see nodespan COMMAND --help")
    return parser


def verbs() -> list[str]:
    """All verbs, the built-in ones first."""
    from nodespan.runtime.cli import extension

    return [*_VERBS, *extension.names()]


def parser_of(verb: str) -> tuple[argparse.ArgumentParser, "Command | None"] | None:
    """The parser of a verb, and the command of the package that brings it; None for an unknown verb."""
    verb = _ALIASES.get(verb, verb)
    if verb in _VERBS:
        description, add_arguments = _VERBS[verb]
        parser = Parser(prog=f"nodespan {verb}", description=description, epilog=_elsewhere(verb))
        add_arguments(parser)
        return parser, None
    from nodespan.runtime.cli import extension

    command = extension.load(verb)
    if command is None:
        return None
    parser = Parser(prog=f"nodespan {verb}", description=command.description, epilog=_elsewhere(verb))
    command.add_arguments(parser)
    return parser, command


def _elsewhere(verb: str) -> str | None:
    """How the verb asks other machines, if it can."""
    if verb not in _REMOTE_VERBS or verb == "config":
        return None
    return f"other machines: nodespan --nodes NAME,... {verb} (see nodespan config)"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments. Exits, as argparse does, after printing help or an error."""
    Parser.given = arguments
    parser = main_parser(with_help=_asks_for_help(arguments))
    given = parser.parse_args(_without_help(arguments))
    verb = _ALIASES.get(given.verb, given.verb)
    found = parser_of(verb)
    if found is None or _is_unknown_action(found[0], given.arguments):
        from nodespan.runtime.cli.habits import instead_of
        from nodespan.runtime.text.suggestions import did_you_mean

        instead = instead_of(verb, given.arguments)
        if isinstance(instead, list):
            before = arguments[: len(arguments) - len(given.arguments) - 1]
            return parse([*before, *instead])
        typed = verb if found is None else f"{verb} {given.arguments[0]}"
        if instead is not None:
            parser.error(f"there is no command {typed!r}: {instead}")
    if found is None:
        known = verbs()
        parser.error(f"unknown command {verb!r}{did_you_mean(verb, known)}\ncommands: {', '.join(known)}")
    of_verb, command = found
    if verb in _REMOTE_VERBS:
        _move_up(given)
    if command is None:
        options = of_verb.parse_intermixed_args(given.arguments)
    else:
        options = of_verb.parse_args(given.arguments)
        options.extension = command
    if given.node is not None and not hasattr(options, "node"):
        parser.error(f"--node names the agent to ask, and {verb} asks none")
    _take_either(parser, verb, given, options)
    _take_remote(parser, verb, given, options)
    _split_name(of_verb, verb, options)
    options.verb = verb
    options.node = getattr(options, "node", None) or given.node
    options.socket = getattr(options, "socket", None) or given.socket
    return options


def _is_unknown_action(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    """Whether the first argument should be one of the actions of a verb, and is none."""
    actions = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return bool(actions and arguments) and arguments[0][:1] != "-" and arguments[0] not in actions[0].choices


def _move_up(given: argparse.Namespace) -> None:
    """Take options that name other machines from behind the verb, where users of other tools write them."""
    rest: list[str] = []
    words = iter(given.arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name.removeprefix("--") in REMOTE_OPTIONS and name.startswith("--"):
            setattr(given, name.removeprefix("--"), value if equals else next(words, ""))
        elif word == "--":
            rest += [word, *words]
        else:
            rest.append(word)
    given.arguments = rest


def _take_either(
    parser: argparse.ArgumentParser, verb: str, given: argparse.Namespace, options: argparse.Namespace
) -> None:
    """`-n` before the verb: other machines if it looks like them, else the namespace. Exits where it means nothing."""
    if given.either is None:
        return
    from nodespan.runtime.cli.habits import looks_like_host

    if looks_like_host(given.either):
        given.nodes = given.nodes or given.either
    elif hasattr(options, "namespace"):
        options.namespace = options.namespace or given.either
    else:
        parser.error(f"-n is a namespace, and {verb} takes none; other machines are named by --nodes")


def _split_name(parser: argparse.ArgumentParser, verb: str, options: argparse.Namespace) -> None:
    """`TYPE/ID` as `TYPE ID`: no type has a slash in its name. Exits where an id is missing that has to be given."""
    type, slash, id = (getattr(options, "type", None) or "").partition("/")
    if slash and id and getattr(options, "id", "") is None:
        options.type, options.id = type, id
    if verb in _OF_ONE and options.id is None:
        parser.error("the following arguments are required: ID")


def _take_remote(
    parser: argparse.ArgumentParser, verb: str, given: argparse.Namespace, options: argparse.Namespace
) -> None:
    """Give the options of a verb what says which other machines to ask. Exits for what does not fit together."""
    if verb not in _REMOTE_VERBS:
        if is_remote(given):
            able = ", ".join(sorted(_REMOTE_VERBS))
            parser.error(f"--nodes and --context are for {able}: run {verb} on the node itself")
        return
    for option in REMOTE_OPTIONS:
        setattr(options, option, getattr(given, option))
    local = (given.socket, given.node, getattr(options, "socket", None), getattr(options, "node", None))
    if is_remote(given) and any(local):
        parser.error("--nodes and --context ask other machines, --node and --socket this one: give one of them")


class _PrintVersion(argparse.Action):
    """Prints the version, which is read only then, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from nodespan.runtime.cli.version import own_version

        print(f"nodespan v{own_version()}")
        parser.exit()


def _without_help(arguments: list[str]) -> list[str]:
    """`help VERB ...` as `VERB ... --help`."""
    return [*arguments[1:], "--help"] if arguments[:1] == ["help"] else arguments


def _asks_for_help(arguments: list[str]) -> bool:
    return not arguments or arguments[0] in ("-h", "--help") or arguments == ["help"]


def _description() -> str:
    """The summary of the installed distribution."""
    from importlib.metadata import metadata

    return metadata("nodespan")["Summary"] + "\n"


def _summary() -> str:
    from nodespan.runtime.cli import extension

    described = {verb: description for verb, (description, _) in _VERBS.items()}
    for verb in extension.names():
        command = extension.load(verb)
        described[verb] = "" if command is None else command.description
    return "\n".join(["commands:", *(f"  {verb:<12}{text}" for verb, text in described.items())])


def _agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help=_option_help("--config") or "a configuration file, or a directory of them; may be repeated",
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", default=default_state_dir(), help="(NODESPAN_STATE_DIR; %(default)s)"
    )
    parser.add_argument(
        "--root",
        metavar="DIR",
        default=os.environ.get("NODESPAN_ROOT", ""),
        help="root directory of the system files to manage (NODESPAN_ROOT; /)",
    )
    add_socket(parser, agent_socket())
    _add_controllers(parser, "run these controllers too; may be repeated")
    parser.add_argument("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics over HTTP")
    parser.add_argument(
        "--state-socket",
        metavar="PATH",
        default=os.environ.get("NODESPAN_STATE_SOCKET", ""),
        help="serve the COSI State service (gRPC) on this unix socket, to this user and root (NODESPAN_STATE_SOCKET)",
    )
    parser.add_argument("--cleanup", action="store_true", help="revert all changes of the system before stopping")
    parser.add_argument("--log-format", choices=("auto", "text", "json"), default="auto")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")


def _option_help(option: str) -> str:
    """What the installed packages say of an option of the agent."""
    from nodespan.runtime.about import load_about
    from nodespan.runtime.process.logs import plain_logger

    helps = [about.option_help.get(option, "") for about in load_about(plain_logger())]
    return escaped("; ".join(text for text in helps if text))


def _add_controllers(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--controllers", metavar="MODULE:ATTRIBUTE", action="append", default=[], help=help)


def _get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="a type or one of its short names; `rd` lists the types")
    parser.add_argument("id", metavar="ID", nargs="?", help="one resource")
    parser.add_argument("-o", "--output", default="table", metavar="FORM", help=" | ".join(_OUTPUTS))
    parser.add_argument("--show-labels", dest="output", action="store_const", const="wide", help=argparse.SUPPRESS)
    parser.add_argument("-w", "--watch", action="store_true", help="keep running and show changes")
    parser.add_argument("-n", "--namespace", default="", help="default: the type's own namespace")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument(
        "-l",
        "--labels",
        "--selector",
        metavar="SELECTOR",
        action="append",
        default=[],
        help="select by label, e.g. app=web,tier!=test; repeated: any of them",
    )
    add_client_options(parser)


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="a type or one of its short names; `rd` lists the types")
    parser.add_argument("id", metavar="ID", nargs="?", help="the resource")
    parser.add_argument("-n", "--namespace", default="", help="default: the type's own namespace")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each input again wherever it was read")
    parser.add_argument("--depth", metavar="NUMBER", type=int, default=16, help="how far to go back (%(default)s)")
    add_client_options(parser)


def add_resource_files(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """`-f`: files of resources."""
    parser.add_argument(
        "-f",
        "--filename",
        dest="filenames",
        metavar="FILE",
        action="append",
        default=[],
        required=required,
        help="resources as YAML: a file, a directory (its .yaml files), - (standard input); may be repeated",
    )


def _create(parser: argparse.ArgumentParser) -> None:
    add_resource_files(parser, required=True)
    add_client_options(parser)


def _one(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="a type or one of its short names; `rd` lists the types")
    parser.add_argument("id", metavar="ID", help="the resource")
    parser.add_argument("-n", "--namespace", default="", help="default: the type's own namespace")
    add_client_options(parser)


def _delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="a type or one of its short names; `rd` lists the types")
    parser.add_argument("ids", metavar="ID", nargs="+", help="the resources")
    parser.add_argument("-n", "--namespace", default="", help="default: the type's own namespace")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until nothing holds them any more")
    add_client_options(parser)


def _label(parser: argparse.ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("changes", metavar="LABEL", nargs="+", help="app=web sets a label, app- removes it")


def _graph(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=("dot", "mermaid", "svg", "png"),
        default="dot",
        help="(%(default)s); svg and png need Graphviz",
    )
    parser.add_argument(
        "--live", action="store_true", help="the running agent's graph, with counts of resources and wake-ups"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="controllers whose names begin with NAME; may be repeated",
    )
    _add_controllers(parser, "draw these controllers too; not with --live")
    add_client_options(parser)


def _validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="list every part that is ignored")
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="file, directory (its .yaml files), - (standard input); all are merged"
    )
    parser.add_argument("--strict", action="store_true", help="refuse keys and kinds that nothing here knows")


def _version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--client", action="store_true", help="only the version of this command")
    add_client_options(parser)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help='for bash: eval "$(nodespan completion bash)"')


_VERBS = {
    "agent": ("run the agent in the foreground", _agent),
    "get": ("show resources of a type, or one of them", _get),
    **_OVERVIEW_VERBS,
    "create": ("create resources of your own from files", _create),
    "edit": ("change a resource of your own in an editor", _one),
    "delete": ("delete resources of your own", _delete),
    "label": ("change the labels of a resource of your own", _label),
    "why": ("show what a resource was made from", _why),
    "leave": (
        "take this node out of its cluster, revert all changes of the system, and stop the agent",
        add_client_options,
    ),
    "graph": ("draw which controller reads and writes what", _graph),
    "validate": ("check configuration files", _validate),
    "version": ("print the versions of this command and of the agent", _version),
    "completion": ("print a shell's completion script", _completion),
}
_ALIASES = {"g": "get"}
# Those that are about one resource, which `TYPE/ID` names too.
_OF_ONE = frozenset({"why"})
# Those that can ask other machines.
_REMOTE_VERBS = frozenset(
    {"apply", "config", "describe", "doctor", "events", "get", "logs", "patch", "status", "support", "version", "why"}
)
