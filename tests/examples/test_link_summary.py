"""The example of a queue controller: one output per link, which comes and goes with it."""

import pytest

from examples.link_summary import LinkSummary, LinkSummaryController, LinkSummarySpec, summary
from resources.network import LinkStatus, LinkStatusSpec, LinkType, OperationalState
from runtime.testing.kit import running


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (LinkStatusSpec(mtu=1500, operational_state=OperationalState.UP), "ether, up, MTU 1500"),
        (LinkStatusSpec(mtu=1400, kind="veth", operational_state=OperationalState.DOWN), "veth, down, MTU 1400"),
        (LinkStatusSpec(mtu=65536, type=LinkType.LOOPBACK), "loopback, unknown, MTU 65536"),
    ],
)
def test_a_link_in_a_few_words(link: LinkStatusSpec, text: str) -> None:
    assert summary(link) == text


async def test_a_summary_comes_changes_and_goes_with_its_link() -> None:
    async with running(LinkSummaryController()) as node:
        await node.put(LinkStatus, "eth0", LinkStatusSpec(mtu=1500))
        await node.put(LinkStatus, "veth0", LinkStatusSpec(mtu=1500, kind="veth"))
        made = await node.eventually(LinkSummary, "eth0")
        assert made.metadata.labels == {"medium": "hardware"}
        assert (await node.eventually(LinkSummary, "veth0")).metadata.labels == {"medium": "software"}
        await node.put(LinkStatus, "eth0", LinkStatusSpec(mtu=9000))
        await node.eventually(LinkSummary, "eth0", spec=LinkSummarySpec(text="ether, unknown, MTU 9000"))
        await node.destroy(LinkStatus, "eth0")
        await node.gone(LinkSummary, "eth0")
        await node.settled()
        assert [found.id for found in node.state.list(LinkSummary)] == ["veth0"]


async def test_a_change_of_one_link_costs_one_call() -> None:
    async with running(LinkSummaryController()) as node:
        for number in range(100):
            await node.put(LinkStatus, f"veth{number}", LinkStatusSpec(mtu=1500))
        await node.settled()
        counters = node.engine.runners["example.LinkSummaryController"].access.counters
        calls, writes = counters.wakeups, counters.writes
        await node.put(LinkStatus, "veth7", LinkStatusSpec(mtu=1400))
        await node.settled()
        assert (counters.wakeups - calls, counters.writes - writes) == (1, 1)
