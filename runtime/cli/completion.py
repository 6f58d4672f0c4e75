"""Shell completion: scripts that run `nodespan __complete WORD...`, and that command.

The last word is the one to be completed, possibly empty; candidates are printed a line each. A failure prints none.
"""

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.paths import client_socket, node_socket

_VERBS = ("agent", "completion", "get", "graph", "validate", "version", "why")
_OUTPUTS = ("json", "jsonpath=", "table", "yaml")
_DRAWINGS = ("dot", "mermaid", "png", "svg")
_SHELLS = ("bash", "fish", "zsh")
# Options that take a value, which is not a positional word.
_OUTPUT = ("-o", "--output")
_NAMESPACE = ("-n", "--namespace")
_WITH_VALUE = (
    *(*_OUTPUT, *_NAMESPACE, "-l", "--labels", "--socket", "--controllers", "--config", "--state-dir"),
    *("--metrics", "--log-format", "--log-level", "--node", "--depth"),
)

_SCRIPTS = {
    "bash": """\
_nodespan() {
    # Bash has taken the line apart at colons and equals signs too, which ids are full of.
    local -a words
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ "${COMP_LINE:0:COMP_POINT}" == *[[:space:]] ]] && words+=("")
    [[ "${words[0]##*/}" == get-resources ]] && words=(nodespan get "${words[@]:1}")
    local current="${words[${#words[@]}-1]}"
    local taken="${current%"${current##*[:=]}"}"
    mapfile -t COMPREPLY < <(nodespan __complete "${words[@]:1}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
    COMPREPLY=("${COMPREPLY[@]#"$taken"}")
}
complete -F _nodespan nodespan get-resources
""",
    "zsh": """\
#compdef nodespan get-resources
_nodespan() {
    local -a typed candidates
    typed=("${(@)words[2,CURRENT]}")
    [[ ${words[1]:t} == get-resources ]] && typed=(get "${(@)typed}")
    candidates=(${(f)"$(nodespan __complete "${(@)typed}" 2>/dev/null)"})
    compadd -a candidates
}
compdef _nodespan nodespan get-resources
""",
    "fish": """\
complete -c nodespan -f -a '(nodespan __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
complete -c get-resources -f -a '(nodespan __complete get (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def script(shell: str) -> str:
    """The script for the user's shell to evaluate."""
    return _SCRIPTS[shell]


def complete(words: list[str]) -> int:
    """Print the candidates for the last of the words."""
    with contextlib.suppress(CommandError):  # a shell shows no errors here
        for candidate in candidates(words, client_socket()):
            sys.stdout.write(candidate + "\n")
    return 0


def candidates(words: list[str], socket_path: str) -> list[str]:
    """The completions of the last word, sorted. Raises CommandError if the agent cannot be reached."""
    *before, current = words or [""]
    given: dict[str, str] = {}
    positional: list[str] = []
    option = ""
    for word in before:
        if option:
            given[option], option = word, ""
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            if equals:
                given[name] = value
            elif name in _WITH_VALUE:
                option = name
        else:
            positional.append(word)
    if "--node" in given:
        socket_path = node_socket(given["--node"])
    socket_path = given.get("--socket", socket_path)
    if option:
        found = _values(option, positional, socket_path)
    else:
        namespace = next((given[name] for name in _NAMESPACE if name in given), "")
        found = _words(positional, current, namespace, socket_path)
    return sorted(candidate for candidate in set(found) if candidate.startswith(current))


def _values(option: str, positional: list[str], socket_path: str) -> Iterable[str]:
    if option in _OUTPUT:
        return _DRAWINGS if positional[:1] == ["graph"] else _OUTPUTS
    if option in _NAMESPACE:
        return _ids(socket_path, "namespaces", "")
    return ()


def _words(positional: list[str], current: str, namespace: str, socket_path: str) -> Iterable[str]:
    match positional:
        case []:
            from nodespan.runtime.cli import extension

            return (*_VERBS, *extension.names())
        case ["completion"]:
            return _SHELLS
        case ["get" | "g" | "why"]:
            return _types(socket_path, with_aliases=bool(current))
        case ["get" | "g" | "why", type]:
            return _ids(socket_path, type, namespace)
    return ()


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
