"""The metrics of several processes as one, and on their way from one process to another."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from nodespan.runtime.metrics import Family, Kind, Labels, Metric, Sample

# Metrics of which a sum, or the greatest, of several processes means something.
_ADDED_UP = (Kind.GAUGE, Kind.INFO)


def combined(parts: Mapping[int, Iterable[Family]]) -> list[Family]:
    """One family of each name, from processes by number: gauges are the sums, or the greatest where each has all.

    What only grows has the process as a label instead: a sum would fall when one starts again, or does not answer.
    """
    first: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    for place, families in sorted(parts.items()):
        own = (("process", str(place)),)
        for family in families:
            metric = family.metric
            first.setdefault(metric.name, metric)
            known = values.setdefault(metric.name, {})
            for sample in family.samples:
                labels = sample.labels if metric.kind in _ADDED_UP else sample.labels + own
                before = known.get((sample.suffix, labels), 0.0)
                both = max(before, sample.value) if metric.shared else before + sample.value
                known[sample.suffix, labels] = both
    return [
        Family(metric, tuple(Sample(value, labels, suffix) for (suffix, labels), value in values[name].items()))
        for name, metric in first.items()
    ]


def to_plain(families: Iterable[Family]) -> list[object]:
    """As plain data, for another process."""
    return [(attrs.astuple(family.metric), family.samples) for family in families]


def from_plain(plain: Iterable[Any]) -> list[Family]:
    """The inverse of `to_plain`, also after JSON or msgpack made lists of the tuples."""
    families = []
    for (name, text, kind, labels, series, remedy, shared), samples in plain:
        metric = Metric(
            name=name,
            text=text,
            kind=Kind(kind),
            labels=tuple(labels),
            series=series,
            remedy=remedy,
            shared=shared,
        )
        made = (Sample(value, tuple((key, label) for key, label in pairs), suffix) for value, pairs, suffix in samples)
        families.append(Family(metric, tuple(made)))
    return families
