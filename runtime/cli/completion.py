"""Shell completion: scripts that ask `nodespan __complete WORD...`, and the answers to that.

The last word is the one to be completed, possibly empty; candidates are printed a line each. A failure prints none.
"""

import contextlib
import sys
from typing import Any

from runtime.cli.client import ask
from runtime.cli.errors import CommandError
from runtime.paths import client_socket

_VERBS = ("agent", "completion", "get", "graph", "validate", "version")
_OUTPUTS = ("json", "jsonpath=", "table", "yaml")
_DRAWINGS = ("dot", "mermaid", "svg")
_SHELLS = ("bash", "fish", "zsh")
# Options that take a value, which is not a positional word.
_WITH_VALUE = ("-o", "--output", "-n", "--namespace", "-l", "--labels", "--socket", "--controllers", "--config")

_SCRIPTS = {
    "bash": """\
_nodespan() {
    local IFS=$'\\n'
    COMPREPLY=($(nodespan __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
_get_resources() {
    local IFS=$'\\n'
    COMPREPLY=($(nodespan __complete get "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    return 0
}
complete -F _nodespan nodespan
complete -F _get_resources get-resources
""",
    "zsh": """\
#compdef nodespan
_nodespan() {
    local -a candidates
    candidates=("${(@f)$(nodespan __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a candidates
}
compdef _nodespan nodespan
""",
    "fish": """\
complete -c nodespan -f -a '(nodespan __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def script(shell: str) -> str:
    """What the user's shell is to evaluate."""
    return _SCRIPTS[shell]


def complete(words: list[str]) -> int:
    """Print the candidates for the last of the words."""
    with contextlib.suppress(CommandError):  # no agent, no candidates: a shell has no use for a complaint
        for candidate in candidates(words, client_socket()):
            sys.stdout.write(candidate + "\n")
    return 0


def candidates(words: list[str], socket_path: str) -> list[str]:
    """What the last word may become, sorted. Raises CommandError if the agent cannot be asked."""
    *before, current = words or [""]
    namespace = ""
    positional: list[str] = []
    previous = ""
    for word in before:
        if previous == "--socket":
            socket_path = word
        if previous in ("-n", "--namespace"):
            namespace = word
        if previous not in _WITH_VALUE and not word.startswith("-"):
            positional.append(word)
        previous = word
    found = _possible(positional, previous, current, namespace, socket_path)
    return sorted(candidate for candidate in set(found) if candidate.startswith(current))


def _possible(
    positional: list[str], previous: str, current: str, namespace: str, socket_path: str
) -> tuple[str, ...] | list[str]:
    if not positional:
        return _VERBS
    verb, *rest = positional
    if previous in ("-o", "--output"):
        return _DRAWINGS if verb == "graph" else _OUTPUTS
    if verb == "completion":
        return _SHELLS
    if verb not in ("get", "g"):
        return ()
    if previous in ("-n", "--namespace"):
        return _ids(socket_path, "namespaces", "")
    if not rest:
        return _types(socket_path, with_aliases=bool(current))
    return _ids(socket_path, rest[0], namespace) if len(rest) == 1 else ()


def _list(socket_path: str, type: str, namespace: str) -> list[dict[str, Any]]:
    request: dict[str, Any] = {
        "call": "get",
        "type": type,
        "namespace": namespace,
        "id": None,
        "selectors": [],
        "form": "data",
    }
    return [answer["resource"] for answer in ask(socket_path, request) if "resource" in answer]


def _ids(socket_path: str, type: str, namespace: str) -> list[str]:
    return [resource["metadata"]["id"] for resource in _list(socket_path, type, namespace)]


def _types(socket_path: str, *, with_aliases: bool) -> list[str]:
    definitions = _list(socket_path, "resourcedefinitions", "")
    found = [resource["metadata"]["id"] for resource in definitions]
    if with_aliases:
        found += [alias for resource in definitions for alias in resource["spec"]["aliases"]]
    return found
