"""docs/metrics.md, made from the declarations of metrics. `python -m tests.docs.metrics_page` writes it."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import structlog

from nodespan.controllers.overview.monitoring import alerts
from nodespan.discovery.service import metrics as discovery
from nodespan.discovery.service import relaying
from nodespan.runtime.api import metrics as agent
from nodespan.runtime.api.exposition import LONGEST_LABEL, MOST_SERIES
from nodespan.runtime.metrics import Metric, process
from nodespan.runtime.plugins import Settings, load_installed

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
_HEAD = """\
# Metrics

- [Scraping](#scraping): [what is bounded](#what-is-bounded)
- [The dashboard and the alerts](#the-dashboard-and-the-alerts)
- [Metrics of the agent](#metrics-of-the-agent):
  {agent}
- [Metrics of the discovery service](#metrics-of-the-discovery-service)
- [Metrics of the relay](#metrics-of-the-relay)
- [Metrics of your own](#metrics-of-your-own)

The lists on this page are made from the code by `make docs`.

## Scraping

With `--metrics HOST:PORT`, the agent and `nodespan discovery serve` answer at `/metrics`. There is no authentication:
choose an address that only authorised clients can reach. No metric has a secret in it; names of peers, links, virtual
IPs and discovery services are labels.

```console
$ sudo nodespan agent --metrics 127.0.0.1:9600
$ sudo nodespan agent --metrics '[::1]:9600'
$ nodespan discovery serve --insecure --metrics 127.0.0.1:2122
```

A client that prefers it, such as Prometheus, gets OpenMetrics 1.0; others get Prometheus' text format 0.0.4.

```yaml
scrape_configs:
  - job_name: nodespan
    static_configs: [{{targets: ["192.0.2.11:9600", "192.0.2.12:9600"]}}]
  - job_name: nodespan-discovery
    static_configs: [{{targets: ["192.0.2.10:2122"]}}]
rule_files: [/etc/prometheus/nodespan-alerts.yaml]
```

The agent also answers probes. `/healthz` says `ok` for as long as the agent answers at all. `/readyz` has status 503,
and a line for each reason, while a controller waits to be restarted or a part of `nodespan get netstatus` is not ready.

### What is bounded

Labels are names that other nodes, services and users chose. A value has at most {longest} characters, and control
characters, changes of direction and what is no text are shown escaped. The column "series" says how many series a
metric has at most on one node; beyond {most:,} of one metric, those that come last in the order of their labels are
left out, and `nodespan_metrics_left_out_series` counts them.

## The dashboard and the alerts

Both are in the packages, in `/usr/share/nodespan/monitoring/`, and in every installation:

```console
$ nodespan gen dashboard > nodespan.json          # Grafana: Dashboards, New, Import
$ nodespan gen alerts > nodespan-alerts.yaml      # Prometheus: a file of rule_files
```

The dashboard needs Grafana 10 or newer, and asks for the data source and the job. The alerts take the jobs from the
metrics themselves, except for `NodespanAgentDown`, for which the job is called `nodespan`, as above. Each has a
severity (`critical`: the mesh or an address does not work; `warning`: it works, look today) and a description with what
to do. Tests let each of them fire and resolve in Prometheus.

{alerts}
"""
_FOOT = """\
## Metrics of your own

A controller's package publishes metrics of its own where it makes its controllers. They are read from the state at each
scrape, so counting is up to resources or to objects of yours.

```python
from collections.abc import Iterator

import attrs

from nodespan.runtime.metrics import Family, Metric, MetricSource
from nodespan.runtime.plugins import AnyController, Settings
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import State


@attrs.frozen(kw_only=True)
class BackupSpec:
    \"\"\"The last backup.\"\"\"

    ok: bool = True


Backup = ResourceType("Backups.example.dev", BackupSpec, namespace="backups")
FAILED = Metric(
    name="example_backup_failed",
    text="1 while the last backup of a disk failed.",
    labels=("disk",),
    series="one for each disk",
    remedy="run it again",
)


def collect(state: State) -> Iterator[Family]:
    yield FAILED.by({(backup.id,): not backup.spec.ok for backup in state.list(Backup)})


def controllers(settings: Settings) -> list[AnyController]:
    settings.publish(MetricSource(title="Backups", metrics=(FAILED,), collect=collect))
    return []
```
"""


def sections() -> dict[str, tuple[Metric, ...]]:
    """The metrics of the agent, by the titles of their sections."""
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(state_dir=Path(directory))
        load_installed(settings, structlog.get_logger())
    found = {source.title: source.metrics for source in settings.metrics}
    return {**dict(sorted(found.items())), "The runtime": agent.METRICS, "The process": process.METRICS}


def page() -> str:
    """The page."""
    agent_sections = sections()
    titles = ",\n  ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title in agent_sections)
    head = _HEAD.format(agent=titles, longest=LONGEST_LABEL, most=MOST_SERIES, alerts=_alerts())
    parts = [head, "## Metrics of the agent\n"]
    for title, metrics in agent_sections.items():
        parts.append(f"### {title}\n\n{_table(metrics)}")
    parts.append(
        "## Metrics of the discovery service\n\nBeside these it has those of [the process](#the-process). No label "
        f"names a cluster, a client or an address.\n\n{_table(discovery.METRICS)}"
    )
    parts.append(
        "## Metrics of the relay\n\nOf [a relay](relay.md) alone, which has those of the process too, and of a "
        "discovery service with `--relay`. No label names a node, a cluster or an address.\n\n"
        f"{_table(relaying.METRICS)}"
    )
    return "\n".join([*parts, _FOOT])


def _table(metrics: Iterable[Metric]) -> str:
    rows = ["| metric | type | labels | series | meaning, and what to do |", "|---|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(metric.labels)
        series = metric.series or "1"
        remedy = f" *{metric.remedy[:1].upper()}{metric.remedy[1:]}.*" if metric.remedy else ""
        unit = f", {metric.unit}" if metric.unit else ""
        rows.append(f"| `{metric.name}` | {metric.kind}{unit} | {labels} | {series} | {metric.text}{remedy} |")
    return "\n".join([*rows, ""])


def _alerts() -> str:
    rows = ["| alert | severity | after | what to do |", "|---|---|---|---|"]
    for alert in (*alerts.AGENT, *alerts.DISCOVERY):
        summary = re.sub(r"{{ \$(?:labels\.)?(\w+) }}", r"(\1)", alert.summary)
        rows.append(f"| `{alert.name}` | {alert.severity} | {alert.lasts} | {summary} *{alert.remedy}* |")
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
