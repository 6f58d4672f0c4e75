"""Manual pages from the parsers of the command line: one for `nodespan`, one for each verb.

Run as a program, in the environment that it describes: `python -m deploy.manual DIRECTORY`. argparse has no public way
to look at the arguments of a parser: `_actions` is what its own help is made from.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from nodespan.runtime.cli import arguments
from nodespan.runtime.cli.version import own_version

_FOOTER = """\
.SH FILES
.TP
.I /etc/nodespan/config.yaml
the machine configuration
.TP
.I /var/lib/nodespan
identities, and what the machine was like before
.TP
.I /run/nodespan/agent.sock
where the agent listens
.SH SEE ALSO
"""


def pages() -> Iterator[tuple[str, str]]:
    """The names of the pages, and their text."""
    verbs = [(verb, parser) for verb in arguments.verbs() if (parser := _parser(verb)) is not None]
    yield "nodespan", _overview(verbs)
    for verb, parser in verbs:
        yield f"nodespan-{verb}", _page(f"nodespan-{verb}", parser)


def _parser(verb: str) -> argparse.ArgumentParser | None:
    found = arguments.parser_of(verb)
    return None if found is None else found[0]


def _overview(verbs: list[tuple[str, argparse.ArgumentParser]]) -> str:
    parser = arguments.main_parser()
    lines = [_head("nodespan", "node agent: resources, controllers, and the mesh KubeSpan"), ".SH SYNOPSIS"]
    lines += [".B nodespan", r"[OPTION]... \fICOMMAND\fR [ARGUMENT]...", ".SH OPTIONS", *_options(parser)]
    lines.append(".SH COMMANDS")
    for verb, of_verb in verbs:
        lines += [".TP", rf"\fBnodespan\-{_escaped(verb)}\fR(1)", _escaped(of_verb.description or "")]
    lines += [_FOOTER + ", ".join(rf"\fBnodespan\-{_escaped(verb)}\fR(1)" for verb, _ in verbs)]
    return "\n".join(lines) + "\n"


def _page(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [_head(name, parser.description or ""), *_synopsis(parser), ".SH DESCRIPTION"]
    lines += [_escaped(_sentence(parser.description or "")), ".SH OPTIONS", *_options(parser)]
    for action, of_action in _subcommands(parser):
        lines += [f".SH {_escaped(action.upper())}", ".nf", _escaped(_usage(of_action)), ".fi", ".PP"]
        if of_action.description:
            lines.append(_escaped(of_action.description))
        lines += _options(of_action)
    return "\n".join([*lines, _FOOTER + r"\fBnodespan\fR(1)"]) + "\n"


def _head(name: str, description: str) -> str:
    title = f'.TH {_escaped(name.upper())} 1 "" "nodespan {own_version()}" "nodespan"'
    return f"{title}\n.SH NAME\n{_escaped(name)} \\- {_escaped(description)}"


def _synopsis(parser: argparse.ArgumentParser) -> list[str]:
    return [".SH SYNOPSIS", ".nf", _escaped(_usage(parser)), ".fi"]


def _usage(parser: argparse.ArgumentParser) -> str:
    return parser.format_usage().removeprefix("usage: ").rstrip()


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        yield ".TP"
        names = ", ".join(rf"\fB{_escaped(name)}\fR" for name in action.option_strings)
        values = ""
        if action.nargs != 0:
            values = formatter._format_args(action, _metavar(action))
        yield f"{names} {_italic(values)}".strip()
        yield _escaped(formatter._expand_help(action) if action.help else "")


def _metavar(action: argparse.Action) -> str:
    return "|".join(map(str, action.choices)) if action.choices is not None else action.dest.upper()


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _italic(text: str) -> str:
    return rf"\fI{_escaped(text)}\fR" if text else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _escaped(text: str) -> str:
    """A text for roff: a backslash, a hyphen that is one, and no request at the beginning of a line."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(rf"\&{line}" if line[:1] in (".", "'") else line for line in text.splitlines())


if __name__ == "__main__":
    for name, text in pages():
        Path(sys.argv[1], f"{name}.1").write_text(text)
