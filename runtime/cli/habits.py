"""Answers to the habits of other tools: their verbs, and flags that mean something else here, or stand elsewhere.

Installed packages know the tools that their users come from; each brings a `Habits` by the entry-point group
`nodespan.habits`. They are read only for a command line that is refused otherwise, so they cost nothing, and never
take a verb from a package.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

GROUP = "nodespan.habits"
# What no namespace is called: addresses, several names, names of hosts with a domain, ports.
_HOST = re.compile(r"[\d.]+|.*[,:].*|.+\.[A-Za-z]{2,}\.?|.+\.[a-z0-9-]+\.[a-z0-9-]+")


class Habits(NamedTuple):
    """What is typed elsewhere, and what to type here.

    `verbs` maps a verb, or a verb and its first argument, to the words that are run instead, or to a sentence. `flags`
    maps an option, or one with its value (`--mode=reboot`), to a sentence, `types` a type of resources in lower case.
    """

    verbs: Mapping[str, Sequence[str] | str]
    flags: Mapping[str, str]
    types: Mapping[str, str] = MappingProxyType({})


def load_habits() -> list[Habits]:
    """Those of all installed packages."""
    # Only for a mistake: the errors of plain commands must be as quick as the commands.
    from nodespan.runtime import installed

    points = sorted(installed.entry_points(GROUP), key=lambda point: point.name)
    return [entry_point.load() for entry_point in points]


def instead_of(verb: str, arguments: Sequence[str]) -> list[str] | str | None:
    """The command line to run instead of this one, a sentence about it, or None for what no tool has.

    The verb is one that there is not here, or the first argument is none of its actions.
    """
    for habits in load_habits():
        for typed, rest in (
            ((f"{verb} {arguments[0]}", arguments[1:]), (verb, arguments)) if arguments else ((verb, ()),)
        ):
            words = habits.verbs.get(typed)
            if isinstance(words, str):
                return words
            if words is not None:
                return [*words, *rest]
    return None


def advice_on(arguments: Sequence[str]) -> str:
    """Sentences about the options among these arguments that other tools have; "" for none."""
    known = {flag: text for habits in load_habits() for flag, text in habits.flags.items()}
    options = [
        argument if argument in known else argument.partition("=")[0]
        for argument in arguments
        if argument.startswith("-")
    ]
    return "; ".join(f"{option}: {known[option]}" for option in dict.fromkeys(options) if option in known)


def advice_on_type(name: str) -> str:
    """A sentence about a type that other tools have; "" for none."""
    return next((text for habits in load_habits() if (text := habits.types.get(name.lower()))), "")


def looks_like_host(name: str) -> bool:
    """Whether a name given as a namespace is meant as a machine."""
    return _HOST.fullmatch(name) is not None


def explain_namespace(failure: str, namespace: str, verb: str) -> str:
    """The failure of a command whose namespace looks like a machine, with what to do."""
    if not looks_like_host(namespace):
        return failure
    return f"{failure}\n-n is a namespace here; other machines are asked so: nodespan --nodes {namespace} {verb} ..."


__all__ = [
    "GROUP",
    "Habits",
]
