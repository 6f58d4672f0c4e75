"""What checks and archives for support look at: the agent, if there is one, and the files of the system."""

import argparse
from pathlib import Path
from typing import Any

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import socket_of
from nodespan.runtime.cli.overview.requests import get_request
from nodespan.runtime.cli.version import own_version
from nodespan.runtime.overview.check import Surroundings
from nodespan.runtime.paths import default_state_dir


def surroundings_of(options: argparse.Namespace) -> Surroundings:
    """The surroundings that the options of a verb name. That no agent answers is no error here."""
    try:
        socket_path = socket_of(options)
        agent, error = ask(socket_path, {"call": "version"})[0], ""
    except CommandError as failure:
        agent, error = None, str(failure)

    def resources(type: str) -> list[dict[str, Any]]:
        if agent is None:
            return []
        try:
            return [answer["resource"] for answer in ask(socket_path, get_request(type)) if "resource" in answer]
        except CommandError:
            return []  # a type that this agent does not have, or does not show to this user

    return Surroundings(
        state_dir=Path(options.state_dir or default_state_dir()),
        config=tuple(map(Path, options.config)),
        agent=agent,
        agent_error=error,
        resources=resources,
        version=own_version(),
    )
