"""What a metric is, its values at one moment, and who contributes metrics."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs

from nodespan.runtime.state.base import State

# Names and values, in the order of the declaration.
Labels = tuple[tuple[str, str], ...]
# Base units, which names of metrics end in.
_UNITS = ("seconds", "bytes", "ratio")


class Kind(enum.StrEnum):
    """How values behave: a counter only grows, an info is always 1 and says something by its labels."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Sample(NamedTuple):
    """A value; the suffix makes the name of the sample from that of the family."""

    value: float
    labels: Labels = ()
    suffix: str = ""


@attrs.frozen(kw_only=True)
class Metric:
    """A declaration.

    `name` is the one in queries, so a counter ends in `_total` and an info in `_info`; behind that it ends in its unit,
    if it has one. `text` says in a sentence what is measured, `remedy` what an operator does about it. `series` says
    how many series there are at most, and may be empty for a metric without labels. Of a `shared` metric each of
    several processes has all of it, so their values are not added up.
    """

    name: str
    text: str
    kind: Kind = Kind.GAUGE
    labels: tuple[str, ...] = ()
    series: str = ""
    remedy: str = ""
    shared: bool = False

    def __attrs_post_init__(self) -> None:
        ending = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind, "")
        if not self.name.endswith(ending) or (not ending and self.name.endswith(("_total", "_info"))):
            raise ValueError(f"{self.name}: the name of a {self.kind} {f'ends in {ending}' if ending else 'does not'}")
        if self.labels and not self.series:
            raise ValueError(f"{self.name}: say how many series its labels make")

    @property
    def base(self) -> str:
        """The name without what its kind adds."""
        match self.kind:
            case Kind.COUNTER:
                return self.name.removesuffix("_total")
            case Kind.INFO:
                return self.name.removesuffix("_info")
            case _:
                return self.name

    @property
    def unit(self) -> str:
        """`seconds`, `bytes`, or "" for a plain number."""
        last = self.base.rpartition("_")[2]
        return last if last in _UNITS else ""

    def __call__(self, value: float) -> "Family":
        """The metric, which has no labels, with its value."""
        return Family(self, (Sample(value),))

    def by(self, values: Mapping[tuple[str, ...], float]) -> "Family":
        """The metric with its values by the values of its labels."""
        return Family(
            self, tuple(Sample(value, tuple(zip(self.labels, key, strict=True))) for key, value in values.items())
        )

    def histogram(self, bounds: Sequence[float], counts: Sequence[int], total: float, labels: Labels = ()) -> "Family":
        """The metric with how many observations were at most each of the bounds, all of them last, and their sum."""
        limits = (*map(repr, bounds), "+Inf")
        buckets = (
            Sample(count, (*labels, ("le", limit)), "_bucket") for limit, count in zip(limits, counts, strict=True)
        )
        return Family(self, (*buckets, Sample(counts[-1], labels, "_count"), Sample(total, labels, "_sum")))


@attrs.frozen
class Family:
    """A metric with its values at one moment."""

    metric: Metric
    samples: tuple[Sample, ...]


@attrs.frozen(kw_only=True)
class MetricSource:
    """Metrics that belong together. `collect` is called for each scrape: it reads the state and must not wait.

    It returns at most one family of each of the `metrics`.
    """

    title: str
    metrics: tuple[Metric, ...]
    collect: Callable[[State], Iterable[Family]]


# What the node still waits for, in words; nothing if it is ready.
Missing = Callable[[State], Iterable[str]]
