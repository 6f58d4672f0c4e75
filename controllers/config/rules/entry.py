"""A document of the stream, as the rules between documents see it."""

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Entry:
    """One document of the stream. `kind` is "" for the main document; value None stands for one that is not managed.

    `given` are the keys with a value, of the main document down to a few levels: `machine.network.hostname`.
    """

    api_version: str = ""
    kind: str = ""
    name: str = ""
    value: Any = None
    given: frozenset[str] = frozenset()
