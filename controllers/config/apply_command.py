"""`nodespan apply`: sends a configuration to the agent, and shows the answers.

Found by the command line through the entry-point group `nodespan.commands`; imports what it needs when it is used.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from nodespan.runtime.cli.arguments import add_resource_files
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import add_client_options, is_remote, socket_of

_STDIN = "-"


class ApplyCommand:
    """The verb `apply`."""

    description = "make a machine configuration the agent's; with -f, resources of your own"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        parser.add_argument(
            "files",
            metavar="FILE",
            nargs="*",
            help="several are merged; a directory is all its .yaml; - standard input",
        )
        add_resource_files(parser, required=False)
        add_patch_option(parser, "--config-patch")
        add_mode_options(parser)
        parser.add_argument("--strict", action="store_true", help="refuse keys and kinds that nothing here knows")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for what the configuration leads to")
        parser.add_argument(
            "-v", "--verbose", action="store_true", help="list the parts of other systems, which are ignored"
        )
        end = parser.add_mutually_exclusive_group()
        end.add_argument("--confirm", action="store_true", help="keep the configuration on trial")
        end.add_argument("--cancel", "--rollback", action="store_true", help="go back from the configuration on trial")
        add_client_options(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Send the request and show the answers; returns the exit status. Raises CommandError."""
        if options.filenames:
            if options.files:
                raise CommandError("-f applies resources of yours, a file without it a configuration: give only one")
            from nodespan.runtime.cli.resources import write_files

            return write_files(socket_of(options), "apply", options.filenames)
        return send(options, *_request(options))


def add_mode_options(parser: argparse.ArgumentParser) -> None:
    """Declare how a configuration is applied."""
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    parser.add_argument(
        "--mode",
        choices=("apply", "try", "staged"),
        default="apply",
        help="try: go back after --timeout unless --confirm comes; staged: after the next reboot (%(default)s)",
    )
    parser.add_argument("--timeout", metavar="TIME", default="1m", help="of --mode try (%(default)s)")


def add_patch_option(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare `-p`, which may be given several times."""
    parser.add_argument(
        "-p",
        *names,
        dest="patches",
        metavar="PATCH",
        action="append",
        default=[],
        help="change the configuration by this patch: its text, or @FILE; repeatable, applied in order",
    )


def send(options: argparse.Namespace, action: str, arguments: dict[str, object]) -> int:
    """Have the agent do an action, and show its answers; returns the exit status. Raises CommandError."""
    if is_remote(options):
        from nodespan.controllers.config.remote_apply import apply_remotely
        from nodespan.controllers.remote.nodes import Target

        return apply_remotely(Target.of(options), action, arguments)
    from nodespan.controllers.config.ssh_connection import caller_argument, ssh_connection
    from nodespan.runtime.cli.client import Connection

    arguments["caller"] = caller_argument(ssh_connection())
    request = {"call": "action", "name": action, "arguments": arguments}
    status = 1
    with Connection(socket_of(options), request) as answers:
        for answer in answers:
            out = sys.stderr if answer.get("problem") else sys.stdout
            out.write(answer.get("text", ""))
            out.flush()
            status = answer.get("status", status)
    return status


def action_of(options: argparse.Namespace, arguments: dict[str, object]) -> str:
    """The action that applies a configuration as the mode options say; its timeout goes to the arguments.

    Raises CommandError for options that do not fit together.
    """
    if options.dry_run:
        if options.mode != "apply":
            raise CommandError("--dry-run changes nothing, so there is nothing to try: give only one of the two")
        return "config.dry-run"
    if options.mode == "try":
        arguments["timeout"] = options.timeout
    if options.mode == "staged":
        arguments["staged"] = True
    return "config.apply"


def read_patches(given: Iterable[str]) -> list[tuple[str, bytes]]:
    """Patches as they are given on the command line: names and contents.

    `@FILE` is a file, and so is one word that is neither a list nor a table; anything else is the patch itself. Raises
    CommandError.
    """
    from nodespan.controllers.config.reading import LARGEST
    from nodespan.runtime.named_file import read_named

    patches = []
    for index, text in enumerate(given, start=1):
        is_name = text.startswith("@") or not (set(text) & set(" \t\n") or text.startswith(("[", "{")))
        if not is_name:
            patches.append((f"patch {index}", text.encode()))
            continue
        name = text.removeprefix("@")
        try:
            patches.append((name, read_named(Path(name), LARGEST, streams=True)))
        except OSError as error:
            raise CommandError(f"the patch {name}: {error.strerror or error}") from error
    return patches


def _request(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """The action and its arguments. Raises CommandError for options that do not fit together."""
    arguments: dict[str, object] = {"wait": not options.no_wait, "verbose": options.verbose}
    if options.confirm or options.cancel:
        if options.files or options.patches or options.dry_run or options.mode == "try":
            raise CommandError("--confirm and --cancel are about the configuration on trial: give nothing else")
        return "config.confirm" if options.confirm else "config.cancel", arguments
    if not options.files:
        raise CommandError("name the files to apply, or - for standard input")
    action = action_of(options, arguments)
    arguments["files"] = _read(options.files)
    arguments["patches"] = read_patches(options.patches)
    arguments["strict"] = options.strict
    return action, arguments


def _read(names: list[str]) -> list[list[object]]:
    """Each file by its name and its content; a directory stands for several. Raises CommandError."""
    from nodespan.controllers.config.reading import LARGEST, UnreadableError, read_file, read_stdin
    from nodespan.controllers.config.sources import expand

    files: list[list[object]] = []
    for name in names:
        try:
            if name == _STDIN:
                files.append(["<stdin>", read_stdin()])
                continue
            found = expand(Path(name))
            if not found:
                raise CommandError(f"{name}: no file in this directory ends in .yaml")
            files += [[str(file), read_file(file, streams=True)] for file in found]
        except OSError as error:
            raise CommandError(f"{error.filename or name}: {error.strerror or error}") from error
        except UnreadableError as error:
            raise CommandError(f"{name}: {error}: {error.hint}") from error
    if sum(len(content) for _, content in files if isinstance(content, bytes)) > LARGEST:
        raise CommandError("the files are too large for a configuration: check that these are the right ones")
    return files


command = ApplyCommand()
