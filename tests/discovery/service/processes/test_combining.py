"""Metrics as the sum of what several processes counted."""

import json

from nodespan.discovery.service.processes.combining import combined, from_plain, to_plain
from nodespan.runtime.api.exposition import render
from nodespan.runtime.metrics import Family, Kind, Metric, Sample

CALLS = Metric(name="calls_total", text="Calls.", kind=Kind.COUNTER, labels=("method", "code"), series="2").by(
    {('a "quoted"\n\\name', "OK"): 2}
)
LIMIT = Metric(name="limit", text="The limit.", shared=True)(7)
BUILD = Metric(name="build_info", text="Versions.", kind=Kind.INFO, labels=("version",), series="1", shared=True)
TIMES = Metric(name="seconds", text="Durations.", kind=Kind.HISTOGRAM).histogram((), (1,), 0.5)
OPEN = Metric(name="open", text="Open.", labels=("kind",), series="2")


def test_gauges_of_several_processes_are_added_up_but_for_what_each_has_all_of() -> None:
    plain = json.loads(json.dumps(to_plain([OPEN.by({("a",): 3, ("b",): 1}), LIMIT, BUILD.by({("1",): 1})])))
    one = [OPEN.by({("a",): 2}), LIMIT, BUILD.by({("1",): 1})]
    total, limit, build = combined({0: one, 1: from_plain(plain)})
    assert [sample.value for sample in total.samples] == [5, 1]
    assert limit == LIMIT
    assert build.samples == (Sample(1, (("version", "1"),)),)
    assert combined({0: [], 1: []}) == []


def test_families_are_the_same_after_the_way_from_one_process_to_another() -> None:
    families: list[Family] = [CALLS, LIMIT, TIMES]
    assert from_plain(json.loads(json.dumps(to_plain(families)))) == families


def test_what_only_grows_does_so_for_each_process_however_many_answer() -> None:
    def shown(*places: int) -> set[str]:
        lines = render(combined({place: [CALLS, TIMES] for place in places})).decode().splitlines()
        return {line for line in lines if not line.startswith("#")}

    assert shown(0) == {
        r'calls_total{code="OK",method="a \"quoted\"\\n\\name",process="0"} 2.0',
        'seconds_bucket{le="+Inf",process="0"} 1.0',
        'seconds_count{process="0"} 1.0',
        'seconds_sum{process="0"} 0.5',
    }
    assert shown(0, 1) == shown(0) | {line.replace('process="0"', 'process="1"') for line in shown(0)}
