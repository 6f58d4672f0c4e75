"""The clock: when it counts as synchronized, and what the time services say; in virtual time."""

import datetime
from pathlib import Path

import attrs
import pytest
import trio

from nodespan.controllers.config.loading import load
from nodespan.controllers.host.clock_rules import Watch, adjtime_status, chrony_sources, timesyncd_sources
from nodespan.controllers.host.host import Host
from nodespan.controllers.host.time_sync import AdjtimeStatusController, SyncController
from nodespan.kernel.clock import KernelClock, read_clock
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import TIME_SERVERS_ID, TimeServerStatus, TimeServerStatusSpec
from nodespan.resources.runtime import (
    TIME_ID,
    AdjtimeStatus,
    AdjtimeStatusSpec,
    NTPSource,
    NTPSourceSpec,
    TimeStatus,
    TimeStatusSpec,
)
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.host.machine import NotedCommands

WRONG = KernelClock(state=5, status=0x40)
RIGHT = KernelClock(state=0, status=0x2001, offset_ns=-1500, frequency=-65536 * 20, max_error_us=3000, est_error_us=12)
DAY = 86400.0
CHRONYC = """\
^,*,192.0.2.1,2,6,377,23,-0.000012345,-0.000020000,0.012
^,?,2001:db8::1,0,6,0,4294967295,0.000000000,0.000000000,0.000
#,+,PPS0,0,4,17,8,0.000000100,0.000000100,0.000000300
^,x,192.0.2.3,3,6,3,40,12.5,12.5,0.1
garbage
,,
"""
TIMEDATECTL = """\
SystemNTPServers=ntp1.example ntp2.example
ServerName=ntp1.example
ServerAddress=192.0.2.1
PollIntervalUSec=2min 8s
NTPMessage={ Leap=0, Version=4, Mode=4, Stratum=2, Precision=-25, Ignored=no, PacketCount=3, Jitter=1.2ms }
"""


def test_the_kernel_tells_the_state_of_its_clock() -> None:
    clock = read_clock()
    assert clock.state_text.startswith("TIME_")
    assert clock.is_synchronized is ("STA_UNSYNC" not in clock.status_text and clock.state_text != "TIME_ERROR")


def test_the_state_of_the_clock_as_a_resource() -> None:
    assert adjtime_status(RIGHT) == AdjtimeStatusSpec(
        offset=datetime.timedelta(microseconds=-2),
        frequency_adjustment_ratio=1 - 20 / 10**6,
        max_error=datetime.timedelta(milliseconds=3),
        est_error=datetime.timedelta(microseconds=12),
        status="STA_PLL | STA_NANO",
        sync_status=True,
        state="TIME_OK",
    )
    assert (adjtime_status(WRONG).sync_status, adjtime_status(WRONG).state) == (False, "TIME_ERROR")


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        # Seconds since the start, the step of the wall clock so far, the kernel's clock.
        ([(0, 0, WRONG), (59, 0, WRONG), (60, 0, WRONG)], [(False, 0), (False, 0), (True, 0)]),
        ([(0, 0, WRONG), (10, 0, RIGHT), (20, 0, WRONG)], [(False, 0), (True, 0), (True, 0)]),
        ([(0, 0, WRONG), (10, 899, WRONG), (20, DAY, RIGHT), (30, DAY, RIGHT)], [(False, 0)] * 2 + [(True, 1)] * 2),
        ([(0, 0, None), (61, 0, None)], [(False, 0), (True, 0)]),
    ],
)
def test_the_clock_is_synchronized_by_the_kernel_or_after_the_boot_timeout(
    looks: list[tuple[float, float, KernelClock | None]], expected: list[tuple[bool, int]]
) -> None:
    watch, found = Watch(began=1000.0, offset=5000.0), []
    for after, step, clock in looks:
        now = 1000.0 + after
        watch, status = watch.look(now, now + 5000.0 + step, clock, is_kept=True, boot_timeout=60.0)
        found.append((status.synced, status.epoch))
    assert found == expected


def test_without_a_timeout_nothing_but_the_kernel_counts_and_a_clock_of_others_counts_at_once() -> None:
    watch = Watch(began=0.0, offset=0.0)
    watch, status = watch.look(DAY, DAY, WRONG, is_kept=True, boot_timeout=0.0)
    assert status == TimeStatusSpec()
    watch, status = watch.look(DAY, DAY, WRONG, is_kept=False, boot_timeout=0.0)
    assert status == TimeStatusSpec(synced=True, sync_disabled=True)
    watch, status = watch.look(DAY, DAY, WRONG, is_kept=True, boot_timeout=0.0)
    assert status == TimeStatusSpec()


