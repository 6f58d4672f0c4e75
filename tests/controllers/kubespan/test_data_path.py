"""The chains that the manager writes, against known answers."""

from typing import Any

from nodespan.controllers.kubespan.manager import outgoing_chain, prerouting_chain
from nodespan.controllers.network.nftables.render import clamped_mss
from tests.support.vectors import each


@each("mss_clamp")
def test_segments_fit_the_tunnel(vector: dict[str, Any]) -> None:
    (clamp,) = [rule.clamp_mss for rule in outgoing_chain(vector["mtu"]).rules if rule.clamp_mss is not None]
    assert clamped_mss(clamp.mtu, 4) == vector["mss_v4"]
    assert clamped_mss(clamp.mtu, 6) == vector["mss_v6"]


@each("packet_mark")
def test_marks_distinguish_tunnel_packets_from_others(vector: dict[str, Any]) -> None:
    for chain in (prerouting_chain(), outgoing_chain(1420)):
        tunnel, forced = chain.rules[0].match_mark, chain.rules[-1].set_mark
        assert tunnel is not None
        assert forced is not None
        assert ((vector["mark"] & tunnel.mask) ^ tunnel.xor == tunnel.value) is vector["accepted_by_rule_1"]
        assert (vector["mark"] & forced.mask) ^ forced.xor == vector["mark_after_set"]
