"""What the commands of services have in common: the addresses that they listen at, and how many files they may open."""

from nodespan.runtime.cli.errors import CommandError


def parse_address(option: str, text: str, default_host: str = "") -> tuple[str, int]:
    """`host:port`, `[v6]:port` or `:port`. Raises CommandError that names the option."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in bare and bare == host):
        raise CommandError(f"{option} {text!r}: write it like 192.0.2.1:3000, [2001:db8::1]:3000 or :3000")
    return bare or default_host, int(port)


def allow_many_connections() -> None:
    """Raise the limit of open files to the maximum: every client is one."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
