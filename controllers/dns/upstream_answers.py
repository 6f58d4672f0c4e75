"""What other servers answered, checked: only what was asked for is taken, and written anew.

A server may say anything, of any name. Of its answer these records are kept: those of the name that was asked for and
of the aliases that lead on from there, and, where there is nothing, the SOA record of a zone above, for it says how
long that holds. Records of other names, and additional ones, are dropped: nobody asked.

All of it is done between two checkpoints, so the work is bounded: by the number of records, which is looked at before
they are read, and by looking up each alias once.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

# dnspython asks importlib.metadata, a megabyte that nothing else needs, whether idna is installed. It is, for trio
# needs it. A dnspython that has no such function asks for itself.
with suppress(ImportError):
    from dns._features import force

    force("idna", enabled=True)

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.svcbbase
import dns.rrset

from nodespan.controllers.dns.cache import Answer
from nodespan.controllers.dns.queries import AUTHENTIC, LARGEST, Query, RCode
from nodespan.controllers.dns.rebinding import Rebinding

_MOST_ALIASES = 16
# In all sections together. Real answers have some ten; some services answer with a few hundred addresses.
_MOST_RECORDS = 1000
_HEADER_SIZE = 12
_FIXED = 10
# Where the header has the numbers of records.
_COUNTS = (6, 8, 10)
_PROOFS = (dns.rdatatype.NSEC, dns.rdatatype.NSEC3, dns.rdatatype.RRSIG)
# With addresses that clients connect to.
_WITH_HINTS = (dns.rdatatype.HTTPS, dns.rdatatype.SVCB)


class AnswerError(Exception):
    """What a server answered cannot be used; the text says why."""


def checked(query: Query, data: bytes, rebinding: Rebinding, *, asked_inside: bool, is_trusted: bool = False) -> Answer:
    """The answer in a message whose id and question are right. Raises AnswerError.

    `asked_inside` says whether the server is on a private network, `is_trusted` whether nobody on the way to it could
    claim that signatures were checked.
    """
    if sum(int.from_bytes(data[at : at + 2]) for at in _COUNTS) > _MOST_RECORDS:
        raise AnswerError(f"an answer of more than {_MOST_RECORDS} records")
    try:
        message = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError) as error:
        raise AnswerError("an answer that cannot be read") from error
    if not isinstance(message, dns.message.QueryMessage) or len(message.question) != 1:
        raise AnswerError("an answer to something else")
    rcode = int(message.rcode())
    if rcode not in (RCode.NOERROR, RCode.NXDOMAIN):
        return Answer(rcode=rcode if rcode in (RCode.SERVFAIL, RCode.REFUSED) else RCode.SERVFAIL)
    asked = message.question[0]
    final, answers = _of_chain(message, asked.name, asked.rdtype)
    permitted = list(_permitted(answers, rebinding, query.name, asked_inside=asked_inside))
    authorities = [] if any(rrset.rdtype == asked.rdtype for rrset in answers) else list(_denials(message, final))
    message.answer, message.authority, message.additional = permitted, authorities, []
    message.use_edns(None)
    message.flags &= dns.flags.AD if is_trusted else dns.flags.Flag(0)
    try:
        written = message.to_wire(max_size=LARGEST)
    except (dns.exception.DNSException, ValueError) as error:
        raise AnswerError("an answer that cannot be written again") from error
    return _answer(written, rcode, [*permitted, *authorities], len(query.question))


def _of_chain(
    message: dns.message.Message, name: dns.name.Name, type: dns.rdatatype.RdataType
) -> tuple[dns.name.Name, list[dns.rrset.RRset]]:
    """Where the aliases of a name end, and the records on the way there."""
    by_name: defaultdict[dns.name.Name, list[dns.rrset.RRset]] = defaultdict(list)
    for rrset in message.answer:
        if rrset.rdclass == dns.rdataclass.IN:
            by_name[rrset.name].append(rrset)
    delegations = {
        owner: covering
        for owner, rrsets in by_name.items()
        if (covering := [rrset for rrset in rrsets if rrset.rdtype == dns.rdatatype.DNAME])
    }
    found: list[dns.rrset.RRset] = []
    for _ in range(_MOST_ALIASES):
        for depth in range(len(name.labels) if delegations else 0):
            # Each once, however many of the aliases it covers.
            found += delegations.pop(name.split(depth)[1], ())
        here = by_name.get(name, [])
        wanted = [rrset for rrset in here if type in (rrset.rdtype, rrset.covers)]
        aliases = [rrset for rrset in here if dns.rdatatype.CNAME in (rrset.rdtype, rrset.covers)]
        targets = [rrset for rrset in aliases if rrset.rdtype == dns.rdatatype.CNAME]
        if wanted or not targets:
            return name, [*found, *wanted]
        found += aliases
        name = targets[0][0].target
    raise AnswerError("an answer whose aliases do not end")


def _permitted(
    answers: list[dns.rrset.RRset], rebinding: Rebinding, name: str, *, asked_inside: bool
) -> Iterator[dns.rrset.RRset]:
    for rrset in answers:
        if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            kept = [
                rdata
                for rdata in rrset
                if rebinding.permits(ipaddress.ip_address(rdata.address), name=name, asked_inside=asked_inside)
            ]
        elif rrset.rdtype in _WITH_HINTS:
            kept = [
                rdata
                for rdata in rrset
                if all(
                    rebinding.permits(ipaddress.ip_address(hint), name=name, asked_inside=asked_inside)
                    for hint in _hints(rdata)
                )
            ]
        else:
            kept = list(rrset)
        if kept:
            yield dns.rrset.from_rdata_list(rrset.name, rrset.ttl, kept)


def _hints(rdata: object) -> Iterator[str]:
    if isinstance(rdata, dns.rdtypes.svcbbase.SVCBBase):
        for param in rdata.params.values():
            if isinstance(param, dns.rdtypes.svcbbase.IPv4HintParam | dns.rdtypes.svcbbase.IPv6HintParam):
                yield from param.addresses


def _denials(message: dns.message.Message, name: dns.name.Name) -> Iterator[dns.rrset.RRset]:
    """What says that there is nothing, and for how long."""
    for rrset in message.authority:
        if rrset.rdclass != dns.rdataclass.IN:
            continue
        if rrset.rdtype == dns.rdatatype.SOA:
            if name.is_subdomain(rrset.name):
                rrset.ttl = min(rrset.ttl, rrset[0].minimum)
                yield rrset
        elif rrset.rdtype in _PROOFS:
            yield rrset


def _answer(written: bytes, rcode: int, rrsets: list[dns.rrset.RRset], question: int) -> Answer:
    """The answer as it is kept, from a message that was written here."""
    counts = int.from_bytes(written[6:8]), int.from_bytes(written[8:10])
    records = written[_HEADER_SIZE + question :]
    lifetimes: list[int] = []
    at = 0
    for _ in range(sum(counts)):
        at = _after_name(records, at)
        lifetimes.append(at + 4)
        at += _FIXED + int.from_bytes(records[at + 8 : at + 10])
    return Answer(
        rcode=rcode,
        is_authentic=bool(written[3] & AUTHENTIC),
        counts=counts,
        records=records,
        lifetimes=tuple(lifetimes),
        ttl=min((rrset.ttl for rrset in rrsets), default=0),
    )


def _after_name(records: bytes, at: int) -> int:
    while (size := records[at]) and size < 0xC0:
        at += 1 + size
    return at + (2 if size else 1)
