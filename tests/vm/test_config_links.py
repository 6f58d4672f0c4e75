"""Links from configuration in the kernel: what users write, and what happens to it while links come, go and change."""

import subprocess

import pytest
import trio

from nodespan.resources.network import DeviceConfigSpec, LinkStatus, OperatorSpec
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline, KernelCmdlineSpec
from tests.mesh.bond_scenarios import ping, received, recorded
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually
from tests.support.tunnels import key_pair
from tests.vm.configured import MAC, at_work, machine, place, real_cards

PRIVATE, PUBLIC = key_pair(5)
BOND = (
    "{interface: bond0, bond: {mode: active-backup, miimon: 100, deviceSelectors: "
    f"[{{hardwareAddr: '{MAC}00'}}, {{hardwareAddr: '{MAC}01'}}]}}, addresses: [192.0.2.1/24], "
    "vlans: [{vlanId: 100, mtu: 1400, addresses: [198.51.100.1/24], vip: {ip: 198.51.100.15}}]}"
)


# Bonds by selectors.


async def test_a_bond_selected_by_hardware_address_keeps_its_members_and_ignores_its_own_vlans() -> None:
    async with machine("e0", "e1") as made:
        before = await made.rest()
        # All cards and what has their address by way of the bond.
        await made.devices(BOND.replace(f"'{MAC}00'", f"'{MAC}*'"))
        await made.whole("bond0", "e0", "e1")
        await made.becomes(addresses__bond0={"192.0.2.1/24"})
        await eventually(lambda: made.addresses("bond0.100") == {"198.51.100.1/24"}, within=PATIENCE)
        await made.settled()
        index = made.link("bond0")["ifindex"]
        assert [made.link(name)["address"] for name in ("bond0", "e0", "e1", "bond0.100")] == [f"{MAC}00"] * 4
        (device,) = made.runtime.state.list(DeviceConfigSpec)
        assert device.spec.device.bond is not None
        assert device.spec.device.bond.interfaces == ("e0", "e1")
        # It has never been otherwise, whatever the members showed meanwhile.
        assert device.metadata.version == 1
        assert [made.runtime.state.get(LinkStatus, name).spec.permanent_addr for name in ("e0", "e1")] == [
            f"{MAC}00",
            f"{MAC}01",
        ]
        assert made.runtime.state.find(OperatorSpec, "vip/bond0.100/198.51.100.15") is not None
        made.inside.run("ping", "-c", "1", "-w", "10", "192.0.2.9")
        # A member is pulled, the other renamed, moved away, and both are back.
        made.pull("e0")
        await made.whole("bond0", "e1")
        # Set down and renamed before anybody sets it up again.
        made.inside.run("ip", "-batch", "-", stdin="link set e1 down\nlink set e1 name x1\n")
        await made.whole("bond0", "x1")
        made.plug("e0", 0)
        await made.whole("bond0", "x1", "e0")
        made.inside.run("ip", "link", "set", "x1", "netns", made.far.name)
        await made.whole("bond0", "e0")
        made.far.run("ip", "link", "set", "x1", "netns", made.inside.name, "name", "e1")
        await made.whole("bond0", "e0", "e1")
        made.inside.run("ping", "-c", "1", "-w", "10", "192.0.2.9")
        assert (made.link("bond0")["ifindex"], made.link("bond0")["address"]) == (index, f"{MAC}00")
        assert made.addresses("bond0.100") == {"198.51.100.1/24"}
        await made.becomes(problems={})
        await made.nothing()
        await eventually(lambda: not made.link("bond0"), within=PATIENCE)
        await made.settled()
        assert [made.link(name)["address"] for name in ("e0", "e1")] == [f"{MAC}00", f"{MAC}01"]
        assert {link["ifname"] for link in made.ip("link")} == {link["ifname"] for link in before[0]}


