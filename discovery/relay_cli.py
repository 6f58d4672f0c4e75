"""`nodespan relay serve`: runs a relay without a discovery service.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import os
from functools import partial
from pathlib import Path

from nodespan.discovery.listening import allow_many_connections, parse_address
from nodespan.discovery.relay_arguments import add_relay_arguments, relay_options
from nodespan.runtime.cli.errors import CommandError


class RelayCommand:
    """The verb `relay`."""

    description = "run a relay, which gives nodes an address that others can reach"
    is_lasting = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        parser.add_argument("action", choices=("serve",), help="serve until interrupted")
        parser.add_argument("--listen", metavar="ADDR:PORT", default=":3443", help="(%(default)s: any address)")
        parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM; reloaded when it changes")
        parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
        parser.add_argument("--insecure", action="store_true", help="plain text instead of TLS")
        add_relay_arguments(parser)
        parser.add_argument("--metrics", metavar="ADDR:PORT", help="serve Prometheus metrics over HTTP")
        parser.add_argument("--pages", metavar="ADDR:PORT", help="also serve the status page over plain HTTP")
        parser.add_argument("--trust-x-real-ip", action="store_true", help="trust this header field of a proxy")
        parser.add_argument("--trust-first-x-forwarded-for", action="store_true", help="trust this header field")
        parser.add_argument(
            "--rate-limit",
            metavar="N",
            type=float,
            default=15.0,
            help="calls per second from one address, with bursts of four times as many; 0: unlimited (%(default)s)",
        )
        parser.add_argument("--log-format", choices=("auto", "text", "json"), default="auto")
        parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    def run(self, options: argparse.Namespace) -> int:
        """Serve until SIGINT or SIGTERM. Raises CommandError."""
        import trio

        from nodespan.discovery.service.client_address import Trust
        from nodespan.discovery.service.relay_alone import RelayServerOptions, serve_relay
        from nodespan.discovery.service.running import reason_of, serve_until_interrupted
        from nodespan.runtime.process import garbage, logs
        from nodespan.runtime.process.service_manager import ServiceManager

        if bool(options.tls_cert) != bool(options.tls_key):
            raise CommandError("--tls-cert and --tls-key are both needed")
        if bool(options.tls_cert) == options.insecure:
            raise CommandError("give either --tls-cert and --tls-key, or --insecure for plain text")
        if not options.rate_limit >= 0:
            raise CommandError("--rate-limit: must not be negative")
        wanted = RelayServerOptions(
            listen=parse_address("--listen", options.listen),
            relay=relay_options(options),
            certificate=(Path(options.tls_cert), Path(options.tls_key)) if options.tls_cert else None,
            metrics=parse_address("--metrics", options.metrics, "127.0.0.1") if options.metrics else None,
            pages=parse_address("--pages", options.pages, "127.0.0.1") if options.pages else None,
            trust=Trust(x_real_ip=options.trust_x_real_ip, first_x_forwarded_for=options.trust_first_x_forwarded_for),
            rate=options.rate_limit,
        )
        logs.configure(options.log_format, options.log_level)
        garbage.tune()
        allow_many_connections()
        try:
            trio.run(serve_until_interrupted, partial(serve_relay, wanted), ServiceManager.of(os.environ))
        except OSError as error:
            raise CommandError(str(error)) from error
        except BaseExceptionGroup as group:
            raise CommandError(reason_of(group)) from group
        return 0


command = RelayCommand()
