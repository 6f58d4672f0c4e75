"""The process of an agent: logs, the garbage collector, an idle loop, and messages to systemd."""
