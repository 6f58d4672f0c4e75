"""VipCondition: a check that a node must pass to own virtual IPs."""

import datetime

import attrs

from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class VipCondition:
    """One check; exactly one of `tcp`, `http`, `unit` and `resource` is set.

    `tcp` is host:port, which must accept a connection. `http` is a URL that must answer with a status from 200
    to 299; `ca` is the PEM file that verifies an https server, "" for the system's. `unit` is a systemd unit
    that must be active. `resource` is TYPE/ID as on the command line, a resource that must exist; with `json_path` the
    text that the expression finds in it must be equal to `equals`.

    The check is made every `interval` and must succeed within `timeout`; it counts as failed after `failures` in a row.
    """

    tcp: str = ""
    http: str = ""
    ca: str = ""
    unit: str = ""
    resource: str = ""
    json_path: str = attrs.field(default="", metadata=wire("jsonPath"))
    equals: str = ""
    interval: datetime.timedelta = datetime.timedelta(seconds=1)
    timeout: datetime.timedelta = datetime.timedelta(milliseconds=500)
    failures: int = 2

    @property
    def name(self) -> str:
        """The name of the condition: `tcp/127.0.0.1:6443`."""
        for kind in ("tcp", "http", "unit", "resource"):
            target: str = getattr(self, kind)
            if target:
                return f"{kind}/{target}"
        return ""
