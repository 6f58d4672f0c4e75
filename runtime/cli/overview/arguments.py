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


VERBS = {
    "status": ("show on one screen how this node is; exit status 0 if it is healthy, 3 if not", _status),
    "events": ("show what happened lately", _events),
}
