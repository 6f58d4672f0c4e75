"""miniupnpd, a router's daemon for port mappings, from the package that the Makefile fetches and does not install."""

import contextlib
import fcntl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodespan.controllers.kubespan.mapping import pcp, upnp
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace
from tests.support.process import eventually, running

PACKAGE = Path(__file__).parents[2] / ".cache/router/miniupnpd-nftables.deb"
LAN, WAN = "192.168.7.1", "11.0.0.1"
# The daemon asks the kernel which address it has outside, and maps nothing for a private one.
_SETTINGS = f"""\
ext_ifname=wan
listening_ip=lan
port=0
secure_mode=yes
min_lifetime=120
max_lifetime=86400
uuid=00000000-0000-4000-8000-000000000000
allow 1024-65535 {LAN}/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
# Nothing gets in that nobody inside has asked for, by a packet or a mapping.
_RULES = """\
table inet filter {
  chain miniupnpd {}
  chain prerouting_miniupnpd {}
  chain postrouting_miniupnpd {}
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
    jump miniupnpd
  }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname "wan" masquerade; }
}
"""


def program() -> Path:
    """The daemon; skips the test where there is none. Blocks for a moment, the first time."""
    if not PACKAGE.exists():
        pytest.skip("there is no package of miniupnpd: make test-mesh fetches it, on Debian")
    unpacked = PACKAGE.with_suffix("")
    with open(PACKAGE) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            staging = unpacked.with_suffix(".new")
            subprocess.run(("dpkg", "-x", str(PACKAGE), str(staging)), check=True, timeout=PATIENCE)
            staging.rename(unpacked)
    return unpacked / "usr/sbin/miniupnpd"


@contextlib.asynccontextmanager
async def mapping_ports(router: Namespace, directory: Path, *, only_upnp: bool = False) -> AsyncIterator[None]:
    """Have a namespace with the links `lan` and `wan` be a home router, for as long as the block lasts."""
    config = directory / "miniupnpd.conf"
    config.write_text(_SETTINGS + f"enable_natpmp={'no' if only_upnp else 'yes'}\n")
    router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    router.run("nft", "-f", "-", stdin=_RULES)
    log = directory / "miniupnpd.log"
    command = f'exec "{program()}" -d -f "{config}" -P "{directory}/miniupnpd.pid" >"{log}" 2>&1'
    async with running("sh", "-c", command, namespace=router) as process:
        # The last socket that it opens; what it writes to the log is buffered.
        port = upnp.SEARCH_PORT if only_upnp else pcp.PORT

        def listens() -> bool:
            assert process.returncode is None, log.read_text()
            return f":{port:04X} " in Path(f"/proc/{process.pid}/net/udp").read_text()

        await eventually(listens)
        yield


def is_open(router: Namespace, target: str) -> bool:
    """Whether the router leads some port to this address, `address:port`."""
    return f"dnat ip to {target}" in router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd")
