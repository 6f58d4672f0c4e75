"""What the processes of a service do: each serves its part, on sockets that the first one has opened."""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from nodespan.discovery.service.processes.parts import part_of
from nodespan.discovery.service.processes.supervisor import Life, Supervisor
from nodespan.discovery.service.processes.team import Team
from nodespan.discovery.service.running import reason_of, serve_until_interrupted
from nodespan.discovery.service.server import MEMORY, DiscoveryOptions, Listeners, open_listeners, serve_discovery
from nodespan.runtime.process.service_manager import ServiceManager

# The name of a socket has at most 107 bytes.
_LONGEST_FOLDER = 60


def serve_in_processes(options: DiscoveryOptions, count: int, manager: ServiceManager) -> int:
    """Serve in so many processes until told to stop; returns the exit status. Raises OSError for unusable addresses."""
    listeners = trio.run(open_listeners, options)
    temporary = tempfile.gettempdir()
    is_short = len(os.fsencode(temporary)) <= _LONGEST_FOLDER
    folder = Path(tempfile.mkdtemp(prefix="nodespan-discovery-", dir=temporary if is_short else "/tmp"))  # noqa: S108  # mkdtemp makes it
    shares = options.state != MEMORY
    try:

        def work(life: Life) -> int:
            return _work(options, listeners, Team(life.place, count, folder, shares), life)

        return Supervisor(count, work, structlog.get_logger(), manager).run()
    finally:
        shutil.rmtree(folder)


def _work(options: DiscoveryOptions, listeners: Listeners, team: Team, life: Life) -> int:
    """One process."""
    if options.snapshot is not None:
        # A state that lasts takes the snapshot over once.
        part = part_of(options.snapshot, team.place, team.count)
        snapshot = part if not team.shares else options.snapshot if team.place == 0 else None
        options = attrs.evolve(options, snapshot=snapshot)
    if options.relay is not None:
        from nodespan.discovery.relay.parts import Part

        options = attrs.evolve(options, relay=attrs.evolve(options.relay, part=Part(team.place, team.count)))
    log = structlog.get_logger().bind(process=team.place)
    serve = partial(serve_discovery, options, team=team, listeners=listeners, log=log)
    try:
        is_alone = trio.run(partial(serve_until_interrupted, serve, life, orphaned=life.orphaned))
    except BaseExceptionGroup as group:
        log.error("the service cannot serve", error=reason_of(group))  # noqa: TRY400  # the reason is enough
        return 1
    if is_alone:
        shutil.rmtree(team.folder, ignore_errors=True)  # the supervisor has died before it could; the others do so too
    return 0
