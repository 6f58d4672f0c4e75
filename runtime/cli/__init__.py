"""The `nodespan` command. It knows no resource type by name: the agent has their definitions.

Imports are most of the time that a short command takes, so each verb imports its own.
"""

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from nodespan.runtime.cli.command import run

    return run(sys.argv[1:] if arguments is None else arguments)


def get_resources() -> int:
    """`get-resources`: another name of `nodespan get`."""
    return main(["get", *sys.argv[1:]])
