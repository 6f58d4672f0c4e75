"""`nodespan patch`: changes the configuration in effect. `nodespan machineconfig patch`: changes a file.

Found by the command line through the entry-point group `nodespan.commands`; imports what it needs when it is used.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.controllers.config.apply_command import (
    action_of,
    add_mode_options,
    add_patch_option,
    read_patches,
    send,
)
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import add_client_options

if TYPE_CHECKING:
    from nodespan.controllers.config.sources import SourceText

_STDIN = "-"
_NAMES = ("machineconfig", "machineconfigs", "mc")


class PatchCommand:
    """The verb `patch`."""

    description = "change the agent's machine configuration by patches"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        parser.add_argument("type", metavar="TYPE", nargs="?", default=_NAMES[0], help="machineconfig (%(default)s)")
        parser.add_argument("id", metavar="ID", nargs="?", help="accepted and ignored: there is one configuration")
        add_patch_option(parser, "--patch")
        parser.add_argument("--patch-file", metavar="FILE", help="a file with a patch, applied after the others")
        add_mode_options(parser)
        parser.add_argument("--strict", action="store_true", help="refuse keys and kinds that nothing here knows")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for what the configuration leads to")
        parser.add_argument(
            "-v", "--verbose", action="store_true", help="list the parts of other systems, which are ignored"
        )
        add_client_options(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Send the patches and show the answers; returns the exit status. Raises CommandError."""
        if options.type.lower().partition(".")[0] not in _NAMES:
            raise CommandError("only machineconfig resource type is supported: `nodespan patch machineconfig -p PATCH`")
        patches = read_patches(options.patches + ([f"@{options.patch_file}"] if options.patch_file else []))
        if not patches:
            raise CommandError("give a patch: -p PATCH, or --patch-file FILE")
        arguments: dict[str, object] = {
            "patches": patches,
            "wait": not options.no_wait,
            "strict": options.strict,
            "verbose": options.verbose,
        }
        return send(options, action_of(options, arguments), arguments)


class MachineConfigCommand:
    """The verb `machineconfig`."""

    description = "change a file that holds a machine configuration"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="patch")
        patch = actions.add_parser(
            "patch", description="Apply patches to the machine configuration in a file, and print the result."
        )
        patch.add_argument("file", metavar="FILE", help="the configuration; - for standard input")
        add_patch_option(patch, "--patch")
        patch.add_argument("-o", "--output", metavar="FILE", help="write the result there (mode 0600)")

    def run(self, options: argparse.Namespace) -> int:
        """Print or write the patched configuration; returns the exit status. Raises CommandError."""
        text = patched(_read(options.file), read_patches(options.patches))
        if options.output is None:
            sys.stdout.write(text)
            return 0
        from nodespan.controllers.common.secret_file import write_secret

        try:
            write_secret(Path(options.output), text)
        except OSError as error:
            raise CommandError(f"{options.output}: {error.strerror or error}") from error
        return 0


def _read(file: str) -> list["SourceText"]:
    """The configuration in a file ("-": standard input). Raises CommandError."""
    from nodespan.controllers.config.reading import read_sources

    sources, problems = read_sources(None if file == _STDIN else Path(file))
    if problems:
        raise CommandError(str(problems[0]))
    return sources


def patched(sources: list["SourceText"], patches: list[tuple[str, bytes]]) -> str:
    """The configuration with the patches applied, as text. Raises CommandError."""
    from nodespan.controllers.config.patching import Patch, PatchError, apply_patches
    from nodespan.controllers.config.tree import ConfigSyntaxError

    named = [Patch(name=name, text=raw.decode(errors="replace")) for name, raw in patches]
    try:
        return apply_patches(sources, named)
    except ConfigSyntaxError as error:
        place = "" if error.span is None else f":{error.span.line + 1}:{error.span.column + 1}"
        raise CommandError(
            f"{sources[0].name}{place}: {error.message}" + (f"; {error.hint}" if error.hint else "")
        ) from error
    except PatchError as error:
        raise CommandError(str(error)) from error


patch_command = PatchCommand()
machineconfig_command = MachineConfigCommand()
