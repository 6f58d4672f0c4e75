"""Metrics as text, and as the sum of what several processes counted."""

import json

from nodespan.discovery.service.exposition import Family, Sample, combined, from_plain, render, to_plain

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


def test_gauges_of_several_processes_are_added_up_but_for_what_each_has_all_of() -> None:
    one = Family("open", "gauge", "Open.", (Sample(2, (("kind", "a"),)),))
    other = Family("open", "gauge", "Open.", (Sample(3, (("kind", "a"),)), Sample(1, (("kind", "b"),))))
    plain = json.loads(json.dumps(to_plain([other, LIMIT])))
    total, limit = combined({0: [one, LIMIT], 1: from_plain(plain)})
    assert [sample.value for sample in total.samples] == [5, 1]
    assert limit == LIMIT
    assert combined({0: [], 1: []}) == []


def test_what_only_grows_does_so_for_each_process_however_many_answer() -> None:
    def shown(*places: int) -> set[str]:
        lines = render(combined({place: [CALLS, TIMES] for place in places})).decode().splitlines()
        return {line for line in lines if not line.startswith("#")}

    assert shown(0) == {
        r'calls_total{code="OK",method="a \"quoted\"\n\\name",process="0"} 2.0',
        'seconds_bucket{le="+Inf",process="0"} 1.0',
        'seconds_sum{process="0"} 0.5',
    }
    assert shown(0, 1) == shown(0) | shown(1)