async def test_options_dropped_from_the_kernel_command_line_are_reverted_live() -> None:
    async with machine("e0", "e1") as made:

        async def booted(line: str) -> None:
            await made.runtime.put(KernelCmdline, KERNEL_CMDLINE_ID, KernelCmdlineSpec(cmdline=line))

        async def options_become(*wanted: int) -> None:
            def check() -> None:
                data = made.data("bond0")
                assert tuple(data[name] for name in ("miimon", "min_links", "all_slaves_active")) == wanted

            await made.shows(check, within=PATIENCE)

        await booted("bond=bond0:e0,e1:mode=active-backup,miimon=50,min_links=2,all_slaves_active=1")
        await made.nothing()
        await made.whole("bond0", "e0", "e1")
        await options_become(50, 2, 1)
        await made.settled()
        index = made.link("bond0")["ifindex"]
        await booted("bond=bond0:e0,e1:mode=active-backup,miimon=50")
        await options_become(50, 0, 0)
        # What a document says of a bond is all that counts.
        document = "kind: BondConfig, name: bond0, links: [e0, e1], bondMode: active-backup, minLinks: 1"
        await made.configure(f"{{apiVersion: v1alpha1, {document}}}")
        await options_become(0, 1, 0)
        await made.nothing()
        await options_become(50, 0, 0)
        assert made.members("bond0") == ["e0", "e1"]
        assert made.link("bond0")["ifindex"] == index
        await booted("")
        await made.becomes(link__bond0={}, problems={})


