"""The label under which a client's version is counted."""

import re

# The dots stand where those of versions do; digits only, so that nobody can make up labels without end.
_VERSION = re.compile(r"(v[0-9]{1,2}\.[0-9]{1,2})\.[^-]*(-.*)?", re.DOTALL)


def version_label(version: str) -> str:
    """Major and minor version, `-pre` behind it where there is a suffix; `unknown` for what is no version."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return "unknown"
    return found[1] + ("-pre" if found[2] else "")
