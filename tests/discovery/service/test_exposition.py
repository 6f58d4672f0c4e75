"""Metrics as text, and as the sum of what several processes counted."""

import json

from nodespan.discovery.service.exposition import Family, Sample, from_plain, render, summed, to_plain

CALLS = Family("calls", "counter", "Calls.", (Sample(2, (("method", 'a "quoted"\n\\name'), ("code", "OK"))),))
LIMIT = Family("limit", "gauge", "The limit.", (Sample(7),), shared=True)
TIMES = Family("seconds", "histogram", "Durations.", (Sample(1, (("le", "+Inf"),), "_bucket"), Sample(0.5, (), "_sum")))


def test_the_text_has_names_by_kind_and_escaped_labels() -> None:
    assert render([CALLS, LIMIT, TIMES]).decode().splitlines() == [
        "# HELP calls_total Calls.",
        "# TYPE calls_total counter",
        r'calls_total{code="OK",method="a \"quoted\"\n\\name"} 2.0',
        "# HELP limit The limit.",
        "# TYPE limit gauge",
        "limit 7.0",
        "# HELP seconds Durations.",
        "# TYPE seconds histogram",
        'seconds_bucket{le="+Inf"} 1.0',
        "seconds_sum 0.5",
    ]


def test_several_processes_are_added_up_but_for_what_each_has_all_of() -> None:
    other = Family("calls", "counter", "Calls.", (Sample(3, CALLS.samples[0].labels), Sample(1, (("code", "NO"),))))
    plain = json.loads(json.dumps(to_plain([other, LIMIT])))
    total, limit, times = summed([[CALLS, LIMIT, TIMES], from_plain(plain)])
    assert [sample.value for sample in total.samples] == [5, 1]
    assert limit == LIMIT
    assert times == TIMES
    assert summed([[], []]) == []
