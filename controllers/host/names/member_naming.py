"""Which names the members of the cluster have: pure rules over what they announce.

Theory of operation. A member claims labels: the first label of its host name, and that of its node name. What follows
the first dot counts for nothing, for a member does not choose the domain that it is in. Per label there is one holder:

    of several claims           one by a host name comes before one by a node name, then the lowest node id, so that
                                every node decides alike, whatever it learnt first; before all of them comes what the
                                configuration of this node calls a static peer
    the holder                  answers to LABEL and LABEL.DOMAIN
    the others                  answer to LABEL-DIGITS and LABEL-DIGITS.DOMAIN, with digits that follow from the node
                                id, more of them if others claim that label
    a name that is taken        by /etc/hosts, a static host or this node, has no other meaning: only the rest is given
    a special name              is nobody's, see `special_names.py`

A name stands for addresses that can be the member's own. Loopback, multicast and link-local addresses are none of
its, nor are those of this node, to which a name of somebody else must not lead.
"""

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from nodespan.controllers.common.ip.notation import parse_ip
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.common.special_names import LONGEST_NAME, is_label, is_special, is_top_level
from nodespan.resources.cluster import AffiliateSpec, MemberNameSpec
from nodespan.resources.config import MachineConfigSpec
from nodespan.resources.config.nodespan import NameAddresses

# Seconds, as in the originals.
TTL = 10
# More addresses than that help nobody, and do not fit into an answer.
MOST_ADDRESSES = 16
_FEWEST_DIGITS = 8
LONGEST_LABEL = 63

_SHOWN = 3

# The addresses of names that are taken.
Taken = Mapping[str, Collection[str]]
# Of claims to one label the lowest has it: by how it is claimed, then by node id.
Rank = tuple[int, str]
BY_CONFIGURATION, BY_HOSTNAME, BY_NODENAME = range(3)


@attrs.frozen
class Policy:
    """What the configuration says of names."""

    is_enabled: bool = False
    domain: str = ""
    only_mesh: bool = False

    def names(self, label: str) -> tuple[str, ...]:
        """The names that a label gives, the canonical one last."""
        alone = () if is_top_level(label) else (label,)
        return (*alone, f"{label}.{self.domain}") if self.domain else alone


def policy_of(config: MachineConfigSpec) -> Policy:
    """The policy of a configuration."""
    settings = config.nodespan.names
    only_mesh = settings.addresses is NameAddresses.MESH
    return Policy(is_enabled=config.names_members, domain=settings.domain, only_mesh=only_mesh)


def label_of(name: str) -> str:
    """The label that a host name or node name claims, "" if it claims none."""
    first = name.partition(".")[0]
    # Some letters beyond ASCII have one of ASCII as their lower case.
    label = first.lower() if first.isascii() else ""
    return label if is_label(label) and not is_special(label) else ""


def labels_of(spec: AffiliateSpec) -> tuple[str, ...]:
    """The labels that a node claims; only members claim any."""
    if not spec.nodename:
        return ()
    return tuple(dict.fromkeys(label for name in (spec.hostname, spec.nodename) if (label := label_of(name))))


def name_fault(spec: AffiliateSpec) -> str:
    """Why a member has no name at all, "" if it has one."""
    if not spec.nodename or labels_of(spec):
        return ""
    label = (spec.hostname or spec.nodename).partition(".")[0]
    why = "which means something else on every machine" if is_special(label.lower()) else "which is not a host name"
    return f"the node {quote(spec.node_id)} calls itself {quote(label)}, {why}: it gets no name, rename it"


def usable_addresses(spec: AffiliateSpec, *, own: Collection[str] = (), only_mesh: bool = False) -> tuple[str, ...]:
    """The addresses that a name of the node may stand for, each in its usual form."""
    mesh = () if spec.kubespan is None or not spec.kubespan.address else (spec.kubespan.address,)
    given = mesh if only_mesh else (*mesh, *spec.addresses)
    found = dict.fromkeys(shown for text in given[: 4 * MOST_ADDRESSES] if (shown := _usable(text)))
    return tuple(shown for shown in found if shown not in own)[:MOST_ADDRESSES]


