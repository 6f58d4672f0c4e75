"""The options of these verbs, by verb."""

import argparse

from nodespan.runtime.cli.options import add_client_options


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-w", "--watch", action="store_true", help="keep running and show events as they come")
    parser.add_argument("--since", default="", metavar="TIME", help="10m, 2h, 1d, or 2026-01-02T03:04:05Z")
    parser.add_argument("--last", type=int, default=None, metavar="NUMBER", help="only the last ones")
    parser.add_argument(
        "-k",
        "--kind",
        dest="kinds",
        action="append",
        default=[],
        metavar="KIND",
        help="such as link, problem; repeated: any",
    )
    parser.add_argument("-o", "--output", default="text", metavar="FORM", help="text | json (an object a line) | yaml")
    add_client_options(parser)


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-w", "--watch", action="store_true", help="keep running and show it again when it changes")
    parser.add_argument("-o", "--output", default="text", metavar="FORM", help="text | json | yaml")
    parser.add_argument("--strict", action="store_true", help="exit with status 3 for warnings too")
    parser.add_argument("-a", "--all", action="store_true", help="show all lines of long tables")
    add_client_options(parser)


def _add_surroundings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", action="append", default=[], help="default: the agent's, or what was last applied"
    )
    parser.add_argument("--state-dir", metavar="DIR", default="", help="(NODESPAN_STATE_DIR)")
    add_client_options(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="CHECK", action="append", default=[], help="this check; may be repeated")
    parser.add_argument("-o", "--output", default="text", metavar="FORM", help="text | json | yaml")
    parser.add_argument("--strict", action="store_true", help="exit with status 3 for warnings too")
    _add_surroundings(parser)


def _support(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", default="", metavar="FILE", help="default: in this directory, by host and time"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask before writing")
    parser.add_argument("--list", action="store_true", help="list what would be in it, and write nothing")
    _add_surroundings(parser)


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="keep running and show lines as they come")
    parser.add_argument(
        "--lines", "--tail", type=int, default=200, metavar="NUMBER", help="the last ones (%(default)s)"
    )
    parser.add_argument("--since", default="", metavar="TIME", help="10m, 2h, or a time as journalctl takes it")
    add_client_options(parser)


def _describe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="a type or one of its short names; `rd` lists the types")
    parser.add_argument("id", metavar="ID", nargs="?", help="one resource; without it all of the type")
    parser.add_argument("-n", "--namespace", default="", help="default: the type's own namespace")
    add_client_options(parser)


VERBS = {
    "status": ("show on one screen how this node is; exit status 0 if it is healthy, 3 if not", _status),
    "events": ("show what happened lately", _events),
    "describe": ("show a resource with its fields, what it was made from, and what happened to it", _describe),
    "doctor": ("check what this node needs, with an agent or without; exit status 3 if something failed", _doctor),
    "logs": ("show the log of the agent", _logs),
    "support": ("make one archive for a bug report, without secrets", _support),
}
