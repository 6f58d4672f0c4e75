"""Where the agent keeps its files and its socket.

Every start of the command line imports this module, so it imports next to nothing.
"""

import os

SYSTEM_STATE_DIR = "/var/lib/nodespan"
SYSTEM_SOCKET = "/run/nodespan/agent.sock"
# The sockets of agents that are addressed by name: several on one machine.
_NODES = "/run/nodespan/nodes"
_SOCKET = ".sock"
_LOCK = ".lock"


def default_state_dir() -> str:
    """$NODESPAN_STATE_DIR, else the system's directory for root and one below the home directory for others."""
    chosen = os.environ.get("NODESPAN_STATE_DIR")
    if chosen:
        return chosen
    if os.geteuid() == 0:
        return SYSTEM_STATE_DIR
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "nodespan")


def agent_socket() -> str:
    """Where an agent of this user listens: $NODESPAN_SOCKET, else the system's place for root, else the user's."""
    chosen = os.environ.get("NODESPAN_SOCKET")
    if chosen:
        return chosen
    if os.geteuid() == 0:
        return SYSTEM_SOCKET
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if runtime_dir:
        return os.path.join(runtime_dir, "nodespan", "agent.sock")
    return os.path.join(default_state_dir(), "agent.sock")


def client_socket() -> str:
    """Where a client looks for the agent: that of this user if there is one, else the system's."""
    own = agent_socket()
    if os.environ.get("NODESPAN_SOCKET") or os.path.exists(own):
        return own
    return SYSTEM_SOCKET


def node_socket(node: str) -> str:
    """Where the agent of this name listens."""
    return os.path.join(_NODES, f"{node}{_SOCKET}")


def known_nodes() -> list[str]:
    """The names of agents that run, or did: the lock of a socket stays for as long as there is the node."""
    try:
        files = os.listdir(_NODES)
    except (FileNotFoundError, PermissionError):
        return []
    return sorted({file.removesuffix(_LOCK).removesuffix(_SOCKET) for file in files})
