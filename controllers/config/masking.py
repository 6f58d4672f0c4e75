"""Masks secrets in lines of a configuration that messages show, even if the text is too broken to be parsed.

A secret is recognised by three signs: the name of its key, the shape of key material, and the place of a password
in a URL. Hidden characters become stars one by one, so that columns stay where they are. `masked_text` masks whole
texts, as their reader understands them.
"""

import re
from collections.abc import Sequence

from nodespan.controllers.common.quoting import mask_url

# Names whose value is never shown, in lower case; a similar name is taken for a misspelling.
_SECRET_NAMES = (
    "secret",
    "clustersecret",
    "privatekey",
    "presharedkey",
    "apitoken",
    "token",
    "password",
    "passphrase",
    "content",
    "contents",
    "certificates",
    "crt",
)
PUBLIC_KEY = "publickey"
_SECRET_ENDINGS = ("key", "secret", "token", "password", "passphrase")
# `name: `, and `"name":` with or without a blank after it, also if the quotes are escaped in another text. A quoted
# name has a bound, so that a line of nothing but quotes does not take time by the square of its length.
_KEY = re.compile(
    r"""(?P<before>^[ \t]*(?:-[ \t]+)*|[{,\[][ \t]*|(?<=\s))"""
    r"""(?:(?P<quote>\\?["'])(?P<quoted>(?:[^"'\\]|\\.){1,200}?)(?P=quote)[ \t]*:"""
    r"""|(?P<plain>[\w.-]+)[ \t]*:(?=[ \t"'{\[]|$))"""
)
# A key that is none for lack of a blank, in a text that cannot be parsed.
_TIGHT_KEY = re.compile(r"""^[ \t]*(?:-[ \t]+)*(?P<plain>[\w.-]+):(?=\S)""")
_FLOW_VALUE = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*"?|'[^']*'?|[\[{].*|[^,}\]]*)""")
# Key material on a line that cannot be parsed, and on one that can: there, names and paths are seldom that long.
_MATERIAL = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
LONG_MATERIAL = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
# No key of any configuration is as long as a line of a certificate.
LONGEST_KEY, _KEY_HEAD = 40, 8


def is_secret_name(name: str) -> bool:
    """Whether a key of this name, or of a name that was probably meant by it, holds a secret."""
    lower = name.lower()
    if lower == PUBLIC_KEY:
        return False
    if lower.endswith(_SECRET_ENDINGS):
        return True
    import difflib  # an agent without a configuration does without

    return bool(difflib.get_close_matches(lower, _SECRET_NAMES, n=1, cutoff=0.75))


def key_text(key: str) -> str:
    """A key to show; one that is too long for a key may be a piece of a secret that slipped out of its place."""
    return key if len(key) <= LONGEST_KEY else key[:_KEY_HEAD] + "…"


def mask_line(lines: Sequence[str], index: int, *, understood: bool, key_column: int | None = None) -> str:
    """Line `index` of a configuration with stars for its secrets; more of them if the text could not be understood.

    `key_column` (0-based) is where an unknown key is, whose value may be a secret.
    """
    line = lines[index]
    if _inside_secret(lines, index):
        return _stars(line, len(line) - len(line.lstrip()), len(line))
    keys = list(_KEY.finditer(line))
    masked = line
    if not (keys and understood):
        masked = _MATERIAL.sub(lambda match: "*" * len(match[0]), line)
    elif not any(_name(match).lower() == PUBLIC_KEY for match in keys):
        masked = LONG_MATERIAL.sub(lambda match: "*" * len(match[0]), line)
    for match in keys:
        group = "quoted" if match["quoted"] else "plain"
        if len(match[group]) > LONGEST_KEY:
            masked = _stars(masked, match.start(group), match.end(group))
        if _is_secret_key(match) or match.end("before") == key_column:
            flow = match["before"].strip()[:1] in {"{", ",", "["} and bool(match["before"].strip())
            value = _FLOW_VALUE.match(line, match.end()) if flow else None
            masked = _stars(masked, match.end(), value.end() if value else len(line))
    tight = None if understood else _TIGHT_KEY.match(line)
    if tight and is_secret_name(tight["plain"]):
        masked = _stars(masked, tight.end(), len(line))
    return mask_url(masked)


def _name(match: re.Match[str]) -> str:
    return match["quoted"] or match["plain"]


def _is_secret_key(match: re.Match[str]) -> bool:
    # A name with escapes may be any.
    return is_secret_name(_name(match)) or "\\" in (match["quoted"] or "")


def _stars(line: str, start: int, end: int) -> str:
    return line[:start] + re.sub(r"[^ \t]", "*", line[start:end]) + line[end:]


def _inside_secret(lines: Sequence[str], index: int) -> bool:
    """Whether the line belongs to the value of a secret key that stands further up, as those of a block text do.

    A line without a key of its own may belong to such a text, whatever its indentation is.
    """
    if not _says_something(lines[index]):
        before = next((line for line in reversed(lines[:index]) if _says_something(line)), "")
        if _names_secret(before):
            return True
    depth = _indent(lines[index])
    for line in reversed(lines[:index]):
        if depth == 0:
            return False
        if line.strip() and _indent(line) < depth:
            depth = _indent(line)
            if _names_secret(line):
                return True
    return False


def _names_secret(line: str) -> bool:
    return any(_is_secret_key(match) for match in _KEY.finditer(line))


def _says_something(line: str) -> bool:
    """Whether the line holds a key or is an item of a list."""
    return bool(_KEY.match(line)) or line.lstrip().startswith("- ")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
