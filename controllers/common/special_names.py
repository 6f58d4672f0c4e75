"""Names that no member gets, however it calls itself: pure rules over text.

A member says what it is called, so a hostile one may choose a name that programs take for somebody else's. Three kinds
of names are kept from it:

    no host name            what is no label of letters, digits and hyphens, or what programs read as an address
    special on its own      names with a meaning on every machine: `localhost`, and those that programs look up by
                            themselves and trust the answer (`wpad`): not under the domain either, for search
                            domains lead there
    top-level domains       of them only the name under the domain, since the name alone is somebody else's
"""

import re

LONGEST_NAME = 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# What the C library's inet_aton reads as an address, or as a part of one.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SPECIAL = frozenset(
    (
        *("localhost", "localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "broadcasthost"),
        *("ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts", "loopback", "broadcast"),
        # Looked up by programs on their own account, which do as the answer says.
        *("wpad", "isatap", "autodiscover", "autoconfig", "use-application-dns"),
    )
)
# Top-level names with a meaning of their own (RFC 6761, 6762, 7686, 8375, 9476), and those without a country.
_TOP_LEVEL = frozenset(
    (
        *("local", "arpa", "onion", "invalid", "test", "example", "alt", "internal", "home", "corp", "mail", "lan"),
        *("com", "net", "org", "edu", "gov", "mil", "int", "info", "biz", "name", "pro", "aero", "coop", "museum"),
        *("jobs", "mobi", "travel", "tel", "cat", "asia", "post", "xxx", "app", "dev", "cloud", "zip", "new"),
    )
)
# Every country's; their operators, unlike others', may give the name alone an address.
_COUNTRY_CODES = (
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by "
    "bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj "
    "fk fm fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io "
    "iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg "
    "mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph "
    "pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st su sv sx "
    "sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt "
    "za zm zw "
)
_COUNTRIES = frozenset(_COUNTRY_CODES.split())
# Below a country's domain these are where its operator registers names for others: co.uk, com.au.
_REGISTRIES = frozenset(("ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ltd", "mil", "ne", "net", "or", "org"))
# No domain may be one of these, or below one: what is asked there has an answer elsewhere.
_FOREIGN = frozenset(("localhost", "local", "arpa", "onion", "invalid", "alt"))
# Domains with one label that are kept for the inside of networks.
_INSIDE = frozenset(("internal", "lan", "home", "corp", "test", "example"))


def is_label(text: str) -> bool:
    """Whether a text in lower case is one label of a host name, and no number."""
    return _LABEL.fullmatch(text) is not None and _NUMBER.fullmatch(text) is None


def is_special(label: str) -> bool:
    """Whether no member gets this label, not even under the domain."""
    return label in _SPECIAL


def is_top_level(label: str) -> bool:
    """Whether the label alone is a top-level domain, hence somebody else's name."""
    return label in _TOP_LEVEL or label in _COUNTRIES


def domain_fault(domain: str) -> str:
    """Why members cannot have names under this domain, "" if they can."""
    labels = domain.split(".")
    if domain != domain.lower() or not all(_LABEL.fullmatch(label) for label in labels):
        return "is not a domain in lower case"
    # Room for a label and the dot.
    if len(domain) > LONGEST_NAME - 64:
        return "is too long for names below it"
    if labels[-1] in _FOREIGN or _NUMBER.fullmatch(labels[-1]):
        return "is answered by other means than DNS"
    if len(labels) == 1 and domain not in _INSIDE:
        return "is a single label, which may be everybody's"
    if len(labels) == 2 and labels[1] in _COUNTRIES and labels[0] in _REGISTRIES:
        return "is a public suffix, below which names belong to others"
    return ""
