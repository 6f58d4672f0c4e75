"""All rules together: those of the main document, those of each further document, and those between documents."""

from collections.abc import Iterator, Sequence

from nodespan.controllers.config.finding import Finding
from nodespan.controllers.config.rules.between import (
    check_conflicts,
    check_discovery_needs,
    check_encrypted_dns,
    check_members,
    check_probe_conditions,
    check_repeated,
    check_virtual_ips,
)
from nodespan.controllers.config.rules.documents import DOCUMENT_RULES
from nodespan.controllers.config.rules.entry import Entry
from nodespan.controllers.config.rules.firewall import check_firewall
from nodespan.controllers.config.rules.main import check_main
from nodespan.controllers.config.rules.one_link import check_one_link
from nodespan.controllers.config.rules.replaced import check_control_plane_kinds, check_replaced
from nodespan.controllers.config.rules.route_places import check_route_places
from nodespan.resources.config.main import MainDocument


def validate(entries: Sequence[Entry], *, are_all: bool = True) -> Iterator[tuple[int, Finding]]:
    """The findings of all rules, with the position of the document in `entries`.

    If these are not all documents, because others could not be read, each is checked by itself only.
    """
    for index, entry in enumerate(entries):
        if isinstance(entry.value, MainDocument):
            yield from ((index, finding) for finding in check_main(entry.value))
        elif entry.value is not None:
            yield from ((index, finding) for finding in DOCUMENT_RULES[type(entry.value)](entry.value))
    yield from check_repeated(entries)
    if not are_all:
        return
    yield from check_conflicts(entries)
    yield from check_members(entries)
    yield from check_one_link(entries)
    yield from check_virtual_ips(entries)
    yield from check_route_places(entries)
    yield from check_replaced(entries)
    yield from check_control_plane_kinds(entries)
    yield from check_encrypted_dns(entries)
    yield from check_probe_conditions(entries)
    yield from check_discovery_needs(entries)
    yield from check_firewall(entries)
