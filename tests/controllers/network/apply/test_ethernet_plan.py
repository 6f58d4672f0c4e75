"""What is changed of a network card, what is refused, and what comes back: by tables, and on a card in memory."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.apply.ethernet_plan import (
    EthernetSteps,
    Kept,
    after_change,
    from_plain,
    in_words,
    observed,
    plan,
    to_plain,
)
from nodespan.kernel.hardware.ethernet_settings import EthernetChange, EthernetSettings, Feature, WakeOnLan
from nodespan.resources.network import (
    EthernetChannels,
    EthernetChannelsStatus,
    EthernetRings,
    EthernetRingsStatus,
    EthernetSpecSpec,
    WOLMode,
)

ON = Feature(is_active=True, is_requested=True, is_fixed=False)
OFF = Feature(is_active=False, is_requested=False, is_fixed=False)
ALWAYS = Feature(is_active=True, is_requested=False, is_fixed=True)
NEVER = Feature(is_active=False, is_requested=False, is_fixed=True)
CARD = EthernetSettings(
    rings=EthernetRingsStatus(rx_max=256, tx_max=256, rx=256, tx=256, tx_push=False),
    channels=EthernetChannelsStatus(combined_max=4, combined=1),
    features={"tx-tcp-segmentation": ON, "rx-gro": OFF, "highdma": ALWAYS, "rx-lro": NEVER},
    wake_on_lan=WakeOnLan(supported=0x2F, active=0x20),
)
BARE = EthernetSettings(features={"highdma": ALWAYS})
EXAMPLE = EthernetSpecSpec(rings=EthernetRings(rx=128), features={"tx-tcp-segmentation": False})


def changed(settings: EthernetSettings, values: Mapping[str, int]) -> EthernetSettings:
    """The same card after these values were set."""
    change = EthernetSteps(values=values).change
    features = {
        name: attrs.evolve(feature, is_active=change.features[name], is_requested=change.features[name])
        if name in change.features
        else feature
        for name, feature in settings.features.items()
    }
    rings, channels, wake = settings.rings, settings.channels, settings.wake_on_lan
    rings_now: dict[str, Any] = {name: bool(v) if name == "tx_push" else v for name, v in change.rings.items()}
    return EthernetSettings(
        rings=None if rings is None else attrs.evolve(rings, **rings_now),
        channels=None if channels is None else attrs.evolve(channels, **change.channels),
        features=features,
        wake_on_lan=wake
        if wake is None or change.wake_on_lan is None
        else attrs.evolve(wake, active=change.wake_on_lan),
    )


def test_the_originals_example() -> None:
    steps = plan(EXAMPLE, CARD, {})
    assert steps.change == EthernetChange(rings={"rx": 128}, features={"tx-tcp-segmentation": False})
    assert steps.noted == {"rings/rx": Kept(256, 128, None), "features/tx-tcp-segmentation": Kept(1, 0, None)}
    assert (steps.refused, steps.warning) == ("", "")
    assert in_words(steps.values, CARD) == "rings.rx 256 instead of 128, features.tx-tcp-segmentation on instead of off"


def test_what_is_as_desired_is_put_on_record_and_not_changed() -> None:
    steps = plan(EthernetSpecSpec(rings=EthernetRings(rx=256)), CARD, {})
    assert (steps.values, steps.noted) == ({}, {"rings/rx": Kept(256, 256, 256)})
    # Another program changes it meanwhile: what was there first is what comes back.
    other = changed(CARD, {"rings/rx": 64})
    again = plan(EthernetSpecSpec(rings=EthernetRings(rx=256)), other, steps.noted)
    assert (again.values, again.noted) == ({"rings/rx": 256}, {"rings/rx": Kept(256, 256, None)})


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (EthernetSpecSpec(), {}),
        (EthernetSpecSpec(rings=EthernetRings(tx_push=True)), {"rings/tx-push": 1}),
        (EthernetSpecSpec(rings=EthernetRings(rx=0)), {"rings/rx": 0}),
        (EthernetSpecSpec(channels=EthernetChannels(combined=4)), {"channels/combined": 4}),
        (EthernetSpecSpec(features={"rx-gro": False, "highdma": True, "rx-lro": False}), {}),
        (EthernetSpecSpec(wake_on_lan=()), {"wakeOnLan": 0}),
        (EthernetSpecSpec(wake_on_lan=(WOLMode.MAGIC,)), {}),
        (EthernetSpecSpec(wake_on_lan=(WOLMode.PHY, WOLMode.MAGIC, WOLMode.PHY)), {"wakeOnLan": 0x21}),
    ],
)
def test_only_what_differs_is_set(spec: EthernetSpecSpec, values: dict[str, int]) -> None:
    steps = plan(spec, CARD, {})
    assert (dict(steps.values), steps.refused) == (values, "")


@pytest.mark.parametrize(
    ("spec", "card", "refused"),
    [
        (EthernetSpecSpec(rings=EthernetRings(rx=257)), CARD, "rings.rx 257 is more than the 256 that the card has"),
        (EthernetSpecSpec(rings=EthernetRings(rx_mini=1)), CARD, "the driver has no rings.rx-mini"),
        (EthernetSpecSpec(rings=EthernetRings(rx=1)), BARE, "the driver has no rings to set"),
        (EthernetSpecSpec(channels=EthernetChannels(rx=1)), CARD, "the driver has no channels.rx"),
        (EthernetSpecSpec(channels=EthernetChannels(combined=5)), CARD, "is more than the 4 that the card has"),
        (EthernetSpecSpec(channels=EthernetChannels(combined=5)), BARE, "the driver has no channels to set"),
        (EthernetSpecSpec(features={"rx-grow": True}), CARD, "no feature rx-grow, did you mean 'rx-gro'?"),
        (EthernetSpecSpec(features={"highdma": False}), CARD, "features.highdma off cannot be: the driver has it on"),
        (EthernetSpecSpec(features={"rx-lro": True}), CARD, "cannot be: the driver has it off [fixed]"),
        (EthernetSpecSpec(wake_on_lan=(WOLMode.FILTER,)), CARD, "cannot wake the machine by filter"),
        (EthernetSpecSpec(wake_on_lan=(WOLMode.MAGIC,)), BARE, "cannot wake the machine by magic"),
    ],
)
def test_what_a_card_cannot_do_is_named_and_the_rest_goes_on(
    spec: EthernetSpecSpec, card: EthernetSettings, refused: str
) -> None:
    steps = plan(spec, card, {})
    assert refused in steps.refused
    assert steps.values == {}
    # Beside it, what can be done is done.
    more = attrs.evolve(spec, features={**spec.features, "rx-gro": True})
    assert plan(more, attrs.evolve(card, features={**CARD.features}), {}).values == {"features/rx-gro": 1}


def test_a_card_without_wake_on_lan_has_it_off() -> None:
    steps = plan(EthernetSpecSpec(wake_on_lan=()), BARE, {})
    assert (steps.values, steps.noted, steps.refused) == ({}, {}, "")


def test_a_feature_that_waits_for_another_is_a_warning() -> None:
    waiting = Feature(is_active=False, is_requested=True, is_fixed=False)
    steps = plan(EthernetSpecSpec(features={"rx-gro": True}), attrs.evolve(CARD, features={"rx-gro": waiting}), {})
    assert steps.values == {}
    assert steps.warning == "rx-gro is off [requested on]: another feature that it needs, or excludes, decides"


def test_what_a_driver_makes_of_a_request_counts_as_the_request() -> None:
    spec = EthernetSpecSpec(rings=EthernetRings(rx=100))
    steps = plan(spec, CARD, {})
    rounded = changed(CARD, {"rings/rx": 104})
    record = after_change(steps.kept, rounded)
    again = plan(spec, rounded, record)
    assert (again.values, again.noted) == ({}, record)
    assert again.warning == "rings.rx 100 was asked for, and the driver made 104 of it"
    # It is asked anew when something else is desired, or is there.
    assert plan(EthernetSpecSpec(rings=EthernetRings(rx=120)), rounded, record).values == {"rings/rx": 120}
    assert plan(spec, changed(CARD, {"rings/rx": 80}), record).values == {"rings/rx": 100}
    # And it goes back to what was there first.
    assert plan(None, rounded, record).values == {"rings/rx": 256}


def test_what_another_program_changed_since_stays() -> None:
    record = {"rings/rx": Kept(256, 128, 128), "features/rx-gro": Kept(0, 1, 1)}
    card = changed(CARD, {"rings/rx": 64, "features/rx-gro": 1})
    steps = plan(None, card, record)
    assert (steps.values, steps.kept) == ({"features/rx-gro": 0}, {})


def test_a_setting_that_a_spec_no_longer_names_comes_back_alone() -> None:
    card = changed(CARD, {"rings/rx": 128, "features/tx-tcp-segmentation": 0})
    record = plan(EXAMPLE, CARD, {}).kept
    steps = plan(EthernetSpecSpec(rings=EthernetRings(rx=128)), card, record)
    assert steps.values == {"features/tx-tcp-segmentation": 1}
    assert set(steps.noted) == {"rings/rx", "features/tx-tcp-segmentation"}
    assert steps.kept == {"rings/rx": Kept(256, 128, 128)}


def test_the_record_reads_back() -> None:
    record = {"rings/rx": Kept(256, 100, 104), "wakeOnLan": Kept(0x20, 0, 0)}
    assert from_plain(to_plain(record)) == record
    assert to_plain({}) is None
    assert from_plain(None) == {}


SPECS = st.builds(
    EthernetSpecSpec,
    rings=st.none()
    | st.builds(
        EthernetRings, rx=st.none() | st.integers(0, 300), tx=st.none() | st.just(64), tx_push=st.none() | st.booleans()
    ),
    channels=st.none() | st.builds(EthernetChannels, combined=st.none() | st.integers(0, 5), rx=st.none() | st.just(1)),
    features=st.dictionaries(
        st.sampled_from(["tx-tcp-segmentation", "rx-gro", "highdma", "rx-lro", "none"]), st.booleans()
    ),
    wake_on_lan=st.none() | st.lists(st.sampled_from(sorted(WOLMode, key=lambda mode: mode.number))).map(tuple),
)


@given(st.lists(SPECS, max_size=4), st.sampled_from([CARD, BARE]), st.integers(1, 8))
def test_after_any_specs_a_card_is_as_it_was(
    specs: list[EthernetSpecSpec], before: EthernetSettings, unit: int
) -> None:
    """The driver rounds rings; and a process that ends after any step is followed by one that has the record."""
    card, record = before, dict[str, Kept]()
    for spec in [*specs, None]:
        steps = plan(spec, card, record)
        values = {
            key: value // unit * unit if key == "rings/rx" and spec is not None else value
            for key, value in steps.values.items()
        }
        card = changed(card, values)
        # The earlier process may have ended here: the next one finds what was noted.
        noted = from_plain(to_plain(steps.noted))
        given_back = changed(card, plan(None, card, noted).values)
        assert plan(None, given_back, noted).values == {}
        assert observed(given_back) == observed(before)
        record = after_change(steps.kept, card)
        settled = plan(spec, card, record)
        assert (settled.values, settled.noted) == ({}, record)
    assert observed(card) == observed(before)
    assert record == {}
