"""A document of the stream, as the rules between documents see it."""

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Entry:
    """One document of the stream. `kind` is "" for the main document; value None stands for one that is not managed."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    value: Any = None
