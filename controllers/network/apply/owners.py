"""Which of several specs decides about one object of the kernel, as when a link is configured by two of its names.

The highest layer decides, as it does where specs of one name are merged; within a layer the spec that has the link's
real name; of others the one whose id comes first.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from nodespan.controllers.common.disagreement import disagreements

S = TypeVar("S")
K = TypeVar("K", bound=Hashable)


@attrs.frozen(kw_only=True)
class Claim(Generic[S, K]):
    """A spec about an object. `link_name` is how it names the link, and `link` the link's real name."""

    id: str
    spec: S
    object: K
    link_name: str
    link: str


def overruled(claims: Iterable[Claim[Any, Any]], *, leave_out: Collection[str]) -> Mapping[str, str]:
    """The specs that do not decide, each with what it contradicts the one in that does, "" for nothing.

    A lower layer may say something else. `leave_out` are fields that decide nothing.
    """
    claims = tuple(claims)
    if len(claims) < 2:
        # As nearly always.
        return {}
    by_object: dict[Hashable, list[Claim[Any, Any]]] = {}
    for claim in claims:
        by_object.setdefault(claim.object, []).append(claim)
    found: dict[str, str] = {}
    for group in by_object.values():
        if len(group) > 1:
            owner, *others = sorted(group, key=_rank)
            found.update((other.id, _conflict(owner, other, leave_out)) for other in others)
    return found


def _rank(claim: Claim[Any, Any]) -> tuple[int, bool, str]:
    return (-claim.spec.layer.number, claim.link_name != claim.link, claim.id)


def _conflict(owner: Claim[Any, Any], other: Claim[Any, Any], leave_out: Collection[str]) -> str:
    if owner.spec.layer is not other.spec.layer:
        return ""
    differing = disagreements(owner.spec, other.spec, leave_out=leave_out)
    if not differing:
        return ""
    said = "; ".join(
        f"{each.field} is {each.one} at {owner.link_name}, and {each.other} at {other.link_name}" for each in differing
    )
    return (
        f"{owner.link_name} and {other.link_name} are one link, and configured differently: {said}. "
        f"That of {owner.link_name} is in effect ({owner.id}): keep one of the two"
    )
