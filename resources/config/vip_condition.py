"""VipCondition: a check that a node must pass to own virtual IPs."""

import datetime

import attrs

from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class VipCondition:
    """One check. Exactly one of `tcp`, `http`, `unit`, `resource` and `probe` is set."""

    tcp: str = ""
    """`host:port`, which must accept a connection."""
    http: str = ""
    """A URL that must answer with a status from 200 to 299."""
    ca: str = ""
    """The PEM file of the authority that verifies an https server, "" for the system's."""
    unit: str = ""
    """A systemd unit that must be active."""
    resource: str = ""
    """A resource that must exist, as `TYPE/ID` on the command line."""
    probe: str = ""
    """The name of the document of a probe, which must succeed."""
    json_path: str = attrs.field(default="", metadata=wire("jsonPath"))
    """An expression on that resource, whose text must be equal to `equals`."""
    equals: str = ""
    """The text that the expression must find."""
    interval: datetime.timedelta = datetime.timedelta(seconds=1)
    """How often the check is made."""
    timeout: datetime.timedelta = datetime.timedelta(milliseconds=500)
    """How long one check may take."""
    failures: int = 2
    """After how many failures in a row the condition counts as failed."""

    @property
    def name(self) -> str:
        """The name of the condition: `tcp/127.0.0.1:6443`."""
        for kind in ("tcp", "http", "unit", "resource", "probe"):
            target: str = getattr(self, kind)
            if target:
                return f"{kind}/{target}"
        return ""
