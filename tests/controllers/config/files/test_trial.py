"""A configuration on trial has its time, which a restart of the agent does not stretch and a reboot ends."""

import json
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.common.boot_clock import SystemBootClock
from nodespan.controllers.config.digest import file_digest
from nodespan.controllers.config.files.trial import Trial, dump_trial, load_trial
from nodespan.runtime.whole_file import replace_file
from tests.controllers.config.fake_clock import FakeBootClock

TRIAL = Trial(boot="one", deadline=160.0, text="machine: {}\n", previous=None, base="abc")


@pytest.mark.parametrize(
    ("boot", "now", "left"),
    [("one", 100.0, 60.0), ("one", 159.5, 0.5), ("one", 160.0, 0.0), ("one", 1000.0, 0.0), ("two", 100.0, 0.0)],
)
def test_the_remaining_time_is_measured_by_the_boot_clock(boot: str, now: float, left: float) -> None:
    assert TRIAL.remaining(FakeBootClock(boot=boot, time=now)) == left


def test_a_trial_starts_with_all_its_time() -> None:
    clock = FakeBootClock(boot="one", time=100.0)
    trial = Trial.start(clock, seconds=60.0, text="", previous="a", base="")
    assert (trial.boot, trial.deadline, trial.remaining(clock)) == ("one", 160.0, 60.0)


def test_a_trial_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    for trial in (TRIAL, attrs.evolve(TRIAL, previous="é\n", text="\ufeff# \u2028")):
        replace_file(tmp_path / "trial", dump_trial(trial))
        assert load_trial(tmp_path / "trial") == trial


def test_there_is_no_trial_without_a_file(tmp_path: Path) -> None:
    assert load_trial(tmp_path / "trial") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"boot": "a"}),
        json.dumps({"boot": "a", "deadline": "soon", "text": ""}),
        json.dumps({"boot": "a", "deadline": 1, "text": 5}),
        json.dumps({"boot": "a", "deadline": 1, "text": "", "what": 1}),
    ],
)
def test_an_invalid_record_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trial"
    path.write_text(text)
    with pytest.raises(ValueError, match="not the record of a trial"):
        load_trial(path)


def test_the_text_on_trial_is_a_secret() -> None:
    assert "machine" not in repr(TRIAL)


def test_the_boot_clock_is_monotonic_and_names_its_boot() -> None:
    clock = SystemBootClock()
    before = clock.now()
    assert clock.now() >= before
    assert clock.boot == SystemBootClock().boot


def test_a_missing_file_has_a_digest_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert file_digest(path) == ""
    path.write_text("")
    assert len(file_digest(path)) == 64
