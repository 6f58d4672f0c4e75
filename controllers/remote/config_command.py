"""`nodespan config`: which clusters there are for `--nodes`, in the client's configuration of Talos."""

import argparse
import sys
from pathlib import Path

from nodespan.controllers.remote.talosconfig import (
    TalosConfig,
    TalosConfigError,
    config_path,
    read_config,
    write_config,
)
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.text.table import Table


class ConfigCommand:
    """The verb `config`."""

    description = "say which clusters --nodes asks, and how (talosconfig)"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's actions."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="contexts|use|merge|endpoint|node")
        actions.add_parser("contexts", description="List the clusters that are known, and the one in use.")
        use = actions.add_parser("use", description="Choose the cluster that --nodes asks.")
        use.add_argument("name", metavar="CONTEXT")
        merge = actions.add_parser("merge", description="Take over the contexts of another file.")
        merge.add_argument("file", metavar="FILE")
        for name, help in (
            ("endpoint", "Set where to connect: the addresses of nodes, control planes first."),
            ("node", "Set the nodes to ask where --nodes names none."),
        ):
            action = actions.add_parser(name, description=help)
            action.add_argument("addresses", metavar="ADDRESS", nargs="*")

    def run(self, options: argparse.Namespace) -> int:
        """Show or change the file; returns the exit status. Raises CommandError."""
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    path = config_path()
    name = options.context or ""
    try:
        config = read_config(path)
        match options.action:
            case "contexts":
                sys.stdout.write(_contexts(config))
                return 0
            case "use":
                changed, said = config.using(options.name), f"the context in use is {options.name}"
            case "merge":
                changed, names = config.merged(_given(Path(options.file)))
                said = "".join(f"{old} is here as {new}\n" for old, new in names.items() if old != new)
                said += f"the context in use is {changed.context}"
            case "endpoint":
                changed = config.changed(name, endpoints=tuple(options.addresses))
                said = f"connects to {', '.join(options.addresses) or 'nothing'}"
            case _:
                changed = config.changed(name, nodes=tuple(options.addresses))
                said = f"asks {', '.join(options.addresses) or 'the node that it connects to'}"
        write_config(path, changed)
    except TalosConfigError as error:
        raise CommandError(str(error)) from error
    sys.stdout.write(f"{said} ({path})\n")
    return 0


def _given(path: Path) -> TalosConfig:
    if not path.exists():
        raise CommandError(f"{path}: there is no such file")
    return read_config(path)


def _contexts(config: TalosConfig) -> str:
    table = Table(["CURRENT", "NAME", "ENDPOINTS", "NODES"])
    for name, context in sorted(config.contexts.items()):
        mark = "*" if name == config.context else ""
        table.add([mark, name, ",".join(context.endpoints), ",".join(context.nodes)])
    return table.flush()


command = ConfigCommand()
