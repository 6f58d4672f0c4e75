"""How links were before the agent changed them, and when they are made so again."""

import json
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.network.apply.link_originals import (
    LinkOriginals,
    Original,
    Originals,
    changed,
    decided,
    forgotten,
    inherited,
    restoration,
)
from nodespan.kernel.changes.link_changes import LinkChange
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import LinkFlags, LinkSpecSpec, LinkStatusSpec

DOWN = LinkStatusSpec(index=3, mtu=1500, hardware_addr="02:00:00:00:00:01", flags=LinkFlags.MULTICAST)
KNOWN = Originals(3, {"mtu": Original(1500, 9000), "up": Original(before=False, after=True)})


def link(**fields: object) -> KernelLink:
    flags = DOWN.flags | (LinkFlags.UP if fields.pop("up", False) else LinkFlags(0))
    return KernelLink(name="eth0", status=attrs.evolve(DOWN, flags=flags, **fields))  # type: ignore[arg-type]


def test_what_was_first_there_is_remembered_through_all_changes() -> None:
    known = changed(None, link(), LinkChange(index=3, mtu=9000, up=True))
    assert known == KNOWN
    known = changed(known, link(mtu=9000, up=True), LinkChange(index=3, mtu=1400))
    assert known == Originals(3, {"mtu": Original(1500, 1400), "up": Original(before=False, after=True)})


def test_a_change_of_something_else_needs_no_record() -> None:
    assert changed(None, link(), LinkChange(index=3, master=7)) is None


@pytest.mark.parametrize(
    ("known", "earlier", "expected"),
    [
        (None, KNOWN, KNOWN),
        (KNOWN, None, KNOWN),
        (KNOWN, Originals(4, {"mtu": Original(1400, 1300)}), KNOWN),
        (
            Originals(3, {"mtu": Original(9000, 1400), "multicast": Original(before=True, after=False)}),
            KNOWN,
            Originals(
                3,
                {
                    "mtu": Original(1500, 1400),
                    "multicast": Original(before=True, after=False),
                    "up": Original(before=False, after=True),
                },
            ),
        ),
    ],
)
def test_what_a_link_was_like_is_known_by_its_other_name_too(
    known: Originals | None, earlier: Originals | None, expected: Originals
) -> None:
    assert inherited(known, earlier) == expected


@pytest.mark.parametrize(
    ("known", "seen", "kept", "expected"),
    [
        (KNOWN, {"mtu": 9000, "up": True}, (), LinkChange(index=3, mtu=1500, up=False)),
        (KNOWN, {"mtu": 9000, "up": True}, ("up",), LinkChange(index=3, mtu=1500)),
        (KNOWN, {"mtu": 9000}, (), LinkChange(index=3, mtu=1500)),
        (KNOWN, {"mtu": 1300}, (), None),
        (KNOWN, {}, (), None),
        (KNOWN, {"mtu": 9000, "up": True, "index": 4}, (), None),
        (None, {"mtu": 9000}, (), None),
        (Originals(3, {"mtu": Original(1500, 1500)}), {"mtu": 1500}, (), None),
    ],
)
def test_only_what_is_as_it_was_changed_to_is_undone(
    known: Originals | None, seen: dict[str, object], kept: tuple[str, ...], expected: LinkChange | None
) -> None:
    assert restoration(known, link(**seen), kept) == expected


def test_what_is_dealt_with_is_forgotten() -> None:
    assert forgotten(KNOWN, ("up", "hardware_addr")) == Originals(3, {"up": Original(before=False, after=True)})
    assert forgotten(KNOWN, ()) is None
    assert forgotten(None, ("up",)) is None


def test_a_spec_has_no_say_in_what_it_leaves_out() -> None:
    assert decided(LinkSpecSpec(name="eth0")) == {"up"}
    whole = LinkSpecSpec(name="eth0", mtu=1400, hardware_addr="02:00:00:00:00:02", multicast=False)
    assert decided(whole) == {"up", "mtu", "hardware_addr", "multicast"}


@attrs.define
class FakeClock:
    boot: str = "one"

    def now(self) -> float:
        return 0.0


def test_the_record_survives_the_process_but_not_a_reboot(tmp_path: Path) -> None:
    path = tmp_path / "links.json"
    record = LinkOriginals(path, FakeClock())
    record.load()
    record.set("eth0", KNOWN)
    after = LinkOriginals(path, FakeClock())
    after.load()
    assert after.get("eth0") == KNOWN
    after.set("eth0", None)
    assert json.loads(path.read_text())["links"] == {}
    record.set("eth1", KNOWN)
    rebooted = LinkOriginals(path, FakeClock("two"))
    rebooted.load()
    assert rebooted.get("eth1") is None


@pytest.mark.parametrize("text", ["", "[]", '{"boot": "one"}', '{"boot": "one", "links": {"eth0": {"index": 1}}}'])
def test_a_damaged_record_is_named_once_and_put_aside(tmp_path: Path, text: str) -> None:
    path = tmp_path / "links.json"
    path.write_text(text)
    record = LinkOriginals(path, FakeClock())
    with pytest.raises(ValueError, match=r"links\.json made no sense"):
        record.load()
    record.load()
    assert (tmp_path / "links.damaged").read_text() == text
    record.set("eth0", KNOWN)
    assert path.exists()
