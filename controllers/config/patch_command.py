"""`nodespan patch`: changes the configuration in effect. `nodespan machineconfig patch`: changes a file.

Found by the command line through the entry-point group `nodespan.commands`; imports what it needs when it is used.
"""

import argparse
import platform
import sys
from pathlib import Path

from nodespan.controllers.config.apply_command import (
    action_of,
    add_mode_options,
    add_patch_option,
    read_patches,
    send,
)
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import add_client_options, socket_of

_TYPE = "machineconfigs.config.talos.dev"
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

    description = "edit the machine configuration in effect, or patch one in a file"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="edit|patch")
        edit = actions.add_parser(
            "edit", description="Open the configuration in effect in $EDITOR, and apply what was saved."
        )
        add_mode_options(edit)
        add_client_options(edit)
        patch = actions.add_parser(
            "patch", description="Apply patches to the machine configuration in a file, and print the result."
        )
        patch.add_argument("file", metavar="FILE", help="the configuration; - for standard input")
        add_patch_option(patch, "--patch")
        patch.add_argument("-o", "--output", metavar="FILE", help="write the result there (mode 0600)")

    def run(self, options: argparse.Namespace) -> int:
        """Do what is asked; returns the exit status. Raises CommandError."""
        if options.action == "edit":
            return _edit(options)
        from nodespan.controllers.config.patched import patched, read_file

        text = patched(read_file(options.file), read_patches(options.patches))
        if options.output is None:
            sys.stdout.write(text)
            return 0
        from nodespan.controllers.common.secret_file import write_secret

        try:
            write_secret(Path(options.output), text)
        except OSError as error:
            raise CommandError(f"{options.output}: {error.strerror or error}") from error
        return 0


def _edit(options: argparse.Namespace) -> int:
    from nodespan.controllers.config.editing import edit
    from nodespan.runtime.cli.client import ask

    socket = socket_of(options)
    request = {"call": "get", "type": _TYPE, "namespace": "", "id": "v1alpha1", "selectors": []}
    (text,) = [each["resource"]["spec"] for each in ask(socket, {**request, "form": "data"}) if "resource" in each]

    def submit(changed: str) -> str:
        arguments: dict[str, object] = {"files": [("what you wrote", changed.encode())], "wait": False}
        name = action_of(options, arguments)
        answers = ask(socket, {"call": "action", "name": name, "arguments": arguments})
        said = "".join(answer.get("text", "") for answer in answers)
        if answers and answers[-1].get("status", 1):
            raise CommandError(said.strip())
        return said.rstrip()

    sys.stdout.write(f"{edit(platform.node(), text, submit)}\n")
    return 0


patch_command = PatchCommand()
machineconfig_command = MachineConfigCommand()
