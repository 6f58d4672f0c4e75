"""The requests that make links of each kind, read back by the parser of what the kernel reports."""

import attrs
import pytest

from nodespan.kernel import rtnl
from nodespan.kernel.changes.link_changes import creation_request
from nodespan.kernel.links import read_link
from nodespan.kernel.refusals import link_refusal
from nodespan.kernel.rtnetlink import message_of
from nodespan.resources.network import (
    IPVLAN,
    VXLAN,
    IPVLANFlags,
    IPVLANMode,
    LinkSpecSpec,
    LinkStatusSpec,
    MacVLAN,
    MacvlanMode,
)

SPEC = LinkSpecSpec(name="x0", logical=True, up=True, parent_name="p0", mtu=1400)


def requested(spec: LinkSpecSpec, parent: int = 3) -> LinkStatusSpec:
    """The status of a link that is as the request says."""
    return read_link(message_of(rtnl.RTM_NEWLINK, creation_request(spec, parent).body)).status


@pytest.mark.parametrize(
    "spec",
    [
        attrs.evolve(SPEC, kind="macvlan", macvlan=MacVLAN(mode=MacvlanMode.PRIVATE)),
        attrs.evolve(SPEC, kind="ipvlan", ipvlan=IPVLAN(mode=IPVLANMode.L3S, flags=IPVLANFlags.VEPA)),
        attrs.evolve(SPEC, kind="ipvlan", ipvlan=IPVLAN()),
        attrs.evolve(SPEC, kind="vxlan", vxlan=VXLAN(id=0xFFFFFF, local="10.0.0.1", port=1, learning=True)),
        attrs.evolve(SPEC, kind="vxlan", vxlan=VXLAN(id=5, group="ff05::1", port=4789)),
        attrs.evolve(SPEC, kind="vxlan", vxlan=VXLAN(id=5, group="239.1.1.1", port=65535)),
    ],
    ids=lambda spec: f"{spec.kind}-{spec.macvlan or spec.ipvlan or spec.vxlan}",
)
def test_a_link_is_requested_with_its_options_and_on_its_parent(spec: LinkSpecSpec) -> None:
    status = requested(spec)
    assert (status.kind, status.link_index, status.mtu) == (spec.kind, 3, 1400)
    assert (status.macvlan, status.ipvlan, status.vxlan) == (spec.macvlan, spec.ipvlan, spec.vxlan)


@pytest.mark.parametrize(
    ("vxlan", "reported"),
    [
        (VXLAN(id=100, local="::ffff:10.255.0.1"), VXLAN(id=100, local="10.255.0.1", port=4789)),
        (VXLAN(id=100, local="fe80::1%eth0"), VXLAN(id=100, local="fe80::1", port=4789)),
        (VXLAN(id=100, local="0.0.0.0"), VXLAN(id=100, port=4789)),
        (VXLAN(id=100, group="::"), VXLAN(id=100, port=4789)),
        (VXLAN(id=200, group="FF02:0::1", learning=True), VXLAN(id=200, group="ff02::1", port=4789, learning=True)),
    ],
)
def test_a_vxlan_is_compared_in_the_form_in_which_the_kernel_reports_it(vxlan: VXLAN, reported: VXLAN) -> None:
    assert vxlan.as_reported == reported
    assert reported.as_reported == reported
    assert requested(attrs.evolve(SPEC, kind="vxlan", vxlan=vxlan)).vxlan == reported


def test_an_invalid_address_of_a_vxlan_is_an_error() -> None:
    with pytest.raises(ValueError, match="here"):
        creation_request(attrs.evolve(SPEC, kind="vxlan", vxlan=VXLAN(id=5, local="here")), 3)


def test_a_vxlan_may_be_over_no_link_in_particular() -> None:
    assert requested(attrs.evolve(SPEC, kind="vxlan", vxlan=VXLAN(id=5)), parent=0).link_index == 0


def test_a_parent_that_is_taken_is_named() -> None:
    text = link_refusal(16, "the macvlan link x0 cannot be made", shared="p0")
    assert text.startswith("the macvlan link x0 cannot be made: p0 is a member of a bond or bridge")
