"""Metrics as values: families of samples, those of several processes as one, and the text that Prometheus reads.

The service counts too often for a library that locks, and every process of a service has a part of the truth.
"""

from collections.abc import Iterable, Iterator, Mapping

import attrs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


@attrs.frozen
class Sample:
    """A value; the suffix makes the name of the sample from that of the family."""

    value: float
    labels: Labels = ()
    suffix: str = ""


@attrs.frozen
class Family:
    """Samples under one name. `kind` is counter, gauge or histogram; of a `shared` one each process has all of it."""

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]
    shared: bool = False


def combined(parts: Mapping[int, Iterable[Family]]) -> list[Family]:
    """One family of each name, from processes by number: gauges are the sums, or the greatest where each has all.

    What only grows has the process as a label instead: a sum would fall when one starts again, or does not answer.
    """
    first: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    for place, families in sorted(parts.items()):
        own = (("process", str(place)),)
        for family in families:
            first.setdefault(family.name, family)
            known = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.suffix, sample.labels if family.kind == "gauge" else sample.labels + own)
                before = known.get(key, 0.0)
                known[key] = max(before, sample.value) if family.shared else before + sample.value
    return [
        attrs.evolve(
            family,
            samples=tuple(Sample(value, labels, suffix) for (suffix, labels), value in values[name].items()),
        )
        for name, family in first.items()
    ]


def to_plain(families: Iterable[Family]) -> list[object]:
    """As plain data, for another process."""
    return [attrs.astuple(family) for family in families]


def from_plain(plain: Iterable[Iterable[object]]) -> list[Family]:
    """The inverse of `to_plain`, also after JSON or msgpack made lists of the tuples."""
    families = []
    for name, kind, text, samples, shared in plain:
        made = tuple(
            Sample(value, tuple((str(key), str(label)) for key, label in labels), suffix)
            for value, labels, suffix in samples  # type: ignore[attr-defined]
        )
        families.append(Family(str(name), str(kind), str(text), made, bool(shared)))
    return families


def render(families: Iterable[Family]) -> bytes:
    """The text of a scrape."""
    return "".join(_lines(families)).encode()


def _lines(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        yield f"# HELP {name} {family.text}\n# TYPE {name} {family.kind}\n"
        for sample in family.samples:
            labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(sample.labels))
            braces = f"{{{labels}}}" if labels else ""
            yield f"{name}{sample.suffix}{braces} {float(sample.value)!r}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
