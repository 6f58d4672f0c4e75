from typing import Any

from controllers.kubespan.data_path import forced, is_tunnel_packet, largest_segment_v4, largest_segment_v6
from tests.support.vectors import each


@each("mss_clamp")
def test_segments_fit_the_tunnel(vector: dict[str, Any]) -> None:
    assert largest_segment_v4(vector["mtu"]) == vector["mss_v4"]
    assert largest_segment_v6(vector["mtu"]) == vector["mss_v6"]


@each("packet_mark")
def test_marks_tell_tunnel_packets_from_others(vector: dict[str, Any]) -> None:
    assert is_tunnel_packet(vector["mark"]) is vector["accepted_by_rule_1"]
    assert forced(vector["mark"]) == vector["mark_after_set"]
