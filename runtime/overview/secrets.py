"""Takes secrets out of what leaves the machine, in two ways that do not rely on each other.

By structure: of a resource whose type is sensitive no text is kept, wherever it stands, but what is plainly no secret:
addresses, times, and names of its own that are known from elsewhere; and of any resource nothing under a key that
sounds like a secret. By value: whatever was taken out so, is taken out of every other text too, where a log or an
error may repeat it; so are private keys in PEM and passwords in URLs.
"""

import base64
import ipaddress
import json
import re
import urllib.parse
from collections.abc import Collection, Iterable
from typing import Any

MASK = "(masked)"
# Names that end so hold secrets.
_ENDINGS = (
    r"(?:(?<!public)(?<!public_)key|secret|token|password|passwd|passphrase|psk|credentials?|cookie|authorization"
    r"|crt|certificates?|contents?)"
)
_NAMES = re.compile(rf"{_ENDINGS}$", re.IGNORECASE)
# What stands under these is one even if it is a word.
_WORDS_TOO = re.compile(r"(?:secret|password|passwd|passphrase|psk)$", re.IGNORECASE)
_PRIVATE_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_USER_INFO = re.compile(r"(?:(?<=://)|(?<=:\\/\\/))[^\s/@\"'\\]+(?=@)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}")
# `name=value`, `name: value`, `"name": "value"`, wherever it stands, and with backslashes before quotes in a text that
# was put into another one. Only the end of the name is looked at. A value in quotes ends at the next of their kind.
_INLINE = re.compile(
    rf"""(?P<head>(?P<name>{_ENDINGS})\\*["']?[ \t]*(?P<sign>[=:])[ \t]*)"""
    r"""(?:(?P<open>\\*["'])(?P<quoted>[^\n]*?)(?:(?<!\\)(?=(?P=open))|$)|(?P<value>[^\s"',;&}\]]+))""",
    re.IGNORECASE | re.MULTILINE,
)
_SHORTEST_WORD = 4
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}\S*")
# Shorter texts are words and numbers, which would be taken out of everything else.
_SHORTEST = 6
# A text without a digit or a capital may be a word: it counts as a secret of its own only if it is long, or stands
# under a key that says so.
_LONGEST_WORD = 20
_ASSIGNMENT = re.compile(r"""(?P<name>[\w.-]+)\\*["']?[ \t]*[:=][ \t]*(?P<value>\S[^\n]*)""")
_MATERIAL = re.compile(r"[A-Za-z0-9+/_-]{20,}={0,2}")
_WORD = re.compile(r"[a-z][a-z ._/-]*")


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret."""
    return bool(_NAMES.search(name))


class Scrubber:
    """Masks values and remembers them, then takes them out of texts."""

    def __init__(self, harmless: Iterable[str] = ()) -> None:
        self._harmless = frozenset(harmless)
        self._secrets: set[str] = set()

    def add(self, text: str) -> None:
        """Take this text out of all others, and so what looks like a secret in it."""
        text = text.strip()
        for match in _USER_INFO.finditer(text):
            self._add(match[0].partition(":")[2])
        for match in _INLINE.finditer(text):
            if _is_secret(match):
                self._add(_value(match))
        if len(text.splitlines()) > 1:
            for match in _ASSIGNMENT.finditer(text):
                if is_secret_name(match["name"]):
                    self._add(match["value"].strip("\"' \t,;"))
            for match in _MATERIAL.finditer(text):
                self._add(match[0])
            return
        self._add(text)
        if text.startswith(("{", "[")):
            # A document without a line's end.
            for match in _MATERIAL.finditer(text):
                self._add(match[0])
        _, equals, value = text.partition("=")
        value = value.strip()
        if equals and value and not _WORD.fullmatch(value):
            self._add(value)

    def _add(self, secret: str) -> None:
        if len(secret) < _SHORTEST or secret in self._harmless or is_harmless(secret):
            return
        # In any of the forms in which it may be repeated.
        self._secrets |= {secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")}
        self._secrets.add(base64.b64encode(secret.encode(errors="surrogatepass")).decode().rstrip("="))
        if decoded := _decoded(secret):
            self._secrets.add(decoded)

    def masked(self, value: Any, *, is_sensitive: bool, under: str = "") -> Any:
        """Plain data with secrets masked; `under` is the key that it stands under."""
        if isinstance(value, dict):
            return {
                key: self.masked(item, is_sensitive=is_sensitive or is_secret_name(key), under=key)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.masked(item, is_sensitive=is_sensitive, under=under) for item in value]
        if not isinstance(value, str) or not value:
            return value
        if is_secret_name(under):
            self.add(value)
            return MASK
        if is_sensitive and value not in self._harmless and not is_harmless(value):
            if len(value) > _LONGEST_WORD or not _WORD.fullmatch(value):
                self.add(value)
            return MASK
        return value

    def scrubbed(self, text: str) -> str:
        """The text without what was masked anywhere, private keys, and passwords of URLs."""
        text = _PRIVATE_PEM.sub(MASK, text)
        # The longest first: one may be a part of another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        text = _BEARER.sub(lambda match: f"{match[1]} {MASK}", text)
        text = _INLINE.sub(_masked_inline, text)
        return _USER_INFO.sub(MASK, text)


def _decoded(text: str) -> str:
    """What a text is in base64, if that is text too."""
    try:
        decoded = base64.b64decode(text, validate=True).decode("ascii")
    except ValueError:
        return ""
    return decoded if len(decoded) >= _SHORTEST and decoded.isprintable() else ""


def _value(match: re.Match[str]) -> str:
    return match["value"] if match["open"] is None else match["quoted"]


def _is_secret(match: re.Match[str]) -> bool:
    """Whether what stands under a name for a secret is one, and not a word of a sentence."""
    value = _value(match)
    if value == MASK or not value:
        return False
    is_quoted = match["open"] is not None
    # A sentence has no equals sign without a blank beside it.
    is_plain = not is_quoted and (match["sign"] == ":" or " " in match["head"] or "\t" in match["head"])
    if is_plain and len(value) < _SHORTEST_WORD:
        return False
    if _WORDS_TOO.fullmatch(match["name"]) or (match["name"].lower() == "token" and not is_plain):
        return True
    if _WORD.fullmatch(value):
        return len(value) > _LONGEST_WORD
    return is_quoted or len(value) >= _SHORTEST_WORD


def _masked_inline(match: re.Match[str]) -> str:
    return f"{match['head']}{match['open'] or ''}{MASK}" if _is_secret(match) else match[0]


def is_harmless(text: str) -> bool:
    """Whether a text is an address, a prefix, an endpoint or a time."""
    if _TIME.fullmatch(text):
        return True
    host, _, port = text.rpartition(":")
    candidates: Collection[str] = (text, host.strip("[]")) if port.isdecimal() else (text,)
    for candidate in candidates:
        try:
            ipaddress.ip_interface(candidate)
        except ValueError:
            continue
        return True
    return False
