"""The text of a scrape: Prometheus' text format, or OpenMetrics for a client that prefers it.

The two differ little. OpenMetrics names the family of a counter without `_total`, knows units and infos, escapes
quotation marks in descriptions too, and ends with `# EOF`, by which a client sees that nothing was cut off.

What is shown is bounded, for labels are names that other nodes, services and users chose: a value has at most
`LONGEST_LABEL` characters, none of which a terminal would act on, and a metric at most `MOST_SERIES` series. What is
left out is counted.
"""

from collections.abc import Iterable
from math import isfinite, isnan

import trio

from nodespan.runtime.api.pages import Page
from nodespan.runtime.metrics.metric import Family, Kind, Labels, Metric
from nodespan.runtime.text.escaping import bounded

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
LONGEST_LABEL = 128
MOST_SERIES = 10_000
LEFT_OUT = Metric(
    name="nodespan_metrics_left_out_series",
    text="Series that this scrape does not show, because there were too many or because their labels look the same.",
    labels=("metric",),
    series="one for each metric that is not complete",
    remedy="scrape fewer things by one node, or drop the metric; the numbers in the metric are incomplete",
)


async def scraped(families: Iterable[Family], accept: str = "") -> Page:
    """The page for a scrape whose header `accept` is this. Other tasks run between two families."""
    is_open = _prefers_open_metrics(accept)
    text = _Text(open_metrics=is_open)
    for family in families:
        text.add(family)
        await trio.lowlevel.checkpoint()
    content_type = OPEN_METRICS if is_open else TEXT
    return Page(content_type=content_type, body=text.finished(), headers=(("vary", "accept"),))


def render(families: Iterable[Family], *, open_metrics: bool = False) -> bytes:
    """The text."""
    text = _Text(open_metrics=open_metrics)
    for family in families:
        text.add(family)
    return text.finished()


class _Text:
    """A text that grows by families."""

    def __init__(self, *, open_metrics: bool) -> None:
        self._head = _open_metrics_head if open_metrics else _text_head
        self._end = "# EOF\n" if open_metrics else ""
        self._parts: list[str] = []
        self._left_out: dict[tuple[str, ...], float] = {}
        # The metrics of one peer have the same labels.
        self._braces: dict[Labels, str] = {}

    def add(self, family: Family) -> None:
        """Add a family."""
        metric = family.metric
        shown, hidden = self._histogram(family) if metric.kind is Kind.HISTOGRAM else self._plain(family)
        if hidden:
            self._left_out[metric.name,] = hidden
        self._parts += (self._head(metric), *shown)

    def finished(self) -> bytes:
        """All of it."""
        if self._left_out:
            self.add(LEFT_OUT.by(self._left_out))
        return "".join([*self._parts, self._end]).encode()

    def _plain(self, family: Family) -> tuple[Iterable[str], int]:
        """The lines of a family, and how many of its series are left out."""
        name = family.metric.name
        lines: dict[str, str] = {}
        for sample in family.samples:
            braces = self._in_braces(sample.labels)
            if braces not in lines:
                lines[braces] = f"{name}{braces} {_number(sample.value)}\n"
        shown: Iterable[str] = lines.values()
        if len(lines) > MOST_SERIES:
            # Always the same ones, so that what is shown has no gaps.
            shown = [lines[braces] for braces in sorted(lines)[:MOST_SERIES]]
        return shown, len(family.samples) - min(len(lines), MOST_SERIES)

    def _histogram(self, family: Family) -> tuple[Iterable[str], int]:
        """The same for a histogram, of which a series is all samples that differ in suffix and bound only."""
        name = family.metric.name
        series: dict[str, list[str]] = {}
        for sample in family.samples:
            group = self._in_braces(tuple(pair for pair in sample.labels if pair[0] != "le"))
            line = f"{name}{sample.suffix}{self._in_braces(sample.labels)} {_number(sample.value)}\n"
            series.setdefault(group, []).append(line)
        kept = list(series) if len(series) <= MOST_SERIES else sorted(series)[:MOST_SERIES]
        return [line for group in kept for line in series[group]], len(series) - len(kept)

    def _in_braces(self, labels: Labels) -> str:
        known = self._braces.get(labels)
        if known is None:
            pairs = ",".join(f'{key}="{_escaped(bounded(value, LONGEST_LABEL))}"' for key, value in sorted(labels))
            known = self._braces[labels] = f"{{{pairs}}}" if pairs else ""
        return known


def _text_head(metric: Metric) -> str:
    kind = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
    return f"# HELP {metric.name} {_escaped_text(metric.text)}\n# TYPE {metric.name} {kind}\n"


def _open_metrics_head(metric: Metric) -> str:
    unit = f"# UNIT {metric.base} {metric.unit}\n" if metric.unit else ""
    return f"# TYPE {metric.base} {metric.kind}\n{unit}# HELP {metric.base} {_escaped(metric.text)}\n"


def _number(value: float) -> str:
    if isfinite(value):
        return repr(float(value))
    return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escaped(value: str) -> str:
    return _escaped_text(value).replace('"', r"\"")


def _escaped_text(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _prefers_open_metrics(accept: str) -> bool:
    """Whether a client that sends this header wants OpenMetrics more than it wants text."""
    wanted = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for offer in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        fields = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind == "application/openmetrics-text" and fields.get("version", "1.0.0") != "1.0.0":
            continue
        if kind in wanted:
            wanted[kind] = max(wanted[kind], _quality(fields.get("q", "1")))
    return wanted["application/openmetrics-text"] > wanted["text/plain"]


def _quality(text: str) -> float:
    """A weight of RFC 9110; 0, which is "not at all", for what is none."""
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
