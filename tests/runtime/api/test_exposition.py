"""The text of a scrape: both formats, which one a client gets, and what is left out."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from nodespan.runtime.api import exposition
from nodespan.runtime.api.exposition import LONGEST_LABEL, OPEN_METRICS, TEXT, render, scraped
from nodespan.runtime.metrics import Family, Kind, Metric, Sample

CALLS = Metric(
    name="calls_total", text='The "calls".\nAll\\of them.', kind=Kind.COUNTER, labels=("method",), series="2"
)
SENT = Metric(name="sent_bytes_total", text="Bytes.", kind=Kind.COUNTER)
SINCE = Metric(name="since_timestamp_seconds", text="When.")
BUILD = Metric(name="build_info", text="Versions.", kind=Kind.INFO, labels=("version",), series="1")
TIMES = Metric(name="handling_seconds", text="Durations.", kind=Kind.HISTOGRAM)
OPEN = Metric(name="open", text="Open.", labels=("id", "kind"), series="many")
FAMILIES = [
    CALLS.by({('a"b\n\\c',): 2}),
    SENT(1 << 40),
    SINCE(1.7e9),
    BUILD.by({("1.2.3",): 1}),
    TIMES.histogram((0.5, 1.0), (1, 1, 3), 7.5),
    OPEN.by({}),
]


def test_the_text_format_has_names_by_kind_and_escaped_labels() -> None:
    assert render(FAMILIES).decode().splitlines() == [
        r'# HELP calls_total The "calls".\nAll\\of them.',
        "# TYPE calls_total counter",
        r'calls_total{method="a\"b\\n\\c"} 2.0',
        "# HELP sent_bytes_total Bytes.",
        "# TYPE sent_bytes_total counter",
        "sent_bytes_total 1099511627776.0",
        "# HELP since_timestamp_seconds When.",
        "# TYPE since_timestamp_seconds gauge",
        "since_timestamp_seconds 1700000000.0",
        "# HELP build_info Versions.",
        "# TYPE build_info gauge",
        'build_info{version="1.2.3"} 1.0',
        "# HELP handling_seconds Durations.",
        "# TYPE handling_seconds histogram",
        'handling_seconds_bucket{le="0.5"} 1.0',
        'handling_seconds_bucket{le="1.0"} 1.0',
        'handling_seconds_bucket{le="+Inf"} 3.0',
        "handling_seconds_count 3.0",
        "handling_seconds_sum 7.5",
        "# HELP open Open.",
        "# TYPE open gauge",
    ]


def test_open_metrics_names_families_without_what_the_kind_adds_and_has_units_and_an_end() -> None:
    lines = render(FAMILIES, open_metrics=True).decode().splitlines()
    assert lines[:6] == [
        "# TYPE calls counter",
        r"# HELP calls The \"calls\".\nAll\\of them.",
        r'calls_total{method="a\"b\\n\\c"} 2.0',
        "# TYPE sent_bytes counter",
        "# UNIT sent_bytes bytes",
        "# HELP sent_bytes Bytes.",
    ]
    assert "# TYPE build info" in lines
    assert lines[-1] == "# EOF"


def test_the_parsers_of_prometheus_own_library_read_both_formats_as_the_same() -> None:
    plain = list(parse_text(render(FAMILIES).decode()))
    text = render(FAMILIES, open_metrics=True).decode()
    open_metrics = list(parse_open_metrics(text))  # type: ignore[no-untyped-call]  # of theirs
    # The text format knows no infos and no units.
    assert [family.type for family in open_metrics] == ["counter", "counter", "gauge", "info", "histogram", "gauge"]
    assert [family.unit for family in open_metrics] == ["", "bytes", "seconds", "", "seconds", ""]
    assert [(each.name, each.labels, each.value) for family in plain for each in family.samples] == [
        (each.name, each.labels, each.value) for family in open_metrics for each in family.samples
    ]


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS, OPEN_METRICS),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPEN_METRICS),
        ("Application/OpenMetrics-Text", OPEN_METRICS),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=2.0.0, text/plain", TEXT),
        ("application/openmetrics-text;q=7", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml", TEXT),
        ("", TEXT),
        (";;,=,q=;,", TEXT),
    ],
)
async def test_a_client_gets_open_metrics_if_it_prefers_that(accept: str, content_type: str) -> None:
    page = await scraped(FAMILIES, accept)
    assert page.content_type == content_type
    assert page.body.endswith(b"# EOF\n") == (content_type == OPEN_METRICS)
    assert ("vary", "accept") in page.headers


def test_values_that_are_no_ordinary_numbers_have_the_spelling_of_the_format() -> None:
    numbers: tuple[float, ...] = (float("inf"), float("-inf"), float("nan"), True)
    values: dict[tuple[str, ...], float] = {(str(value), ""): value for value in numbers}
    lines = [line for line in render([OPEN.by(values)]).decode().splitlines() if not line.startswith("#")]
    assert [line.rpartition(" ")[2] for line in lines] == ["+Inf", "-Inf", "NaN", "1.0"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("edge-1", "edge-1"),
        ("\x1b[2J", r"\\x1b[2J"),
        ("a\u202eb", r"a\\u202eb"),
        ("\udc80", r"\\udc80"),
        ('"} 1\nother{x="', r"\"} 1\\nother{x=\""),
        ("x" * 1000, "x" * (LONGEST_LABEL - 3) + "..."),
        ("节点", "节点"),
    ],
    ids=["plain", "terminal", "direction", "no text", "injection", "long", "wide"],
)
def test_a_label_of_another_machine_is_bounded_and_escaped(value: str, shown: str) -> None:
    text = render([CALLS.by({(value,): 1})]).decode()
    assert text.splitlines()[2] == f'calls_total{{method="{shown}"}} 1.0'
    assert len(list(parse_text(text))) == 1


def test_series_that_would_look_the_same_are_shown_once_and_the_rest_counted() -> None:
    long = "x" * LONGEST_LABEL
    lines = render([CALLS.by({(f"{long}1",): 1, (f"{long}2",): 2, ("y",): 3})]).decode().splitlines()
    assert [line.rpartition(" ")[2] for line in lines if line.startswith("calls")] == ["1.0", "3.0"]
    assert lines[-1] == 'nodespan_metrics_left_out_series{metric="calls_total"} 1.0'


def test_of_too_many_series_always_the_same_are_shown_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_SERIES", 3)
    keys = [(str(number), "a") for number in (5, 1, 4, 2, 3)]
    for order in (keys, keys[::-1]):
        lines = render([OPEN.by(dict.fromkeys(order, 1))]).decode().splitlines()
        assert [line for line in lines if line.startswith("open")] == [
            f'open{{id="{number}",kind="a"}} 1.0' for number in (1, 2, 3)
        ]
        assert lines[-1] == 'nodespan_metrics_left_out_series{metric="open"} 2.0'
    assert b"left_out" not in render([OPEN.by(dict.fromkeys(keys[:3], 1))])


def test_a_histogram_of_several_methods_is_left_out_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_SERIES", 1)
    samples: tuple[Sample, ...] = ()
    for method in ("a", "b"):
        samples += TIMES.histogram((1.0,), (1, 2), 3, (("method", method),)).samples
    lines = render([Family(TIMES, samples)]).decode().splitlines()
    shown = [line for line in lines if line.startswith("handling")]
    assert len(shown) == 4
    assert all('method="a"' in line for line in shown)
    assert lines[-1].endswith(" 1.0")
