"""What forwarding does to links that this machine's kernel does not make."""

from pathlib import Path

import pytest

from nodespan.controllers.common.journal import Journal
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.kernel_parameters import KernelParameters
from nodespan.kernel.hardware.large_receive import KernelLargeReceive
from nodespan.resources.runtime import KernelParamSpecSpec
from tests.support.netns import entered, namespace


@pytest.mark.needs_link("bond")
def test_cards_have_their_large_receive_offload_back_when_the_agent_forwards_no_more(tmp_path: Path) -> None:
    """A bond is the one link that any machine has with that offload."""
    ipv4, ipv6 = "proc.sys.net.ipv4.ip_forward", "proc.sys.net.ipv6.conf.all.forwarding"

    def turn(*ids: str) -> None:
        # A process of its own for each.
        parameters = KernelParameters(Host(root=tmp_path), Journal(tmp_path / "kernel.jsonl"))
        desired = {id: KernelParamSpecSpec(value="1") for id in ids}
        assert parameters.turn(desired, may_undo=True).problems == {}

    with namespace("offload") as inside:
        inside.ip("link add b1 type bond", "link add b2 type bond", "link add d1 type dummy")
        with entered(inside):
            offload = KernelLargeReceive()
            before = offload.links()
            assert {"b1", "b2"} <= set(before.values())
            turn(ipv4, ipv6)
            assert offload.links() == {}
            inside.ip("link del b2")
            turn(ipv6)
            assert offload.links() == {}
            turn()
            assert offload.links() == {index: name for index, name in before.items() if name != "b2"}
