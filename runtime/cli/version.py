"""`nodespan version`."""

import platform

from nodespan.runtime import installed
from nodespan.runtime.cli.client import AgentGoneError, ask


def own_version() -> str:
    """The version of the installed distribution."""
    return installed.version("nodespan")


def print_own() -> None:
    """Print the version of this command."""
    print("Client:")
    print(f"    Tag:      v{own_version()}")
    print(f"    Python:   {platform.python_version()}")
    print(f"    OS/Arch:  {platform.system().lower()}/{platform.machine()}")


def version(socket_path: str | None) -> int:
    """Print the version of this command and, given a socket, that of the agent."""
    print_own()
    if socket_path is None:
        return 0
    print("Server:")
    try:
        (answer,) = ask(socket_path, {"call": "version"})
    except AgentGoneError as error:
        print(f"    {error}")
        return 0
    print(f"    NODE:     {answer['node']}")
    print(f"    Tag:      v{answer['version']}")
    print(f"    PID:      {answer['pid']}")
    return 0
