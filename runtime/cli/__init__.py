"""The `nodespan` command. Knows no resource type by name: it asks the agent.

What is imported on the way to a table decides how long the shortest command takes, so each verb imports its own.
"""

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from nodespan.runtime.cli.command import run

    return run(sys.argv[1:] if arguments is None else arguments)


def get_resources() -> int:
    """`get-resources` is `nodespan get` under the name of its job."""
    return main(["get", *sys.argv[1:]])
