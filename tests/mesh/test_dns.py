"""The node's own DNS server in a network of its own, asked by dig and by the C library."""

import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.agent import agent
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, connect, namespaces
from tests.support.process import eventually, running

pytestmark = [pytest.mark.needs_link("veth"), pytest.mark.needs_program("dig", "dnsmasq", "getent", "unshare")]

SERVER = "127.0.0.153"
WAYS = ("udp", "tcp")
UPSTREAM = {"healthy": "true", "addr": "192.0.2.2:53"}
BACKWARDS = ["printer.corp.example.", "printer."]
AT = f"@{SERVER}"
# What dig prints for what it is asked.
ANSWERS = (
    (("Printer.corp.example",), ["198.51.100.7"]),
    (("-x", "198.51.100.7"), BACKWARDS),
    (("www.example.org",), ["93.184.215.14"]),
)
OUTCOMES = (
    (("rebound.example.org",), ("status: NOERROR", "ANSWER: 0")),
    (("none.example.org",), ("status: NXDOMAIN",)),
    (("version.bind", "CH", "TXT"), ("status: REFUSED",)),
)
CONFIG = """\
version: v1alpha1
machine:
  type: worker
  network:
    nameservers: [192.0.2.2]
    extraHostEntries: [{ip: 198.51.100.7, aliases: [printer, printer.corp.example]}]
  features: {hostDNS: {enabled: true, resolveMemberNames: true}}
"""
DNSMASQ = (
    *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"),
    *("--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=192.0.2.2"),
    *("--address=/www.example.org/93.184.215.14", "--address=/rebound.example.org/127.0.0.1", "--local=/example.org/"),
)


def dig(inside: Namespace, *arguments: str) -> str:
    command = inside.inside("dig", "+tries=1", "+time=5", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()


def _prints(inside: Namespace, arguments: Sequence[str], lines: list[str]) -> bool:
    return dig(inside, "+short", *arguments, AT).splitlines() == lines


def _shows(inside: Namespace, arguments: Sequence[str], signs: Sequence[str]) -> bool:
    shown = dig(inside, *arguments, AT)
    return all(sign in shown for sign in signs)


def look_up(inside: Namespace, resolv_conf: Path, name: str) -> list[str]:
    """What the C library finds, whose servers are those of a file."""
    script = 'mount --bind "$0" /etc/resolv.conf && exec getent ahostsv4 "$1"'
    command = inside.inside("unshare", "--mount", "sh", "-c", script, str(resolv_conf), name)
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout
    return sorted({line.split()[0] for line in found.splitlines()})


async def test_programs_look_names_up_at_the_node_and_nobody_else_does(tmp_path: Path) -> None:
    configuration, resolv_conf = tmp_path / "config.yaml", tmp_path / "resolv.conf"
    configuration.write_text(CONFIG)
    resolv_conf.write_text(f"nameserver {SERVER}\noptions timeout:10\n")
    with namespaces("node", "outside") as (node, outside):
        connect(node, "eth0", outside, "eth0")
        node.ip("address add 192.0.2.1/24 dev eth0")
        outside.ip("address add 192.0.2.2/24 dev eth0")
        async with running(*DNSMASQ, namespace=outside), agent(tmp_path, namespace=node) as served:
            served.run("apply", str(configuration))
            await eventually(lambda: served.specs("dnsresolvecaches").keys() == {f"{way}-{SERVER}:53" for way in WAYS})
            await eventually(lambda: served.specs("dnsupstreams") == {"#000 Do53 192.0.2.2": UPSTREAM})
            for way in ("+notcp", "+tcp"):
                # Until it is so: what dnsmasq on a busy machine answers too late is a failure, for some seconds.
                for arguments, found in ANSWERS:
                    await eventually(partial(_prints, node, (way, *arguments), found))
                for name, signs in OUTCOMES:
                    await eventually(partial(_shows, node, (way, *name), signs))
            assert look_up(node, resolv_conf, "printer") == ["198.51.100.7"]
            assert look_up(node, resolv_conf, "www.example.org") == ["93.184.215.14"]
            why = served.run("why", "dnsresolvecache", f"udp-{SERVER}:53")
            assert "HostDNSConfig network/config" in why
            assert "StaticHost" not in why
            assert "ResolverStatus network/resolvers" in served.run("why", "dnsupstream", "#000 Do53 192.0.2.2")
            # From outside there is no server.
            assert "connection refused" in dig(outside, "printer", "@192.0.2.1")
