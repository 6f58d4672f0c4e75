"""Removes a cluster, complete or half created, for its creator or a later command."""

import errno
import shutil

from nodespan.cluster.etcd import PROGRAM as ETCD
from nodespan.cluster.plan import NODES, Plan
from nodespan.cluster.station_processes import NAMESPACES, end_processes, run

_LOCK_SUFFIX = ".lock"


def remove(plan: Plan) -> bool:
    """Remove processes, namespaces, sockets, files; returns whether any existed. Blocks for seconds.

    Raises CommandFailedError, OSError.
    """
    namespaces = namespaces_of(plan)
    was_there = bool(namespaces) or plan.directory.exists()
    # The agents first: they leave the discovery service, and revoke their leases at etcd.
    serving = {plan.discovery.namespace, plan.router.namespace, plan.internet.namespace}
    nodes = tuple(name for name in namespaces if name not in serving)
    end_processes(nodes, but=ETCD)
    # The etcd members would wait for each other; their data is removed anyway.
    end_processes(nodes, at_once=True)
    end_processes(name for name in namespaces if name in serving)
    for name in namespaces:
        run(("ip", "netns", "delete", name))
    for node in plan.nodes if plan.record.exists() else ():
        node.socket.unlink(missing_ok=True)
        node.socket.with_name(node.socket.name + _LOCK_SUFFIX).unlink(missing_ok=True)
    if plan.directory.exists():
        shutil.rmtree(plan.directory)
    for directory in (NODES, plan.clusters, NODES.parent):
        try:
            directory.rmdir()
        except OSError as error:
            # It has those of other clusters, or another command has just removed it.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise
    if plan.clusters.exists():
        # Of a cluster that is being created, and has no sockets yet.
        NODES.mkdir(mode=0o755, parents=True, exist_ok=True)
    return was_there


def namespaces_of(plan: Plan) -> tuple[str, ...]:
    """The existing namespaces of the cluster, even if the rest of it is gone."""
    if not NAMESPACES.is_dir():
        return ()
    return tuple(sorted(path.name for path in NAMESPACES.iterdir() if path.name.startswith(plan.namespace_prefix)))
