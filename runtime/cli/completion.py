"""Shell completion: scripts that run `nodespan __complete WORD...`, and that command.

The last word is the one to be completed, possibly empty; candidates are printed a line each. A failure prints none.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, cast

from nodespan.runtime.cli import arguments
from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.paths import client_socket, known_nodes, node_socket

_OUTPUTS = ("custom-columns=", "json", "jsonpath=", "name", "table", "wide", "yaml")
# Of verbs that show something else than resources.
_TEXT_OUTPUTS = ("json", "text", "yaml")
_RESOURCES = ("get", "g")
# The verbs for types that users write.
_WRITING = ("edit", "delete", "label")
# What stands for a path in the help.
_PATHS = ("FILE", "DIR", "PATH")

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
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=/] ]] && compopt -o nospace
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
    line = _Line(before)
    name, equals, value = current.partition("=")
    option = line.options().get(name) if equals and name.startswith("--") else None
    if option is not None:
        return [f"{name}={found}" for found in _matching(line.values(option, value, socket_path), value)]
    return _matching(line.found(current, socket_path), current)


def _matching(found: Iterable[str], current: str) -> list[str]:
    return sorted(candidate for candidate in set(found) if candidate.startswith(current))


class _Line:
    """The words before the one to complete, as the parsers of the command line understand them.

    argparse has no public way to look at the arguments of a parser: `_actions` is what its own help is made from.
    """

    def __init__(self, words: list[str]) -> None:
        if words[:1] == ["help"]:
            words = words[1:]
        self._parser: argparse.ArgumentParser | None = arguments.main_parser()
        self._verb = ""
        self._given: dict[str, str] = {}
        self._positional: list[str] = []
        # Its value is the word to complete.
        self._option: argparse.Action | None = None
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if self._option is not None:
            self._given[self._option.dest], self._option = word, None
        elif word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            option = self.options().get(name)
            if option is not None and option.nargs != 0:
                if equals:
                    self._given[option.dest] = value
                else:
                    self._option = option
        elif not self._verb:
            self._verb = word
            found = arguments.parser_of(word)
            self._parser = None if found is None else found[0]
        else:
            actions = self._actions_of_verb()
            self._positional.append(word)
            if actions is not None:
                self._parser, self._positional = actions.get(word), []

    def _actions(self) -> list[argparse.Action]:
        return [] if self._parser is None else self._parser._actions

    def _actions_of_verb(self) -> Mapping[str, argparse.ArgumentParser] | None:
        """The parsers of the verb's own verbs."""
        for action in self._actions():
            if isinstance(action, argparse._SubParsersAction):
                return cast("Mapping[str, argparse.ArgumentParser]", action.choices)
        return None

    def options(self) -> dict[str, argparse.Action]:
        """The options that may stand here, by their names."""
        return {name: action for action in self._actions() for name in action.option_strings}

    def found(self, current: str, socket_path: str) -> Iterable[str]:
        """What may stand here."""
        if self._option is not None:
            return self.values(self._option, current, socket_path)
        if current.startswith("-"):
            return [name for name in self.options() if name.startswith("--") or len(current) == 1]
        if not self._verb:
            return [*arguments.verbs(), "help"]
        positional = [action for action in self._actions() if not action.option_strings]
        if not positional:
            return ()
        number = len(self._positional)
        takes_more = positional[-1].nargs in ("*", "+")
        if number >= len(positional) and not takes_more:
            return ()
        return self.values(positional[min(number, len(positional) - 1)], current, socket_path)

    def values(self, action: argparse.Action, current: str, socket_path: str) -> Iterable[str]:
        """The values that an option or a positional argument may have."""
        if "node" in self._given:
            socket_path = node_socket(self._given["node"])
        socket_path = self._given.get("socket", socket_path)
        if action.choices is not None:
            return [str(choice) for choice in action.choices]
        match action.dest, self._positional:
            case "output", _ if action.metavar == "FORM":
                return _OUTPUTS if self._verb in _RESOURCES else _TEXT_OUTPUTS
            case "only", _ if self._verb == "doctor":
                return _checks()
            case "namespace", _:
                return _ids(socket_path, "namespaces", "")
            case "type", []:
                return _types(socket_path, with_aliases=bool(current), only_writable=self._verb in _WRITING)
            case (("id" | "ids"), [type, *_]):
                return _ids(socket_path, type, self._given.get("namespace", ""))
            case "node" | "station", _:
                return known_nodes()
        return _files(current) if action.metavar in _PATHS else ()


def _checks() -> Iterable[str]:
    from nodespan.runtime.overview.check import load_checks

    return [check.name for check in load_checks()[0]]


def _files(current: str) -> Iterable[str]:
    """The files that a beginning may become; directories end in a slash."""
    directory, begin = os.path.split(current)
    with contextlib.suppress(OSError):
        for entry in os.scandir(os.path.expanduser(directory) or "."):
            if entry.name.startswith(begin) and (begin.startswith(".") or not entry.name.startswith(".")):
                yield os.path.join(directory, entry.name) + ("/" if entry.is_dir() else "")


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


def _types(socket_path: str, *, with_aliases: bool, only_writable: bool) -> list[str]:
    definitions = _list(socket_path, "resourcedefinitions", "")
    if only_writable:
        definitions = [resource for resource in definitions if resource["spec"].get("writable")]
    found = [resource["metadata"]["id"] for resource in definitions]
    if with_aliases:
        for resource in definitions:
            spec = resource["spec"]
            found += [*spec["aliases"], spec["type"], spec["displayType"]]
    return found
