"""The `nodespan` command. It knows no resource type by name: the agent has their definitions.

Imports are most of the time that a short command takes, so each verb imports its own.
"""

import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] in (["get"], ["g"]):
        from nodespan.runtime.cli.quick_table import print_table

        status = print_table(given[1:])
        if status is not None:
            if arguments is None:
                # The end of the program. All is written, and what Python would take down is nothing but memory: a tenth
                # of the whole command.
                os._exit(status)
            return status
    from nodespan.runtime.cli.command import run

    return run(given)


def get_resources() -> int:
    """`get-resources`: another name of `nodespan get`."""
    return main(["get", *sys.argv[1:]])
