"""The token of a cloud's API: written in the configuration, or where that says it is.

`file:/etc/nodespan/hcloud.token` is the content of a file, `env:HCLOUD_TOKEN` a variable of the agent's environment;
both are read at each use, so that a token may be replaced. Anything else is the token: those of the clouds consist of
letters and digits. Errors never repeat one.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

_LONGEST = 4096
_TOKEN = re.compile(r"[!-~]+")
_OTHERS = 0o007


class TokenError(Exception):
    """There is no token; the text says why, and what to do."""


def read_token(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The token that a configuration gives. Blocks on the disk for one in a file. Raises TokenError."""
    source, _, name = text.partition(":")
    if source == "file" and name:
        token = _from_file(Path(name))
    elif source == "env" and name:
        token = environment.get(name, "").strip()
        if not token:
            raise TokenError(f"the agent's environment has no {name}, which apiToken names")
    else:
        token = text
    if not token:
        raise TokenError("there is no apiToken: write the token, file:PATH or env:NAME")
    if len(token) > _LONGEST or not _TOKEN.fullmatch(token):
        raise TokenError("the apiToken is no token: it has blanks, line breaks, or far too many characters")
    return token


def _from_file(path: Path) -> str:
    if not path.is_absolute():
        raise TokenError(f"{path}, which apiToken names, is not an absolute path")
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & _OTHERS:
                raise TokenError(f"{path} can be read by any user: chmod 0600 {path}")
            return stream.read(_LONGEST + 2).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise TokenError(f"{path}, which apiToken names, cannot be read: {error.strerror}") from error
