"""What rules are made of: a set of rules per family, and the checks that families share.

A rule is a generator over one document that yields a `Finding` for each mistake. To check a new kind of document, write
the rule in the module of its family, or in a new module that `documents.py` names:

    RULES = RuleSet()

    @RULES.document(MirrorConfig)
    def check_mirror(mirror: MirrorConfig) -> Iterator[Finding]:
        yield from required(mirror, ("name", mirror.name), ("link", mirror.link))
        if mirror.percent > 100:
            yield at("percent", message=f"{mirror.percent} is more than 100", hint="write 100 for everything")

A message says what is wrong, a hint what to write instead; `at` names the place by the keys of the YAML. Rules about
several documents are in `between.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from nodespan.controllers.common.ip.notation import parse_cidr
from nodespan.controllers.common.link_settings.link_names import NAME_HINT, link_name_fault
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, warn
from nodespan.controllers.config.notation import IP_HINT, is_ip, is_word
from nodespan.resources.network.link import IPV6_MINIMUM_MTU

F = TypeVar("F", bound=Callable[[Any], Iterator[Finding]])


class RuleSet:
    """The rules of a family, by the class of the document that each one checks."""

    def __init__(self) -> None:
        self.by_class: dict[type, Callable[[Any], Iterator[Finding]]] = {}

    def document(self, *classes: type) -> Callable[[F], F]:
        """Registers the decorated function as the rule for documents of these classes; each class has one rule."""

        def register(rule: F) -> F:
            for cls in classes:
                assert cls not in self.by_class, f"two rules for {cls.__name__}"
                self.by_class[cls] = rule
            return rule

        return register


def required(document: Any, *keys: tuple[str, object]) -> Iterator[Finding]:
    """The keys that the document needs, each with its value, which must not be empty."""
    for key, value in keys:
        if not value:
            yield at(key, message=f"{document.kind} needs {key}")


def check_ip_name(document: Any) -> Iterator[Finding]:
    """The name of a document that is named after an IP address."""
    if not is_ip(document.name):
        yield at("name", message=f"the name {quote(document.name)} must be an IP address", hint=IP_HINT)


def check_words(key: str, *texts: str, are_many: bool = False) -> Iterator[Finding]:
    """The text at a key, or the texts of the list there: words of files like /etc/hosts, in which others stand too."""
    for index, text in enumerate(texts):
        if not is_word(text):
            place = (key, index) if are_many else (key,)
            yield at(*place, message=f"{quote(text)} is not a name", hint="a name has no blanks, and no #")


def check_made_name(key: str, name: str) -> Iterator[Finding]:
    """The name, at this key, of a link that the configuration makes; an empty one is another rule's matter."""
    fault = link_name_fault(name) if name else ""
    if fault:
        yield at(key, message=f"the name {quote(name)} {fault}", hint=NAME_HINT)


def check_mtu(mtu: int, addresses: Iterable[str]) -> Iterator[Finding]:
    """The `mtu` of a link that is to have these addresses, 0 for the link's own. The originals take it, so it warns."""
    ipv6 = next((text for text in addresses if (parsed := parse_cidr(text)) is not None and parsed.version == 6), "")
    if ipv6 and 0 < mtu < IPV6_MINIMUM_MTU:
        message = f"IPv6 needs an MTU of {IPV6_MINIMUM_MTU}, so the link cannot have {quote(ipv6)}"
        yield warn("mtu", message=message, hint=f"write mtu: {IPV6_MINIMUM_MTU} or more")
