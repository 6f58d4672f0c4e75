"""Reference pages of the command line: one per verb, from its parser, with the source of its manual page."""

import argparse
from collections.abc import Iterator

from deploy.manual import pages as manual_pages
from deploy.site.markdown import block, code, plain, table
from nodespan.runtime.cli import arguments
from nodespan.runtime.cli.arguments import parser_of


def pages() -> dict[str, str]:
    """The pages, by their path below `reference/`; also the manual pages, as files."""
    verbs = {verb: found[0] for verb in sorted(arguments.verbs()) if (found := parser_of(verb)) is not None}
    made = {f"cli/{verb}.md": _page(verb, parser) for verb, parser in verbs.items()}
    manuals = {f"cli/{name}.1": text for name, text in manual_pages()}
    return {"cli/index.md": _index(verbs), **made, **manuals}


def _index(verbs: dict[str, argparse.ArgumentParser]) -> str:
    rows = [(f"[nodespan {verb}]({verb}.md)", plain(parser.description or "")) for verb, parser in verbs.items()]
    return "\n".join(
        [
            "# Commands\n",
            "`nodespan COMMAND --help` shows the same, and `man nodespan-COMMAND` where a package is installed.\n",
            table(("command", "what it does"), rows),
            "## Options before the command\n",
            table(("option", "meaning"), _options(arguments.main_parser())),
            "The source of its manual page: [nodespan.1](nodespan.1).\n",
        ]
    )


def _page(verb: str, parser: argparse.ArgumentParser) -> str:
    description = parser.description or ""
    parts = [f"# nodespan {verb}\n", f"{plain(description[:1].upper() + description[1:])}.\n".replace("..", ".")]
    parts += list(_parser(parser))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                parts.append(f"## {verb} {name}\n")
                if below.description:
                    parts.append(f"{plain(below.description)}\n")
                parts += list(_parser(below))
    parts.append(f"The source of its manual page: [nodespan-{verb}.1](nodespan-{verb}.1).\n")
    return "\n".join(parts)


def _parser(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield block(parser.format_usage().removeprefix("usage: "), "text")
    rows = list(_options(parser))
    if rows:
        yield table(("argument", "meaning"), rows)


def _options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        values = "" if action.nargs == 0 else formatter._format_args(action, _metavar(action))
        names = ", ".join(code(name) for name in action.option_strings)
        text = formatter._expand_help(action) if action.help else ""
        yield f"{names} {code(values)}".strip(), plain(text)


def _metavar(action: argparse.Action) -> str:
    return "|".join(map(str, action.choices)) if action.choices is not None else action.dest.upper()