def test_what_chrony_says_of_its_sources() -> None:
    assert chrony_sources(CHRONYC) == {
        "192.0.2.1": NTPSourceSpec(
            service="chrony",
            state="selected",
            selected=True,
            stratum=2,
            reach=8,
            offset=datetime.timedelta(microseconds=-12),
        ),
        "2001:db8::1": NTPSourceSpec(service="chrony", state="unusable"),
        "PPS0": NTPSourceSpec(service="chrony", state="combined", reach=4, offset=datetime.timedelta()),
        "192.0.2.3": NTPSourceSpec(
            service="chrony", state="falseticker", stratum=3, reach=2, offset=datetime.timedelta(seconds=12.5)
        ),
    }
    assert len(chrony_sources("".join(f"^,?,{number},0,6,0,0,nan,x,0\n" for number in range(1000)))) == 64
    assert chrony_sources("^,\x1b,a\x1b[31m,9e9,6,zz,0,inf,x,0") == {
        "a\\x1b[31m": NTPSourceSpec(service="chrony", state="", offset=None)
    }


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        (
            TIMEDATECTL,
            {
                "ntp1.example": NTPSourceSpec(
                    service="systemd-timesyncd", state="selected", selected=True, stratum=2, reach=3
                )
            },
        ),
        ("ServerName=a\n", {"a": NTPSourceSpec(service="systemd-timesyncd", state="asked")}),
        (
            "ServerAddress=192.0.2.1\nNTPMessage={ Stratum=16, Ignored=yes, PacketCount=9 }\n",
            {"192.0.2.1": NTPSourceSpec(service="systemd-timesyncd", state="unusable", stratum=16, reach=8)},
        ),
        ("NTP=no\n", {}),
        ("", {}),
    ],
)
def test_what_timesyncd_says_of_its_server(text: str, sources: dict[str, NTPSourceSpec]) -> None:
    assert timesyncd_sources(text) == sources


@attrs.define
class Clock:
    """A clock of the kernel that tests set."""

    kernel: KernelClock | None = WRONG
    step: float = 0.0

    def wall(self) -> float:
        return trio.current_time() + 5000.0 + self.step

    def read(self) -> KernelClock | None:
        return self.kernel


class Telling(NotedCommands):
    """A machine whose commands answer."""

    async def run(self, *command: str) -> str:
        if command[0] == "chronyc":
            await super().run(*command)
            return CHRONYC
        return await super().run(*command)


async def configure(node: Node, text: str) -> None:
    loaded = load(text)
    assert loaded.problems == ()
    await node.put(MachineConfig, MACHINE_CONFIG_ID, loaded.config)


def sync(clock: Clock, host: Host) -> SyncController:
    return SyncController(host, read=clock.read, now=trio.current_time, wall=clock.wall)


NOWHERE = Host(refusal="not this machine")


@pytest.mark.virtual_clock
async def test_nothing_is_shown_while_nobody_says_anything_of_the_clock() -> None:
    clock = Clock()
    async with running(sync(clock, NOWHERE), AdjtimeStatusController(read=clock.read)) as node:
        await configure(node, "machine: {network: {hostname: a}}")
        await trio.sleep(1000)
        assert not node.state.list(TimeStatus)
        assert not node.state.list(AdjtimeStatus)
        await configure(node, "machine: {time: {servers: [ntp.example]}}")
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec())
        await node.eventually(AdjtimeStatus, TIME_ID, lambda found: not found.spec.sync_status)
        clock.kernel = RIGHT
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec(synced=True))
        await node.eventually(AdjtimeStatus, TIME_ID, lambda found: found.spec.sync_status, within=60)
        clock.step = DAY
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec(synced=True, epoch=1), within=60)
        await configure(node, "machine: {}")
        await node.gone(TimeStatus, TIME_ID)
        await node.gone(AdjtimeStatus, TIME_ID)


@pytest.mark.virtual_clock
async def test_the_boot_timeout_ends_the_wait() -> None:
    clock = Clock()
    async with running(sync(clock, NOWHERE)) as node:
        began = trio.current_time()
        await configure(
            node,
            "apiVersion: v1alpha1\nkind: TimeSyncConfig\nntp: {servers: [10.1.0.1, 10.1.0.2]}\nbootTimeout: 1m0s\n",
        )
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec())
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec(synced=True), within=70)
        assert 60 <= trio.current_time() - began <= 63
        await configure(node, "apiVersion: v1alpha1\nkind: TimeSyncConfig\nenabled: false\n")
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec(synced=True, sync_disabled=True))


@pytest.mark.virtual_clock
async def test_servers_that_must_authenticate_are_waited_for_anew() -> None:
    clock = Clock(kernel=RIGHT)
    async with running(sync(clock, NOWHERE)) as node:
        await node.put(TimeServerStatus, TIME_SERVERS_ID, TimeServerStatusSpec(time_servers=("a",)))
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec(synced=True))
        clock.kernel = WRONG
        await node.put(TimeServerStatus, TIME_SERVERS_ID, TimeServerStatusSpec(time_servers=("a",), use_nts=True))
        await node.eventually(TimeStatus, TIME_ID, spec=TimeStatusSpec())


async def test_the_servers_of_the_service_that_runs_are_shown(tmp_path: Path) -> None:
    commands = Telling()
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    clock = Clock()
    async with running(sync(clock, Host(root=tmp_path, commands=commands))) as node:
        await configure(node, "machine: {time: {servers: [ntp.example]}}")
        source = await node.eventually(NTPSource, "192.0.2.1")
        assert (source.spec.selected, source.spec.service) == (True, "chrony")
        commands.failing.add("chronyc")
        await configure(node, "machine: {time: {servers: [ntp.example, b]}}")
        await node.gone(NTPSource, "192.0.2.1")
