"""English plurals, as far as type names need them: whether a name is one, and the singular that is shown for it.

The rules are those the ecosystem's names were chosen by, mistakes included: a cleverer rule would show other names and
aliases than everybody else does (`Caches` reads `Cach`, `DNS` reads `DN`).
"""

import re

# Words that follow no rule. They count only as the whole name: `Feet` is a plural, `NodeFeet` is not.
_IRREGULAR = {
    "anathema": "anathemata",
    "axe": "axes",
    "canvas": "canvases",
    "carve": "carves",
    "die": "dice",
    "dingo": "dingoes",
    "dogma": "dogmata",
    "eave": "eaves",
    "echo": "echoes",
    "foot": "feet",
    "genus": "genera",
    "goose": "geese",
    "groove": "grooves",
    "human": "humans",
    "lemma": "lemmata",
    "ox": "oxen",
    "passerby": "passersby",
    "pickaxe": "pickaxes",
    "proof": "proofs",
    "quiz": "quizzes",
    "schema": "schemata",
    "stigma": "stigmata",
    "stoma": "stomata",
    "thief": "thieves",
    "tooth": "teeth",
    "tornado": "tornadoes",
    "torpedo": "torpedoes",
    "valve": "valves",
    "viscus": "viscera",
    "volcano": "volcanoes",
    "yes": "yeses",
}
_IRREGULAR_PLURALS = {plural: one for one, plural in _IRREGULAR.items()}

# Both forms are the same; again only as the whole name.
_UNCOUNTABLE = frozenset(
    """
    advice agenda aid aircraft analytics athletics audio cash chassis clothing commerce cooperation corps debris
    energy equipment expertise firmware fun garbage graffiti hardware headquarters health homework information
    justice literature machinery mail media music news personnel plankton police pollution premises rain research
    rice salmon series sewage shambles software species staff tennis traffic transportation trout tuna wealth welfare
    wildlife
    """.split()  # noqa: SIM905  a column of quoted words would be ten times as long
)
_UNCOUNTABLE_ENDING = re.compile(r"(?:fish|deer|sheep|pox|measles|[^aeiou]ese|o[iu]s)$", re.IGNORECASE)

# Families of words that change their ending: stems, ending of one, ending of many.
_FAMILIES = (
    (r"m", "an", "en"),
    (r"child", "", "ren"),
    (r"pe", "rson", "ople"),
    (r"eau", "", "x"),
    (r"cod|ind|mur|sil|vert", "ex", "ices"),
    (r"append|matr", "ix", "ices"),
    (r"alg|alumn|vertebr", "a", "ae"),
    (r"apheli|asyndet|automat|criteri|hedr|hyperbat|noumen|organ|periheli|phenomen|prolegomen", "on", "a"),
    (
        r"addend|agend|bacteri|candelabr|curricul|dat|desiderat|errat|extrem|millenni|ov|quor|strat|symposi",
        "um",
        "a",
    ),
    (r"alumn|bacill|cact|foc|fung|loc|nucle|radi|stimul|strat|syllab|termin|uter|vir", "us", "i"),
    (r"analy|cri|diagno|empha|ne|parenthe|progno|synop|the", "sis", "ses"),
    (r"cherub|seraph", "", "im"),
    (r"\b(?:tit)?m|\bl", "ouse", "ice"),
)

# How a singular is made, most specific first: pattern and replacement.
_TO_SINGULAR = tuple(
    (re.compile(pattern + "$", re.IGNORECASE), replacement)
    for pattern, replacement in (
        *((rf"({stems})(?:{one}|{many})", rf"\g<1>{one}") for stems, one, many in _FAMILIES),
        (r"(test)(?:is|es)", r"\1is"),
        (r"(movie|twelve|abuse|e[mn]u)s", r"\1"),
        (r"(x|ch|ss|sh|zz|tto|go|cho|alias|[^aou]us|t[lm]as|gas|(?:her|at|gr)o|[aeiou]ris)(?:es)?", r"\1"),
        (r"\b(mon|smil)ies", r"\1ey"),
        (
            r"\b(l|(?:aun|cross|hog|neck)?t|(?:pork)?p|calor|charl|coll|cut|faer|food|gen|goon|group|hipp|junk|vegg)ies",
            r"\1ie",
        ),
        (r"(ch|ck|dg|ec|is|ix|lk|mb|oal|ois|ok|ss|sser|th|ts|wb|wn)ies", r"\1ie"),
        (r"ies", r"y"),
        (r"(ar|(?:wo|[ae])l|[eo][ao])ves", r"\1f"),
        (r"(wi|kni|(?:\b|after|half|high|low|mid|night|non)li)ves", r"\1fe"),
        (r"ss", r"ss"),
        (r"s", r""),
    )
)

# Many without an s at the end, and one with it.
_MANY_WITHOUT_S = re.compile(
    "(?:" + "|".join(rf"(?:{stems}){many}" for stems, _, many in _FAMILIES if not many.endswith("s")) + ")$"
)
_ONE_WITH_S = re.compile(r"(?:ss|sis|(?:ax|test)is|ris|alias|gas|t[lm]as|[^aou](?<!e[mn])us)$")


def is_plural(word: str) -> bool:
    """Whether a name counts as an English plural, whatever its case. Words without a plural of their own do."""
    word = word.lower()
    if word in _IRREGULAR:
        return False
    if word in _IRREGULAR_PLURALS or word in _UNCOUNTABLE:
        return True
    if _UNCOUNTABLE_ENDING.search(word) or _MANY_WITHOUT_S.search(word):
        return True
    return word.endswith("s") and not _ONE_WITH_S.search(word)


def singular(word: str) -> str:
    """The singular of a name; the case of what is replaced stays: `LinkStatuses` → `LinkStatus`, `DATA` → `DATUM`."""
    lower = word.lower()
    if lower in _IRREGULAR or lower in _UNCOUNTABLE or _UNCOUNTABLE_ENDING.search(word):
        return word
    if lower in _IRREGULAR_PLURALS:
        return _with_case_of(word, _IRREGULAR_PLURALS[lower])
    for pattern, replacement in _TO_SINGULAR:
        if match := pattern.search(word):
            return word[: match.start()] + _with_case_of(match.group(), match.expand(replacement))
    return word


def _with_case_of(original: str, new: str) -> str:
    if new == original:
        return new
    if original.isupper():
        return new.upper()
    return new.capitalize() if original[:1].isupper() else new.lower()
