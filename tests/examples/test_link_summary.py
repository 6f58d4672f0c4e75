"""The example of a queue transform: one output per link, which comes and goes with it."""

from pathlib import Path

import pytest

from examples.link_summary import LinkSummary, LinkSummarySpec, controllers, describe
from nodespan.resources.network import LinkStatus, LinkStatusSpec, LinkType, OperationalState
from nodespan.runtime.plugins import Settings
from nodespan.runtime.testing.kit import running

SETTINGS = Settings(state_dir=Path())


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (LinkStatusSpec(mtu=1500, operational_state=OperationalState.UP), "ether, up, MTU 1500"),
        (LinkStatusSpec(mtu=1400, kind="veth", operational_state=OperationalState.DOWN), "veth, down, MTU 1400"),
        (LinkStatusSpec(mtu=65536, type=LinkType.LOOPBACK), "loopback, unknown, MTU 65536"),
    ],
)
def test_a_link_in_a_few_words(link: LinkStatusSpec, text: str) -> None:
    assert describe(link) == text


async def test_a_summary_comes_changes_and_goes_with_its_link() -> None:
    async with running(controllers(SETTINGS)) as node:
        await node.put(LinkStatus, "eth0", LinkStatusSpec(mtu=1500))
        await node.put(LinkStatus, "veth0", LinkStatusSpec(mtu=1500, kind="veth"))
        made = await node.eventually(LinkSummary, "eth0")
        assert made.metadata.labels == {"medium": "hardware"}
        assert (await node.eventually(LinkSummary, "veth0")).metadata.labels == {"medium": "software"}
        await node.put(LinkStatus, "eth0", LinkStatusSpec(mtu=9000))
        await node.eventually(LinkSummary, "eth0", spec=LinkSummarySpec(text="ether, unknown, MTU 9000"))
        await node.teardown(LinkStatus, "eth0")
        await node.gone(LinkSummary, "eth0")
        await node.settled()
        await node.destroy(LinkStatus, "eth0")
        assert [found.id for found in node.state.list(LinkSummary)] == ["veth0"]


async def test_a_change_of_one_link_writes_one_summary() -> None:
    async with running(controllers(SETTINGS)) as node:
        for number in range(100):
            await node.put(LinkStatus, f"veth{number}", LinkStatusSpec(mtu=1500))
        await node.settled()
        counters = node.engine.runners["example.LinkSummaryController"].access.counters
        writes = counters.writes
        await node.put(LinkStatus, "veth7", LinkStatusSpec(mtu=1400))
        await node.settled()
        assert counters.writes - writes == 1
