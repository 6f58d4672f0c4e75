"""ConfigStatus: which configuration is in effect, since when, and whether it is here to stay."""

import datetime

import attrs

from nodespan.runtime.resource import ResourceType, wire

CONFIG_STATUS_ID = "v1alpha1"


@attrs.frozen(kw_only=True)
class ConfigStatusSpec:
    """What the configuration in effect was read from, and how it fares.

    `digest` is that of its text, "" if none is in effect; `since` is when it came to be. `trial_until` is when it goes
    away again unless it is confirmed, None if it stays. `error` is the first mistake of what is not used instead, ""
    if everything is. `taking_over`: what is in effect is what an agent before this one has left, or follows on it, and
    serves to tell what is to be taken back. Nothing of it is done to the kernel, only undone.
    """

    files: tuple[str, ...] = ()
    digest: str = ""
    since: datetime.datetime | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    trial_until: datetime.datetime | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    error: str = attrs.field(default="", metadata=wire(omit_empty=True))
    taking_over: bool = attrs.field(default=False, metadata=wire(omit_empty=True))


ConfigStatus = ResourceType(
    "ConfigStatuses.config.nodespan.dev",
    ConfigStatusSpec,
    namespace="config",
    columns={
        "Files": ".files[*]",
        "Digest": ".digest",
        "Since": ".since",
        "Trial Until": ".trialUntil",
        "Error": ".error",
    },
)
