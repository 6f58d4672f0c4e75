"""A real Prometheus scrapes a real agent and a real discovery service, and loads the rules and the queries."""

import contextlib
import json
import re
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import attrs
import pytest

from nodespan.controllers.overview.monitoring.alerts import AGENT, AGENT_JOB, DISCOVERY, DISCOVERY_JOB
from nodespan.controllers.overview.monitoring.dashboard import ROWS
from tests.support.agent import COMMAND, AgentProcess, agent, nodespan
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, entered, namespace
from tests.support.process import eventually, running
from tests.support.prometheus import program

AGENT_AT, DISCOVERY_AT, PROMETHEUS_AT = "127.0.0.1:9600", "127.0.0.1:2122", "127.0.0.1:9090"
CONFIG = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [alerts.yaml]
scrape_configs:
  - {{job_name: {AGENT_JOB}, static_configs: [{{targets: ["{AGENT_AT}"]}}]}}
  - {{job_name: {DISCOVERY_JOB}, static_configs: [{{targets: ["{DISCOVERY_AT}"]}}]}}
"""


@attrs.frozen
class Prometheus:
    """A running one, asked over HTTP in its namespace. Every call blocks."""

    inside: Namespace

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of the API. Raises AssertionError if there is none yet."""
        query = urllib.parse.urlencode(parameters)
        try:
            with entered(self.inside), urlopen(f"http://{PROMETHEUS_AT}/api/v1/{path}?{query}", timeout=PATIENCE) as it:
                found = json.load(it)
        except OSError as error:
            raise AssertionError(f"Prometheus does not answer {path}: {error}") from error
        assert found["status"] == "success", found
        return found["data"]

    def value(self, query: str) -> float | None:
        """The value of the only series of a query; None if there is none."""
        found = self.ask("query", query=query)["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None


@contextlib.asynccontextmanager
async def monitored(directory: Path) -> AsyncIterator[tuple[Prometheus, AgentProcess]]:
    """A namespace with an agent, a discovery service, and a Prometheus that scrapes both."""
    binary = program("prometheus")
    (directory / "prometheus.yaml").write_text(CONFIG)
    (directory / "alerts.yaml").write_text(nodespan("gen", "alerts", directory=directory).stdout)
    options = (
        f"--config.file={directory}/prometheus.yaml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address={PROMETHEUS_AT}",
        "--log.level=warn",
    )
    serve = ("discovery", "serve", "--insecure", "--listen", "127.0.0.1:3000", "--metrics", DISCOVERY_AT)
    with namespace() as inside:
        state = {"NODESPAN_STATE_DIR": str(directory / "discovery")}
        async with (
            running(*COMMAND, *serve, namespace=inside, environment=state),
            running(str(binary), *options, namespace=inside),
            agent(directory, "--metrics", AGENT_AT, namespace=inside) as served,
        ):
            yield Prometheus(inside), served


@pytest.mark.process
async def test_prometheus_scrapes_the_agent_and_the_discovery_service_and_loads_the_rules(tmp_path: Path) -> None:
    async with monitored(tmp_path) as (prometheus, served):

        def scraped() -> bool:
            targets = prometheus.ask("targets")["activeTargets"]
            assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")] * 2
            # The rules were evaluated, each without an error.
            rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
            assert [(rule["name"], rule["health"], rule.get("lastError", "")) for rule in rules] == [
                (alert.name, "ok", "") for alert in (*AGENT, *DISCOVERY)
            ]
            return True

        await eventually(scraped)

        # After a scrape that took too long there are no values until the next one.
        def counted() -> bool:
            count = len(served.specs("links"))
            assert prometheus.value('nodespan_resources{type="LinkStatuses.net.talos.dev"}') == count
            assert prometheus.value("discovery_state_clusters") == 0
            assert prometheus.value("count(nodespan_loop_lag_seconds_bucket)") == 11
            return True

        await eventually(counted)
        # It was given OpenMetrics, in which an info has its own type.
        metadata = prometheus.ask("metadata", metric="nodespan_build")["nodespan_build"]
        assert [entry["type"] for entry in metadata] == ["info"]
        for panels in ROWS.values():
            for panel in panels:
                for query, _ in panel.queries:
                    prometheus.ask("query", query=re.sub(r"\$(job|node|discovery)\b", ".*", _with_rate(query)))
        served.process.kill()
        await served.process.wait()

        def noticed() -> bool:
            alerts = prometheus.ask("alerts")["alerts"]
            return ("NodespanAgentDown", "pending") in [(each["labels"]["alertname"], each["state"]) for each in alerts]

        await eventually(noticed)


def _with_rate(query: str) -> str:
    return query.replace("$__rate_interval", "5m")
