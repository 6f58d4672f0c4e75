"""The metrics of the configuration: which one is in effect, since when, and whether its files are used."""

from collections.abc import Iterator

from nodespan.resources.config.status import CONFIG_STATUS_ID, ConfigStatus
from nodespan.runtime.metrics import Family, Kind, Metric, MetricSource
from nodespan.runtime.state import State

INFO = Metric(
    name="nodespan_config_info",
    text="The configuration in effect, by the start of its digest; nothing while there is none.",
    kind=Kind.INFO,
    labels=("digest",),
    series="1",
    remedy="`count by (digest) (nodespan_config_info)` shows how far a change has come",
)
ERROR = Metric(
    name="nodespan_config_error",
    text="1 while the files of the configuration are not used because of a mistake.",
    remedy="`nodespan validate FILE` has the line; until it is mended, the configuration before it stays in effect",
)
TRIAL = Metric(
    name="nodespan_config_trial",
    text="1 while the configuration is on trial, and is rolled back unless it is confirmed.",
    remedy="`nodespan apply --confirm`",
)
CHANGED = Metric(
    name="nodespan_config_changed_timestamp_seconds",
    text="When the configuration took effect, in seconds since the epoch; 0 while there is none.",
)


def _collect(state: State) -> Iterator[Family]:
    status = state.find(ConfigStatus, CONFIG_STATUS_ID)
    if status is None:
        return
    spec = status.spec
    yield INFO.by({(spec.digest[:12],): 1} if spec.digest else {})
    yield ERROR(bool(spec.error))
    yield TRIAL(spec.trial_until is not None)
    yield CHANGED(0 if spec.since is None else spec.since.timestamp())


METRICS = MetricSource(title="The configuration", metrics=(INFO, ERROR, TRIAL, CHANGED), collect=_collect)
