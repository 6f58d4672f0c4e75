"""One discovery service in several processes: `nodespan discovery serve --processes N`.

Theory of operation. Each cluster has one process, by its id; that process has its affiliates, tells its watchers and
keeps its part of the snapshot. All processes accept connections, from the same listening sockets:

    the first call of a connection is        then the process that accepted it
    of a cluster of its own                  serves it
    of another process's cluster             hands the connection over: the socket itself and what was read from it.
                                             Over TLS, whose state cannot be handed over, it goes on to encrypt for it:
                                             the other process gets one end of a pair of sockets
    of a client of the relay                 the same, by the client's key
    not there after two seconds, or no call  serves it

A call on a connection that turns out to be of another process's cluster (a proxy that mixes the calls of many nodes) is
forwarded to that process. A page or a scrape that concerns all is put together by the process that is asked.

With a state that several instances share (etcd) every process has all clusters, and only clients of the relay are
handed over. The relay's ports are divided among the processes; what one client sends to another goes to the process of
that one (`passing`).

The first process only starts the others, starts them again when they die, and stops them. When one dies its clients
lose their connections and connect again.
"""
