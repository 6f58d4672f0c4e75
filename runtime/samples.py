"""Metrics as values: what a family of controllers contributes to the metrics of the agent, without their library."""

from collections.abc import Callable, Iterable, Mapping

import attrs

from nodespan.runtime.state import State


@attrs.frozen(kw_only=True)
class Samples:
    """One metric with its values, by the values of its labels. A counter only grows; its name ends in `_total`."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    values: Mapping[tuple[str, ...], float]
    is_counter: bool = False


# Called for each scrape: reads the state, must not wait.
Collect = Callable[[State], Iterable[Samples]]
# What the node still waits for, in words; nothing if it is ready.
Missing = Callable[[State], Iterable[str]]
