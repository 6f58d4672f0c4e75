"""Links of the kinds that any kernel has: made, set up, healed, removed; and those of others left alone."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from resources.network import LinkSpec, NetworkProblem
from runtime.testing.kit import Node
from tests.mesh.link_scenarios import (
    BASE,
    SPECS,
    a_link_is_made_changed_healed_and_removed,
    a_port_is_put_into_its_bridge_and_released,
    links,
    node,
    unwant,
    want,
)
from tests.support import probe
from tests.support.process import eventually

pytestmark = pytest.mark.needs_link("veth")


async def problem(runtime: Node, name: str) -> str:
    return (await runtime.eventually(NetworkProblem, f"LinkSpecs/{name}")).spec.message


def kind_of(link: dict[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


@pytest.mark.parametrize("kind", ["veth", pytest.param("bridge", marks=pytest.mark.needs_link("bridge"))])
async def test_a_link_is_made_changed_healed_and_removed(kind: str) -> None:
    await a_link_is_made_changed_healed_and_removed(kind)


@pytest.mark.needs_link("bridge")
async def test_a_port_is_put_into_its_bridge_and_released() -> None:
    await a_port_is_put_into_its_bridge_and_released()


async def test_a_link_that_others_made_is_set_up_and_never_removed() -> None:
    async with node() as (inside, runtime):
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False, mtu=1300))
        await eventually(lambda: links(inside)["p0"]["mtu"] == 1300 and "UP" in links(inside)["p0"]["flags"])
        await unwant(runtime, "p0")
        await runtime.gone(LinkSpec, "p0")
        assert links(inside)["p0"]["mtu"] == 1300


async def test_a_link_is_found_by_an_alternative_name() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "property", "add", "dev", "p0", "altname", "uplink")
        await want(runtime, attrs.evolve(BASE, name="uplink", logical=False, mtu=1300))
        await eventually(lambda: links(inside)["p0"]["mtu"] == 1300)


@pytest.mark.needs_link("bridge")
async def test_a_foreign_link_of_the_wanted_name_is_named_and_left_alone() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "link", "add", "x0", "type", "bridge")
        before = links(inside)["x0"]
        await want(runtime, SPECS["veth"])
        assert "there is a bridge link x0 already" in await problem(runtime, "x0")
        await unwant(runtime)
        await runtime.gone(LinkSpec, "x0")
        assert links(inside)["x0"] == before


@pytest.mark.needs_link("bridge")
async def test_a_link_of_ours_may_become_one_of_another_kind() -> None:
    async with node() as (inside, runtime):
        await want(runtime, SPECS["veth"])
        await eventually(lambda: "x1" in links(inside))
        await want(runtime, SPECS["bridge"])
        await eventually(lambda: kind_of(links(inside).get("x0", {})) == "bridge")
        assert "x1" not in links(inside)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="there is no /dev/net/tun")
async def test_a_tun_link_of_others_is_not_taken_for_wireguard() -> None:
    async with node() as (inside, runtime):
        inside.run("ip", "tuntap", "add", "x0", "mode", "tun")
        await want(runtime, attrs.evolve(BASE, kind="wireguard"))
        assert "there is a tun link x0 that is no WireGuard device" in await problem(runtime, "x0")
        await unwant(runtime)
        await runtime.gone(LinkSpec, "x0")
        assert "x0" in links(inside)


async def test_what_the_kernel_cannot_make_is_named() -> None:
    reason = probe.no_link("dummy")
    async with node() as (inside, runtime):
        await want(runtime, attrs.evolve(BASE, name="b0", kind="geneve"))
        assert "links of kind geneve cannot be made" in await problem(runtime, "b0")
        if reason is not None:
            await want(runtime, SPECS["dummy"])
            assert await problem(runtime, "x0") == "this kernel makes no dummy links"
        await want(runtime, attrs.evolve(BASE, name="y0", kind="vlan", parent_name="later0"))
        assert await problem(runtime, "y0") == "there is no link later0"
        await want(runtime, attrs.evolve(BASE, name="p0", logical=False))
        await eventually(lambda: "UP" in links(inside)["p0"]["flags"])
