"""What to change of a network card so that it has the desired settings, and what it had before: pure rules.

Settings are flat here: `rings/rx`, `channels/combined`, `features/rx-gro`, `wakeOnLan` (the kernel's bits). Each that a
spec names is put on record before the first change, with what it was. It gets that back when no spec names it any more,
if it still is as the agent left it: what another program has changed since is theirs.

A driver may make something else of a request, as a ring whose length it rounds. What it made is on record too, and
counts as what was asked for: else the agent and the driver would never agree. Until that is on record, whatever the
card has may be what it made. What it refused is asked for again.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from nodespan.kernel.hardware.ethernet_settings import EthernetChange, EthernetSettings
from nodespan.resources.network.ethernet import EthernetChannels, EthernetRings, EthernetSpecSpec, WOLMode
from nodespan.runtime.resource.spec import outside_name
from nodespan.runtime.text.suggestions import did_you_mean

Value = int

_RINGS, _CHANNELS, _FEATURES, _WAKE = "rings", "channels", "features", "wakeOnLan"
# Group and field, as users write them and as the classes have them.
_FIELDS: Mapping[str, str] = {
    f"{group}/{outside_name(field)}": field.name
    for group, cls in ((_RINGS, EthernetRings), (_CHANNELS, EthernetChannels))
    for field in attrs.fields(cls)
}
_SWITCHES = frozenset({"rings/tx-push", "rings/rx-push", "rings/tcp-data-split"})


@attrs.frozen
class Kept:
    """One setting on record: what it was, what the agent asked for, and what the driver made of that, None: unknown."""

    before: Value
    asked: Value
    after: Value | None


Record = Mapping[str, Kept]


def to_plain(record: Record) -> dict[str, list[Value | None]] | None:
    """For the journal; None for an empty record."""
    return {key: [kept.before, kept.asked, kept.after] for key, kept in record.items()} or None


def from_plain(plain: Any) -> dict[str, Kept]:
    """The opposite."""
    return {key: Kept(*values) for key, values in (plain or {}).items()}


@attrs.frozen(kw_only=True)
class EthernetSteps:
    """What follows for one link: values to set, and the record to write before and, if all succeeds, after that.

    `refused` is what cannot be, `warning` what is not quite as asked; each "" for nothing.
    """

    values: Mapping[str, Value] = attrs.field(factory=dict)
    noted: Record = attrs.field(factory=dict)
    kept: Record = attrs.field(factory=dict)
    refused: str = ""
    warning: str = ""

    @property
    def change(self) -> EthernetChange:
        """The values as the kernel takes them."""
        grouped: dict[str, dict[str, Value]] = {_RINGS: {}, _CHANNELS: {}}
        features: dict[str, bool] = {}
        for key, value in self.values.items():
            group, _, name = key.partition("/")
            if group == _FEATURES:
                features[name] = bool(value)
            elif group in grouped:
                grouped[group][_FIELDS[key]] = value
        return EthernetChange(
            rings=grouped[_RINGS],
            channels=grouped[_CHANNELS],
            features=features,
            wake_on_lan=self.values.get(_WAKE),
        )


def plan(spec: EthernetSpecSpec | None, settings: EthernetSettings, record: Record) -> EthernetSteps:
    """What to do for a link that is to be as a spec says, or, without one, as it was."""
    now = observed(settings)
    values: dict[str, Value] = {}
    noted = dict(record)
    refused: list[str] = []
    warnings: list[str] = []
    desired = {} if spec is None else _desired(spec)
    for key, value in desired.items():
        fault = _fault(key, value, settings, now)
        if fault:
            refused.append(fault)
            continue
        if key not in now:
            # Wake-on-LAN is off on a card that does not have it.
            continue
        known, current = record.get(key), now[key]
        if known is not None and known.asked == value and known.after == current:
            if current != value:
                warnings.append(f"{_words(key, value)} was asked for, and the driver made {_shown(key, current)} of it")
        elif current == value:
            noted[key] = Kept(current if known is None else known.before, value, value)
        else:
            values[key] = value
            noted[key] = Kept(current if known is None else known.before, value, None)
        warnings.extend(_not_in_effect(key, settings))
    kept = {key: each for key, each in noted.items() if key in desired}
    for key, each in record.items():
        if key not in desired and now.get(key) not in {None, each.before} and each.after in {None, now.get(key)}:
            values[key] = each.before
    return EthernetSteps(values=values, noted=noted, kept=kept, refused="; ".join(refused), warning="; ".join(warnings))


def after_change(record: Record, settings: EthernetSettings) -> dict[str, Kept]:
    """The record once the changes are made: with what the driver made of them."""
    now = observed(settings)
    return {key: attrs.evolve(kept, after=now.get(key, kept.after)) for key, kept in record.items()}


def after_refusal(
    steps: EthernetSteps, record: Record, earlier: EthernetSettings, settings: EthernetSettings, groups: Collection[str]
) -> dict[str, Kept]:
    """The record once the changes are made, of which the driver refused those of some groups: they are as before."""
    was, now = observed(earlier), observed(settings)
    made = after_change(steps.kept, settings)
    for key in steps.values:
        if key.partition("/")[0] not in groups:
            continue
        made.pop(key, None)
        if key in record:
            made[key] = record[key]
        elif key in steps.noted and was.get(key) != now.get(key):
            # Half done.
            made[key] = attrs.evolve(steps.noted[key], after=now.get(key))
    return made


def observed(settings: EthernetSettings) -> dict[str, Value]:
    """All settings that the driver reports; features as they are asked for."""
    found: dict[str, Value] = {}
    for group, status in ((_RINGS, settings.rings), (_CHANNELS, settings.channels)):
        for key, name in _FIELDS.items():
            value = getattr(status, name, None) if key.startswith(f"{group}/") else None
            if value is not None:
                found[key] = int(value)
    for name, feature in settings.features.items():
        found[f"{_FEATURES}/{name}"] = int(feature.is_active if feature.is_fixed else feature.is_requested)
    if settings.wake_on_lan is not None:
        found[_WAKE] = settings.wake_on_lan.active
    return found


def in_words(values: Mapping[str, Value], settings: EthernetSettings) -> str:
    """How a link differs from what is desired."""
    now = observed(settings)
    return ", ".join(
        f"{_words(key, now[key])} instead of {_shown(key, value)}" for key, value in values.items() if key in now
    )


def _desired(spec: EthernetSpecSpec) -> dict[str, Value]:
    """What a spec asks for, group by group in the order in which the groups are applied."""
    found: dict[str, Value] = {}
    for key, name in _FIELDS.items():
        if key.startswith(_RINGS) and (value := getattr(spec.rings, name, None)) is not None:
            found[key] = int(value)
    found.update((f"{_FEATURES}/{name}", int(value)) for name, value in spec.features.items())
    for key, name in _FIELDS.items():
        if key.startswith(_CHANNELS) and (value := getattr(spec.channels, name, None)) is not None:
            found[key] = int(value)
    if spec.wake_on_lan is not None:
        found[_WAKE] = sum({mode.number for mode in spec.wake_on_lan})
    return found


def _fault(key: str, value: Value, settings: EthernetSettings, now: Mapping[str, Value]) -> str:
    """Why a setting cannot have a value, as far as the driver says so; "" if it may."""
    group, _, name = key.partition("/")
    if group == _FEATURES:
        feature = settings.features.get(name)
        if feature is None:
            return f"there is no feature {name}{did_you_mean(name, settings.features)}"
        if feature.is_fixed and feature.is_active != bool(value):
            return f"{_words(key, value)} cannot be: the driver has it {feature.text}"
        return ""
    if group == _WAKE:
        supported = 0 if settings.wake_on_lan is None else settings.wake_on_lan.supported
        if value & ~supported:
            return f"the card cannot wake the machine by {_modes(value & ~supported)}"
        return ""
    status = settings.rings if group == _RINGS else settings.channels
    if key not in now:
        return f"the driver has no {group} to set" if status is None else f"the driver has no {_name(key)}"
    most = getattr(status, f"{_FIELDS[key]}_max", None)
    if most is not None and value > most:
        return f"{_words(key, value)} is more than the {most} that the card has"
    return ""


def _not_in_effect(key: str, settings: EthernetSettings) -> Iterator[str]:
    """A feature may wait for another one, or for the card."""
    group, _, name = key.partition("/")
    feature = settings.features.get(name) if group == _FEATURES else None
    if feature is not None and not feature.is_fixed and feature.is_active != feature.is_requested:
        yield f"{name} is {feature.text}: another feature that it needs, or excludes, decides"


def _name(key: str) -> str:
    return key.replace("/", ".")


def _words(key: str, value: Value) -> str:
    return f"{_name(key)} {_shown(key, value)}"


def _shown(key: str, value: Value) -> str:
    if key == _WAKE:
        return _modes(value)
    return ("on" if value else "off") if key.startswith(_FEATURES) or key in _SWITCHES else str(value)


def _modes(bits: int) -> str:
    return ", ".join(mode.value for mode in WOLMode if mode.number & bits) or "nothing"
