"""Metrics as values: what is measured, how, and by whom, without a library.

A `Metric` is a declaration; docs/metrics.md is made from all of them. A `Family` is a metric with its values at one
moment. A `MetricSource` is what a family of controllers, or a package, adds to the metrics of the agent by
`Settings.publish`. The text of a scrape is made by `runtime/api/exposition.py`,
which only an agent that serves metrics loads.
"""

from nodespan.runtime.metrics.metric import Family, Kind, Labels, Metric, MetricSource, Missing, Sample

__all__ = [
    "Family",
    "Kind",
    "Labels",
    "Metric",
    "MetricSource",
    "Missing",
    "Sample",
]
