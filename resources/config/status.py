"""ConfigStatus: which configuration is in effect, since when, and whether it is permanent."""

import datetime

import attrs

from nodespan.runtime.resource import ResourceType, wire

CONFIG_STATUS_ID = "v1alpha1"


@attrs.frozen(kw_only=True)
class ConfigStatusSpec:
    """The files of the configuration in effect, and its state.

    `digest` is that of its text, "" if none is in effect; `since` is when it took effect. `trial_until` is when it is
    rolled back unless confirmed, None if it is permanent. `error` is the first error of files that are not used because
    of it, "" if all are. `taking_over`: the configuration in effect was left by an earlier agent, or has just replaced
    such a one. Until this is false, controllers change nothing in the kernel, they only undo.
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
    singular="ConfigStatus",
    namespace="config",
    columns={
        "Files": ".files[*]",
        "Digest": ".digest",
        "Since": ".since",
        "Trial Until": ".trialUntil",
        "Error": ".error",
    },
)
