"""Checks, by trying, what a machine needs to run a cluster."""

import os
import shutil
import subprocess

from nodespan.cluster.etcd import PROGRAM as ETCD
from nodespan.cluster.plan import PREFIX
from nodespan.controllers.common.installing import how_to_install
from nodespan.kernel.wireguard.daemon import PROGRAM as WIREGUARD_GO

# Programs and their packages in Debian and its derivatives; some of Fedora's names differ.
_PROGRAMS = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "mount": "mount"}
_FOR_VIP = {ETCD: "etcd-server"}
_TUN = "/dev/net/tun"


def missing_requirements(*, vip: bool = False) -> list[str]:
    """Why a cluster, or one with a virtual IP, cannot run here: a sentence each, with what to do; empty if it can.
    Blocks for a moment."""
    if os.geteuid() != 0:
        return ["network namespaces need root: run it with sudo"]
    programs = _PROGRAMS | (_FOR_VIP if vip else {})
    if packages := [package for program, package in programs.items() if shutil.which(program) is None]:
        return [f"programs are missing: {how_to_install(*packages)}"]
    probe = f"{PREFIX}probe-{os.getpid()}"
    if reason := _refusal("ip", "netns", "add", probe):
        return [
            f"network namespaces cannot be created here, as in most containers ({reason}): use a machine of its own"
        ]
    try:
        return list(_missing_in(probe))
    finally:
        _refusal("ip", "netns", "delete", probe)


def _missing_in(namespace: str) -> list[str]:
    missing = []
    for kind in ("veth", "bridge"):
        if reason := _refusal("ip", "-n", namespace, "link", "add", f"try{kind}", "type", kind):
            missing.append(f"this kernel cannot create a {kind} links ({reason}): load the module {kind}")
    if reason := _refusal("ip", "netns", "exec", namespace, "nft", "add", "table", "inet", "probe"):
        missing.append(f"this kernel has no nftables ({reason}): load the module nf_tables")
    if _refusal("ip", "-n", namespace, "link", "add", "trywg", "type", "wireguard"):
        if shutil.which(WIREGUARD_GO) is None:
            missing.append(
                "this kernel has no WireGuard, and wireguard-go is not installed: load the module wireguard "
                f"(modprobe wireguard), or {how_to_install(WIREGUARD_GO)}"
            )
        elif not os.path.exists(_TUN):
            missing.append(f"this kernel has no WireGuard, and wireguard-go needs {_TUN}: load the module tun")
    return missing


def _refusal(*command: str) -> str:
    """Run a command; "" if it succeeds, else its message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"
