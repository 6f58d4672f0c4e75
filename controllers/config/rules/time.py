"""TimeSyncConfig."""

from collections.abc import Iterator
from datetime import timedelta

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under
from nodespan.controllers.config.notation import is_ip
from nodespan.controllers.config.rules.base import RuleSet, check_words
from nodespan.resources.config.host import (
    TimeSyncConfig,
)

RULES = RuleSet()


@RULES.document(TimeSyncConfig)
def check_time_sync(time: TimeSyncConfig) -> Iterator[Finding]:
    """TimeSyncConfig."""
    if time.ntp is not None and time.ptp is not None:
        yield at("ptp", message="ntp and ptp exclude each other", hint="take one of the two away")
    if time.ntp is not None and time.ntp.use_nts:
        for index, server in enumerate(time.ntp.servers):
            if is_ip(server):
                message = f"{quote(server)} is an address, and NTS needs names"
                yield at("ntp", "servers", index, message=message, hint="a certificate proves a name")
    if time.ntp is not None:
        yield from under(("ntp",), check_words("servers", *time.ntp.servers, are_many=True))
    if time.ptp is not None:
        yield from under(("ptp",), check_words("devices", *time.ptp.devices, are_many=True))
    if time.boot_timeout < timedelta():
        yield at("bootTimeout", message="the timeout is negative", hint="write it like 1m, or 0s not to wait")
