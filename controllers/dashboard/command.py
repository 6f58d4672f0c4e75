"""`nodespan dashboard`: shows an agent in a browser, or on the terminal.

Found by the command line through the entry-point group `nodespan.commands`; imports what it needs when it is used.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import add_client_options, socket_of

if TYPE_CHECKING:
    from nodespan.controllers.dashboard.listening import Dashboard


class DashboardCommand:
    """The verb `dashboard`."""

    description = "show the node and its mesh in a browser, or on the terminal"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's options."""
        parser.add_argument("--tui", action="store_true", help="on the terminal; needs nodespan[tui]")
        parser.add_argument(
            "--listen", metavar="ADDRESS:PORT", default="127.0.0.1:0", help="where to serve (%(default)s: any port)"
        )
        parser.add_argument("--no-browser", action="store_true", help="print the URL, and open nothing")
        parser.add_argument("--reader", action="store_true", help="show nothing sensitive, to pass the URL on")
        parser.add_argument("--host", metavar="NAME", action="append", default=[], help="another name it is called by")
        tls = parser.add_argument_group("mutual TLS, for addresses that other machines reach")
        tls.add_argument("--tls-cert", metavar="FILE", help="the server's certificate, PEM")
        tls.add_argument("--tls-key", metavar="FILE", help="its key, PEM")
        tls.add_argument("--client-ca", metavar="FILE", help="the authority of the clients' certificates, PEM")
        add_client_options(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Serve, or show, until interrupted; returns the exit status. Raises CommandError."""
        # An agent that does not answer is told at once, and not in the browser.
        from nodespan.runtime.cli.client import ask

        socket = socket_of(options)
        ask(socket, {"call": "version"})
        if options.tui:
            return _show(socket)
        return _serve(_dashboard(options, socket), has_browser=not options.no_browser)


def _show(socket: str) -> int:
    try:
        from nodespan.controllers.dashboard.terminal import show
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        raise CommandError("--tui needs the library textual: pip install 'nodespan[tui]'") from error
    show(socket)
    return 0


def _dashboard(options: argparse.Namespace, socket: str) -> "Dashboard":
    from nodespan.controllers.dashboard.listening import Dashboard, TlsPaths
    from nodespan.runtime.api.browser.door import Rights, new_token

    host, colon, port = options.listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise CommandError(f"--listen {options.listen!r}: write it like 127.0.0.1:9080")
    files = (options.tls_cert, options.tls_key, options.client_ca)
    if any(files) and not all(files):
        raise CommandError("--tls-cert, --tls-key and --client-ca go together")
    cert, key, ca = (Path(file or "") for file in files)
    return Dashboard(
        socket=Path(socket),
        host=host.strip("[]"),
        port=int(port),
        hosts=tuple(options.host),
        token=new_token(),
        rights=Rights.READER if options.reader else Rights.ALL,
        tls=TlsPaths(cert=cert, key=key, ca=ca) if all(files) else None,
    )


def _serve(dashboard: "Dashboard", *, has_browser: bool) -> int:
    import trio

    from nodespan.runtime.api.browser.serving import ListenError
    from nodespan.runtime.errors import leaves
    from nodespan.runtime.process.logs import plain_logger

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            port = await nursery.start(dashboard.serve, plain_logger())
            url = dashboard.url(port)
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            forward = f"ssh -t -L {port}:{dashboard.host}:{port} HOST"
            sys.stderr.write(f"Stop with Ctrl-C. From another machine: {forward}\n")
            with contextlib.ExitStack() as kept:
                if has_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                    await trio.to_thread.run_sync(open_browser, url, kept)
                await trio.sleep_forever()

    try:
        with contextlib.suppress(KeyboardInterrupt):
            trio.run(main)
    except BaseExceptionGroup as group:
        expected, unexpected = group.split((ListenError, OSError, KeyboardInterrupt))
        if unexpected is not None or expected is None:
            raise
        found = [error for error in leaves(expected) if not isinstance(error, KeyboardInterrupt)]
        if found:
            where = f"{dashboard.host}:{dashboard.port}"
            texts = [f"{where}: {error.strerror}" if isinstance(error, OSError) else str(error) for error in found]
            raise CommandError("; ".join(texts)) from group
    return 0


_ENTRANCE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>nodespan</title><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url=%(url)s"></head><body><a href="%(url)s">The dashboard</a></body></html>
"""


def open_browser(url: str, kept: contextlib.ExitStack) -> None:
    """Open the browser by a file that leads to the URL, for as long as `kept` is open. Blocks.

    All users of a machine can read the arguments of a browser, and the URL lets in who has it.
    """
    import html
    import tempfile
    import webbrowser

    try:
        # Of mode 0600.
        file = tempfile.NamedTemporaryFile("w", prefix="nodespan-dashboard-", suffix=".html")  # noqa: SIM115  # `kept` does
        kept.enter_context(file)
        file.write(_ENTRANCE % {"url": html.escape(url)})
        file.flush()
    except OSError as error:
        sys.stderr.write(f"The browser is not opened: {error}\n")
        return
    webbrowser.open(Path(file.name).as_uri())


command = DashboardCommand()
