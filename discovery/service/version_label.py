"""The metrics label for a client's version."""

import re

# Digits only, so that clients cannot create an unlimited number of labels.
_VERSION = re.compile(r"(v[0-9]{1,2}\.[0-9]{1,2})\.[^-]*(-.*)?", re.DOTALL)


def version_label(version: str) -> str:
    """Major and minor version, `-pre` behind it where there is a suffix; `unknown` if it is not a version."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return "unknown"
    return found[1] + ("-pre" if found[2] else "")