def _usable(text: str) -> str:
    address = parse_ip(text)
    if address is None or getattr(address, "ipv4_mapped", None) is not None or getattr(address, "scope_id", None):
        return ""
    is_local = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    # 0.0.0.0/8 is this machine to parts of the kernel.
    return "" if is_local or address.is_reserved or str(address).startswith("0.") else str(address)


@attrs.frozen
class Claim:
    """A member that claims a label. `is_own` is this node."""

    node_id: str
    addresses: tuple[str, ...]
    reverse_addresses: tuple[str, ...] = ()
    by_hostname: bool = True
    is_own: bool = False

    @property
    def rank(self) -> Rank:
        """Lower ranks come first."""
        return (BY_HOSTNAME if self.by_hostname else BY_NODENAME, self.node_id)


@attrs.frozen
class Names:
    """The names that a claim gives, and those that have another meaning on this machine."""

    specs: Mapping[str, MemberNameSpec] = attrs.field(factory=dict)
    refused: tuple[str, ...] = ()


def names_of(label: str, claim: Claim, policy: Policy, taken: Taken) -> Names:
    """The names of the claim that has a label."""
    if not policy.is_enabled:
        return Names()
    names = [name for name in policy.names(label) if len(name) <= LONGEST_NAME]
    given = [name for name in names if name not in taken]
    canonical = given[-1] if given else ""
    specs = {
        name: MemberNameSpec(
            addresses=claim.addresses,
            canonical_name=canonical,
            node_id=claim.node_id,
            ttl=TTL,
            reverse_addresses=claim.reverse_addresses if name == canonical and claim.by_hostname else (),
        )
        for name in (given if claim.addresses else ())
    }
    refused = () if claim.is_own else (name for name in names if name in taken)
    return Names(specs, tuple(name for name in refused if not set(taken[name]) & set(claim.addresses)))


def problem_of(label: str, count: int, named: Iterable[tuple[str, str]], refused: Sequence[str]) -> str:
    """What is wrong with a label that so many claim, "" for nothing. `named` are node ids and labels, in order."""
    said = []
    if count > 1 and (first := list(itertools.islice(named, 1 + _SHOWN))):
        (holder, _), *others = first
        shown = ", ".join(f"{quote(node_id)} as {name}" for node_id, name in others)
        more = f" and {count - 1 - len(others)} more" if count - 1 > len(others) else ""
        said.append(
            f"{count} nodes are called {label}: {quote(holder)} has the name, {shown}{more}: rename all but one"
        )
    if refused:
        said.append(f"{', '.join(refused)} has another meaning on this machine, by /etc/hosts or its configuration")
    return "; ".join(said)


def first_digits(node_id: str) -> str:
    """The digits by which a node is told apart from others of its label at first."""
    return _digits(node_id)[:_FEWEST_DIGITS]


def told_apart(label: str, node_id: str) -> Iterator[str]:
    """The labels by which a node may be told apart from others of its label, the one to be taken first first."""
    digits = _digits(node_id)
    for size in range(_FEWEST_DIGITS, len(digits) - 1, 4):
        text = f"{label[: LONGEST_LABEL - 1 - size].rstrip('-')}-{digits[:size]}"
        if is_label(text):
            yield text


def _digits(node_id: str) -> str:
    return hashlib.sha256(node_id.encode(errors="replace")).hexdigest()


def may_stem_from(label: str, origin: str) -> bool:
    """Whether nodes called `origin` may have to be told apart by this label, so that their names depend on it."""
    first, _, digits = label.rpartition("-")
    if not first or len(digits) < _FEWEST_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return False
    return origin == first or (origin.startswith(first) and len(origin) > LONGEST_LABEL - 1 - len(digits))


def canonical_addresses(addresses: Iterable[str]) -> frozenset[str]:
    """Addresses, with or without prefix length, in their usual form; what is none is left out."""
    found = (parse_ip(text.partition("/")[0]) for text in addresses)
    return frozenset(str(address) for address in found if address is not None)
