"""`nodespan discovery serve`: runs the discovery service.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.discovery.listening import allow_many_connections, parse_address
from nodespan.discovery.relay_arguments import add_relay_arguments, relay_options
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.paths import default_state_dir

_MOST_PROCESSES = 64

if TYPE_CHECKING:
    from nodespan.discovery.service.server import DiscoveryOptions


class DiscoveryCommand:
    """The verb `discovery`."""

    description = "run a discovery service, through which nodes find each other"
    is_lasting = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        parser.add_argument("action", choices=("serve",), help="serve until interrupted")
        parser.add_argument("--listen", metavar="ADDR:PORT", default=":3000", help="(%(default)s: any address)")
        parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM; reloaded when it changes")
        parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
        parser.add_argument("--insecure", action="store_true", help="plain text instead of TLS")
        parser.add_argument(
            "--state",
            metavar="URL",
            default="memory:",
            help="where the records are: memory:, sqlite:PATH, or etcd:URL,URL... for several instances (%(default)s)",
        )
        parser.add_argument(
            "--state-setting",
            metavar="NAME=VALUE",
            action="append",
            default=[],
            help="a setting of the state, like ca=FILE, cert=FILE, key=FILE, prefix=/KEYS for etcd; may be repeated",
        )
        snapshot = os.path.join(default_state_dir(), "discovery", "state.binpb")
        parser.add_argument(
            "--snapshot",
            metavar="FILE",
            default=snapshot,
            help="file that keeps the records over a restart, or from which another --state takes them over; "
            '"" for none (%(default)s)',
        )
        parser.add_argument("--snapshot-interval", metavar="SECONDS", type=float, default=600.0, help="(%(default)s)")
        parser.add_argument("--gc-interval", metavar="SECONDS", type=float, default=60.0, help="(%(default)s)")
        parser.add_argument("--metrics", metavar="ADDR:PORT", help="serve Prometheus metrics over HTTP")
        parser.add_argument("--pages", metavar="ADDR:PORT", help="also serve the status pages over plain HTTP")
        parser.add_argument("--redirect", metavar="HOST:PORT", default="", help="redirect clients to another service")
        parser.add_argument("--trust-x-real-ip", action="store_true", help="trust this header field of a proxy")
        parser.add_argument("--trust-first-x-forwarded-for", action="store_true", help="trust this header field")
        parser.add_argument("--hide-client-address", action="store_true", help="do not report their address to clients")
        parser.add_argument(
            "--rate-limit",
            metavar="N",
            type=float,
            default=15.0,
            help="requests per second from one address, with bursts of four times as many; 0: unlimited (%(default)s)",
        )
        parser.add_argument(
            "--processes",
            metavar="N",
            type=int,
            default=1,
            help="spread the clusters over so many processes, for more than one core (%(default)s)",
        )
        parser.add_argument(
            "--embedded", action="store_true", help="run inside an agent, whose state then holds the affiliates"
        )
        parser.add_argument(
            "--config",
            metavar="FILE",
            action="append",
            default=[],
            help="with --embedded: the agent's machine configuration; may be repeated",
        )
        parser.add_argument(
            "--state-dir",
            metavar="DIR",
            default=default_state_dir(),
            help="where relative paths of --state begin, and with --embedded the agent's (%(default)s)",
        )
        parser.add_argument("--socket", metavar="PATH", help="with --embedded: where the agent listens")
        parser.add_argument("--relay", action="store_true", help="also relay: give nodes an address that others reach")
        add_relay_arguments(parser)
        parser.add_argument("--log-format", choices=("auto", "text", "json"), default="auto")
        parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    def run(self, options: argparse.Namespace) -> int:
        """Serve until SIGINT or SIGTERM. Raises CommandError."""
        import structlog
        import trio

        from nodespan.discovery.service.client_address import Trust
        from nodespan.discovery.service.processes.parts import arranged
        from nodespan.discovery.service.running import reason_of, serve_until_interrupted
        from nodespan.discovery.service.server import MEMORY, DiscoveryOptions, serve_discovery
        from nodespan.runtime.errors import StateOpenError
        from nodespan.runtime.process import garbage, logs
        from nodespan.runtime.process.service_manager import ServiceManager
        from nodespan.runtime.whole_file import check_target

        if bool(options.tls_cert) != bool(options.tls_key):
            raise CommandError("--tls-cert and --tls-key are both needed")
        if bool(options.tls_cert) == options.insecure:
            raise CommandError("give either --tls-cert and --tls-key, or --insecure for plain text")
        for name in ("snapshot_interval", "gc_interval"):
            if not getattr(options, name) > 0:
                raise CommandError(f"--{name.replace('_', '-')}: must be more than 0 seconds")
        if not options.rate_limit >= 0:
            raise CommandError("--rate-limit: must not be negative")
        if options.snapshot:
            try:
                check_target(Path(options.snapshot))
            except OSError as error:
                raise CommandError(f'--snapshot: {error}; give a file of its own, or "" for none') from error
        if options.embedded and options.state != MEMORY:
            raise CommandError("--embedded: the affiliates are in the agent's state, so give no --state")
        if options.state != MEMORY:
            from nodespan.runtime.state.opening import check_url

            if problem := check_url(options.state):
                raise CommandError(f"--state {options.state!r}: {problem}")
        settings = dict(setting.split("=", 1) for setting in options.state_setting if "=" in setting)
        if len(settings) != len(options.state_setting):
            raise CommandError("--state-setting: write each once, as NAME=VALUE")
        if not 1 <= options.processes <= _MOST_PROCESSES:
            raise CommandError(f"--processes: from 1 to {_MOST_PROCESSES}")
        if options.processes > 1 and options.embedded:
            raise CommandError("--processes: an agent is one process, so give no --embedded")
        if options.processes > 1 and options.state.startswith("sqlite:"):
            raise CommandError("--processes: a SQLite file is for one process; use memory: or etcd:")
        relay = relay_options(options) if options.relay else None
        if relay is not None and options.processes > relay.ports[1] - relay.ports[0] + 1:
            raise CommandError("--relay-ports: each of --processes needs a port at least")
        logs.configure(options.log_format, options.log_level)
        garbage.tune()
        wanted = DiscoveryOptions(
            listen=parse_address("--listen", options.listen),
            certificate=(Path(options.tls_cert), Path(options.tls_key)) if options.tls_cert else None,
            state=options.state,
            state_dir=Path(options.state_dir),
            state_settings=settings,
            snapshot=Path(options.snapshot) if options.snapshot else None,
            snapshot_interval=options.snapshot_interval,
            collect_interval=options.gc_interval,
            metrics=parse_address("--metrics", options.metrics, "127.0.0.1") if options.metrics else None,
            pages=parse_address("--pages", options.pages, "127.0.0.1") if options.pages else None,
            redirect=options.redirect,
            trust=Trust(x_real_ip=options.trust_x_real_ip, first_x_forwarded_for=options.trust_first_x_forwarded_for),
            tells_address=not options.hide_client_address,
            rate=options.rate_limit,
            relay=relay,
        )

        if options.embedded:
            return _run_in_agent(options, wanted)

        manager = ServiceManager.of(os.environ)
        allow_many_connections()
        kept = wanted.snapshot if wanted.state == MEMORY else None
        log = structlog.get_logger()
        try:
            with arranged(kept, options.processes, log) if kept is not None else nullcontext():
                if options.processes > 1:
                    from nodespan.discovery.service.several import serve_in_processes

                    return serve_in_processes(wanted, options.processes, manager)
                trio.run(serve_until_interrupted, partial(serve_discovery, wanted), manager)
        except (OSError, StateOpenError) as error:
            raise CommandError(str(error)) from error
        except BaseExceptionGroup as group:
            raise CommandError(reason_of(group)) from group
        return 0


def _run_in_agent(options: argparse.Namespace, wanted: "DiscoveryOptions") -> int:
    """Run an agent with the service beside its controllers."""
    from nodespan.discovery.service.affiliate import Affiliate
    from nodespan.discovery.service.server import serve_discovery
    from nodespan.runtime.agent import Agent, AgentOptions
    from nodespan.runtime.cli.agent import run_agent
    from nodespan.runtime.cli.version import own_version
    from nodespan.runtime.paths import agent_socket
    from nodespan.runtime.state import State
    from nodespan.runtime.state.meta import register_types

    async def serve(state: State) -> None:
        await register_types(state, [Affiliate])
        await serve_discovery(wanted, state=state)

    agent = AgentOptions(
        socket=Path(options.socket or agent_socket()),
        state_dir=Path(options.state_dir),
        config=tuple(map(Path, options.config)),
    )
    allow_many_connections()
    return run_agent(Agent(agent, version=own_version(), beside=[serve]))


command = DiscoveryCommand()
