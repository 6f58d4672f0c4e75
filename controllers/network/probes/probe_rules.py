"""Which probes the configuration desires, and when a probe counts as failed. Pure.

A success counts at once. A failure counts when as many tries in a row have failed as the threshold says; until then
what was last published stays, and before anything was published there is nothing.
"""

from collections.abc import Iterator

import attrs

from nodespan.resources.config import HTTPProbeConfig, MachineConfigSpec, TCPProbeConfig
from nodespan.resources.config.network import DEFAULT_PROBE_INTERVAL, DEFAULT_PROBE_TIMEOUT, ProbeConfig
from nodespan.resources.network import (
    ConfigLayer,
    HTTPProbeSpec,
    ProbeSpecSpec,
    ProbeStatusSpec,
    TCPProbeSpec,
    http_probe_id,
    probe_id,
    tcp_probe_id,
)
from nodespan.resources.network.probe import redacted_url


def probe_documents(config: MachineConfigSpec) -> Iterator[ProbeConfig]:
    """The documents of probes, in the order of the text."""
    for document in config.documents:
        if isinstance(document, TCPProbeConfig | HTTPProbeConfig):
            yield document


def id_of_document(document: ProbeConfig) -> str:
    """The id of the probe that a document desires: its name does not count."""
    return tcp_probe_id(document.endpoint) if isinstance(document, TCPProbeConfig) else http_probe_id(document.url)


def configured_probes(config: MachineConfigSpec) -> dict[str, ProbeSpecSpec]:
    """The specs by their ids; of two documents about one target the last wins."""
    specs = map(_spec, probe_documents(config))
    return {probe_id(spec): spec for spec in specs}


def _spec(document: ProbeConfig) -> ProbeSpecSpec:
    timeout = document.timeout or DEFAULT_PROBE_TIMEOUT
    tcp: TCPProbeSpec | None = None
    page: HTTPProbeSpec | None = None
    if isinstance(document, TCPProbeConfig):
        tcp = TCPProbeSpec(endpoint=document.endpoint, timeout=timeout)
    else:
        page = HTTPProbeSpec(url=redacted_url(document.url), timeout=timeout)
    return ProbeSpecSpec(
        interval=document.interval or DEFAULT_PROBE_INTERVAL,
        failure_threshold=document.failure_threshold,
        tcp=tcp,
        http=page,
        layer=ConfigLayer.CONFIGURATION,
    )


def urls(config: MachineConfigSpec | None) -> dict[str, str]:
    """The whole URLs by the ids of their probes; they may hold passwords, which specs do not."""
    documents = () if config is None else config.documents_of(HTTPProbeConfig)
    return {http_probe_id(document.url): document.url for document in documents}


@attrs.frozen(kw_only=True)
class Target:
    """What a try needs: the probe, the whole URL, the variables of the environment, and the authorities to trust.

    `trust` is the file of the authorities, "" for those of the system, `digest` changes with what is in it.
    """

    spec: ProbeSpecSpec
    url: str = attrs.field(default="", repr=False)
    variables: tuple[str, ...] = attrs.field(default=(), repr=False)
    trust: str = ""
    digest: str = ""


@attrs.frozen
class Tally:
    """The failures in a row so far."""

    failures: int = 0

    def after(self, error: str, threshold: int) -> "tuple[Tally, ProbeStatusSpec | None]":
        """After one more try, which failed unless the error is empty; and the status if it is to be published."""
        if not error:
            return Tally(), ProbeStatusSpec(success=True)
        now = Tally(self.failures + 1)
        return now, ProbeStatusSpec(success=False, last_error=error) if now.failures >= threshold else None
