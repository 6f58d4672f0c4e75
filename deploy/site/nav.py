"""The order of the site's pages. A page of `docs/` that stands nowhere here goes below "More"."""

from collections.abc import Iterator
from typing import Any

# A title with a page, or with a list of such; a page alone has the title that it gives itself.
NAV: list[Any] = [
    {"nodespan": "index.md"},
    {
        "Tutorials": [
            "tutorial/two-machines.md",
            "tutorial/virtual-ip.md",
            "tutorial/first-controller.md",
        ]
    },
    {
        "How to": [
            {
                "Set up": [
                    "install.md",
                    "kubespan.md",
                    "howto/join-a-talos-cluster.md",
                    "howto/discovery-service.md",
                    "relay.md",
                    "reachability.md",
                    "howto/behind-a-proxy.md",
                ]
            },
            {
                "Move to nodespan": [
                    "howto/from-wesher.md",
                    "howto/from-wg-quick.md",
                    "howto/from-keepalived.md",
                ]
            },
            {
                "Configure": [
                    "apply.md",
                    "network.md",
                    "names.md",
                    "dhcp.md",
                    "wireguard.md",
                    "ethernet.md",
                    "vip.md",
                    "firewall.md",
                    "host.md",
                    "dns.md",
                ]
            },
            {
                "Operate": [
                    "operators.md",
                    "at-a-glance.md",
                    "dashboard.md",
                    "metrics.md",
                    "lifecycle.md",
                    "howto/back-up-and-restore.md",
                    "howto/rotate-keys.md",
                    "howto/troubleshooting.md",
                    "remote.md",
                ]
            },
            {
                "Extend": [
                    "controllers.md",
                    "user-resources.md",
                    "states.md",
                    "etcd.md",
                ]
            },
        ]
    },
    {
        "Reference": [
            {
                "Resources": [
                    "reference/resources/index.md",
                    {"The network": "reference/resources/network.md"},
                    {"The mesh": "reference/resources/kubespan.md"},
                    {"The cluster": "reference/resources/cluster.md"},
                    {"The configuration": "reference/resources/config.md"},
                    {"Files, certificates, secrets": "reference/resources/machine.md"},
                    {"The agent": "reference/resources/runtime.md"},
                ]
            },
            {"Configuration": ["reference/configuration/", "configuration.md"]},
            {"Commands": "reference/cli/"},
            "reference/events.md",
            "reference/problems.md",
            {"Python": ["api.md", "reference/python/"]},
        ]
    },
    {
        "Explanation": [
            "architecture.md",
            "discovery.md",
            "security.md",
            "threat-model.md",
            "performance.md",
            "comparison.md",
            {"Decisions": "adr/"},
        ]
    },
    {"Project": ["changelog.md", "contributing.md", "reporting.md"]},
]


def arranged(pages: list[str]) -> list[Any]:
    """The order of these pages: a folder stands for all of its pages, and what is missing is left out."""
    left = sorted(pages, key=lambda page: (not page.endswith(("index.md", "README.md")), page))

    def take(entry: Any) -> Iterator[Any]:
        match entry:
            case dict():
                for title, below in entry.items():
                    found = [each for part in (below if isinstance(below, list) else [below]) for each in take(part)]
                    if found:
                        yield {title: found[0] if isinstance(below, str) and not below.endswith("/") else found}
            case str() if entry.endswith("/"):
                for page in [page for page in left if page.startswith(entry)]:
                    left.remove(page)
                    yield page
            case str() if entry in left:
                left.remove(entry)
                yield entry

    nav = [each for entry in NAV for each in take(entry)]
    more = [page for page in left if not page.startswith("source/")]
    return [*nav, {"More": more}] if more else nav
