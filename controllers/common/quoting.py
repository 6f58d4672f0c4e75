"""Values of a configuration in messages: on one line, not too long, and without the passwords of URLs."""

import json
import re

_USER_INFO = re.compile(r"(?<=://)[^\s/@\"']+(?=@)")
_LONGEST = 80


def mask_url(text: str) -> str:
    """The text without the passwords of the URLs in it."""
    return _USER_INFO.sub(lambda match: "*" * len(match[0]), text)


def quote(text: str) -> str:
    """A value in double quotes for a message: on one line, not too long, without passwords."""
    shown = mask_url(text)
    if len(shown) > _LONGEST:
        shown = shown[: _LONGEST - 1] + "…"
    return json.dumps(shown, ensure_ascii=False)