async def test_only_differences_are_written_and_other_traffic_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "{interface: e2, addresses: [192.0.2.1/24]}"
    bond = BOND.replace("192.0.2.1/24", "203.0.113.1/24")
    async with machine("e0", "e1", "e2") as made:
        await made.devices(bond, other)
        await made.whole("bond0", "e0", "e1")
        await made.becomes(addresses__e2={"192.0.2.1/24"})
        await made.settled()
        made.inside.run("ping", "-c", "1", "-w", "10", "192.0.2.9")
        output = b""

        async def flood() -> None:
            nonlocal output
            done = await trio.run_process(ping(made.inside, 400, 0.01), capture_stdout=True, stderr=subprocess.STDOUT)
            output = done.stdout

        def changed(*replaced: str) -> str:
            text = bond
            for old, new in zip(replaced[::2], replaced[1::2], strict=True):
                assert old in text
                text = text.replace(old, new)
            return text

        bond0, vlan = (made.link(name)["ifindex"] for name in ("bond0", "bond0.100"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            for text, index, field, value in (
                (changed("miimon: 100,", "miimon: 100, minLinks: 1,"), bond0, "bond", (("min_links", 1),)),
                (changed("mtu: 1400", "mtu: 1450", "miimon: 100,", "miimon: 100, minLinks: 1,"), vlan, "mtu", 1450),
            ):
                with recorded(monkeypatch) as written:
                    await made.devices(text, other)
                    await made.settled()
                assert [(each.index, getattr(each, field)) for each in written] == [(index, value)]
                assert len(written[0].apart()) == 1
            await made.devices(bond, other.replace("192.0.2.1/24", "192.0.2.1/24, 198.51.100.9/24"))
            await eventually(lambda: "198.51.100.9/24" in made.addresses("e2"), within=PATIENCE)
        sent, back = received(output.decode())
        assert sent == back == 400


@pytest.mark.soak
async def test_masters_get_the_same_hardware_address_at_each_start() -> None:
    entries = (BOND, "{interface: br0, bridge: {interfaces: [e2, e3]}}")
    with place("e0", "e1", "e2", "e3") as (inside, far):
        for _ in range(2):
            async with at_work(inside, far) as made:
                await made.devices(*entries)
                await made.whole("bond0", "e0", "e1")
                await eventually(lambda: made.link("e3").get("master") == "br0", within=PATIENCE)
                await made.settled()
                assert [made.link(name)["address"] for name in ("bond0", "br0")] == [f"{MAC}00", f"{MAC}02"]
            for name in ("bond0", "br0"):
                inside.run("ip", "link", "del", name)


# Selectors.


async def test_a_selector_follows_links_that_come_and_go() -> None:
    async with machine() as made:
        await made.devices(f"{{deviceSelector: {{hardwareAddr: '{MAC}*'}}, addresses: [10.1.0.5/24]}}")
        missing = f'deviceSelector: no link has hardwareAddr "{MAC}*"'
        await made.becomes(problems={"DeviceConfigSpecs/000": missing})
        made.plug("e0", 0)
        await made.becomes(addresses__e0={"10.1.0.5/24"}, problems={})
        # What rests on it has its address and changes nothing.
        made.inside.run("ip", "link", "add", "link", "e0", "name", "v7", "type", "vlan", "id", "7")
        await made.settled()
        assert made.problems() == {}
        made.plug("e1", 1)
        await eventually(lambda: "e0 (" in made.problems().get("DeviceConfigSpecs/000", ""), within=PATIENCE)
        await made.becomes(addresses__e0=set(), addresses__e1=set())
        made.pull("e0")
        await made.becomes(addresses__e1={"10.1.0.5/24"}, problems={})


@pytest.mark.hardware
@pytest.mark.soak
async def test_a_card_not_on_pci_is_found_by_following_the_problems_advice() -> None:
    async with machine() as made:
        with real_cards(made.inside, {"stick": "/usb"}):
            await made.devices("{deviceSelector: {busPath: '0*'}, addresses: [10.1.0.5/24]}")

            def says_what_to_do() -> None:
                problem = made.problems()["DeviceConfigSpecs/000"]
                assert "stick (usb-" in problem, problem
                assert problem.endswith("use physical: true"), problem

            await made.shows(says_what_to_do, within=PATIENCE)
            await made.devices("{deviceSelector: {physical: true}, addresses: [10.1.0.5/24]}")
            await made.becomes(addresses__stick={"10.1.0.5/24"}, problems={})
            await made.nothing()
            await made.becomes(addresses__stick=set())


# Mistakes.


@pytest.mark.hardware
@pytest.mark.soak
async def test_impossible_settings_are_reported_and_the_rest_applies() -> None:
    async with machine("e0", "e1") as made:
        await made.devices(
            "{interface: e0, mtu: 1400, addresses: [10.1.0.5/24, 'ff02::5/64'], "
            "routes: [{network: 10.8.0.0/16, gateway: 192.0.2.200}, {network: 10.9.0.0/16, gateway: 10.1.0.1}], "
            "vlans: [{vlanId: 5, mtu: 1450, addresses: [10.5.0.5, 10.6.0.5/24]}]}",
            "{interface: e1, addresses: [10.2.0.5/24]}",
            f"{{interface: wg0, addresses: [10.3.0.5/24], wireguard: {{privateKey: {PRIVATE}, peers: ["
            f"{{publicKey: {PUBLIC}, allowedIPs: [10.4.0.0/24]}}, "
            f"{{publicKey: {key_pair(6)[1]}, allowedIPs: [10.5.0.0/24]}}]}}}}",
        )

        def is_as_configured() -> None:
            assert made.addresses("e0") == {"10.1.0.5/24"}
            assert made.addresses("e1") == {"10.2.0.5/24"}
            assert made.addresses("e0.5") == {"10.6.0.5/24"}
            assert made.addresses("wg0") == {"10.3.0.5/24"}
            assert made.routes() == {("10.9.0.0/16", "10.1.0.1", "e0")}
            assert key_pair(6)[1] in made.inside.run("wg", "show", "wg0", "peers")
            problems = made.problems()
            assert "has no prefix length" in problems.pop("AddressSpecs/configuration/e0.5/10.5.0.5")
            assert "invalid gateway" in problems.pop("RouteSpecs/inet4/192.0.2.200/10.8.0.0/16/1024")
            mtu = problems.pop("LinkSpecs/e0.5")
            assert "MTU 1450 of e0.5" in mtu
            assert "MTU 1400 of e0" in mtu
            assert "that of the link itself" in problems.pop(f"WireguardPeerSpecs/wg0/{PUBLIC}")
            assert problems.keys() == {"AddressSpecs/e0/ff02::5/64"}

        await made.shows(is_as_configured, within=PATIENCE)
        await made.settled()
        is_as_configured()


@pytest.mark.hardware
@pytest.mark.soak
async def test_a_peer_endpoint_is_set_once_its_name_resolves() -> None:
    peer, answers = key_pair(6)[1], list[str]()

    async def lookup(name: str) -> list[str]:
        assert name == "vpn.example.org"
        if not answers:
            raise OSError("no name server answers")
        return answers

    def endpoints() -> str:
        return made.inside.run("wg", "show", "wg0", "endpoints").strip()

    async with machine("e0", lookup=lookup) as made:
        await made.devices(
            f"{{interface: wg0, mtu: 1380, addresses: [10.3.0.5/24], wireguard: {{privateKey: {PRIVATE}, peers: ["
            f"{{publicKey: {peer}, endpoint: 'vpn.example.org:51820', allowedIPs: [10.4.0.0/24]}}]}}}}",
            "{interface: e0, addresses: [10.1.0.5/24]}",
        )
        await made.becomes(addresses__wg0={"10.3.0.5/24"}, addresses__e0={"10.1.0.5/24"})
        await eventually(
            lambda: f"{peer}\t(none)" in made.inside.run("wg", "show", "wg0", "endpoints"), within=PATIENCE
        )
        assert "10.4.0.0/24" in made.inside.run("wg", "show", "wg0", "allowed-ips")
        await eventually(lambda: any("vpn.example.org" in text for text in made.problems().values()), within=PATIENCE)
        answers.append("192.0.2.77")
        await eventually(lambda: endpoints() == f"{peer}\t192.0.2.77:51820", within=PATIENCE)
        await made.becomes(problems={})


# What others do.


@pytest.mark.soak
async def test_removed_settings_are_restored_and_foreign_ones_kept() -> None:
    documents = f"""
apiVersion: v1alpha1
kind: BondConfig
name: bond0
links: [e0, e1]
bondMode: active-backup
miimon: 100
hardwareAddr: {MAC}aa
addresses: [{{address: 192.0.2.1/24}}]
routes: [{{destination: 10.8.0.0/16, gateway: 192.0.2.9}}]
---
{{apiVersion: v1alpha1, kind: RoutingRuleConfig, name: "1500", src: 10.0.0.0/8, table: "180"}}
---
{{apiVersion: v1alpha1, kind: LinkConfig, name: e2, mtu: 1400}}
"""
    foreign: tuple[tuple[str, ...], ...] = (
        ("ip", "link", "add", "theirs", "type", "dummy"),
        ("ip", "link", "set", "theirs", "up"),
        ("ip", "addr", "add", "10.77.0.1/24", "dev", "theirs"),
        ("ip", "addr", "add", "10.78.0.1/24", "dev", "e2"),
        ("ip", "link", "set", "e2", "up"),
        ("ip", "route", "add", "10.79.0.0/16", "via", "10.77.0.9", "metric", "7", "proto", "static"),
        ("ip", "rule", "add", "priority", "1501", "from", "10.9.0.0/16", "lookup", "181", "protocol", "boot"),
    )

    async with machine("e0", "e1", "e2") as made:
        for command in foreign:
            made.inside.run(*command)
        await made.configure(documents)
        await made.whole("bond0", "e0", "e1")
        there = {("10.8.0.0/16", "192.0.2.9", "bond0")}
        there.add(("10.79.0.0/16", "10.77.0.9", "theirs"))
        await made.becomes(addresses__bond0={"192.0.2.1/24"}, routes=there)
        await eventually(lambda: (1500, "10.0.0.0/8", "180") in made.rules(), within=PATIENCE)
        await made.settled()
        undone: tuple[tuple[str, ...], ...] = (
            ("ip", "addr", "del", "192.0.2.1/24", "dev", "bond0"),
            ("ip", "route", "del", "10.8.0.0/16"),
            ("ip", "rule", "del", "priority", "1500"),
            ("ip", "link", "set", "bond0", "type", "bond", "miimon", "70"),
            ("ip", "link", "set", "e2", "mtu", "1300"),
            ("ip", "link", "del", "bond0"),
        )
        for undo in undone:
            made.inside.run(*undo)

            def is_back() -> None:
                assert made.members("bond0") == ["e0", "e1"]
                assert made.addresses("bond0") == {"192.0.2.1/24"}
                assert made.routes() == there
                assert (1500, "10.0.0.0/8", "180") in made.rules()
                assert made.data("bond0")["miimon"] == 100
                assert made.link("bond0")["address"] == f"{MAC}aa"
                assert made.link("e2")["mtu"] == 1400

            await made.shows(is_back, within=PATIENCE)
        await made.nothing()
        await made.becomes(link__bond0={}, routes={("10.79.0.0/16", "10.77.0.9", "theirs")})
        await made.settled()
        assert made.addresses("theirs") == {"10.77.0.1/24"}
        assert made.addresses("e2") == {"10.78.0.1/24"}
        assert "10.79.0.0/16 via 10.77.0.9" in made.inside.run("ip", "route")
        assert made.rules() == {(1501, "10.9.0.0/16", "181")}
