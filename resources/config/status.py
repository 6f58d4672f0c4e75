"""ConfigStatus: which configuration is in effect, since when, and whether it is permanent."""

import datetime

import attrs

from nodespan.runtime.resource import ResourceType, wire

CONFIG_STATUS_ID = "v1alpha1"


@attrs.frozen(kw_only=True)
class ConfigStatusSpec:
    """The files of the configuration in effect, and its state."""

    files: tuple[str, ...] = ()
    """The paths of the files that are read."""
    digest: str = ""
    """A digest of the text of the configuration in effect, "" if none is."""
    since: datetime.datetime | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    """When it took effect."""
    trial_until: datetime.datetime | None = attrs.field(default=None, metadata=wire(omit_empty=True))
    """When it is rolled back unless it is confirmed; unset if it is permanent."""
    error: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """The first error of files that are not used because of it, "" if all are used."""
    taking_over: bool = attrs.field(default=False, metadata=wire(omit_empty=True))
    """Whether the configuration in effect was left by an earlier agent, or has just replaced such a one. Until this is
    false controllers change nothing in the kernel, they only undo.
    """


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
