"""What `nodespan support` collects of a node: the configuration, masked, and the kernel's view of the network."""

import os
from collections.abc import Iterator
from pathlib import Path

from nodespan.controllers.config.loading import read_and_load
from nodespan.controllers.config.masked_text import mask_values, secret_texts
from nodespan.controllers.config.masking import mask_line
from nodespan.controllers.config.reading import LARGEST
from nodespan.controllers.config.sources import expand
from nodespan.controllers.overview.checks.services import configuration_files
from nodespan.runtime.named_file import read_named
from nodespan.runtime.overview.check import Surroundings
from nodespan.runtime.overview.secrets import Scrubber
from nodespan.runtime.overview.support import SupportFile, SupportPart

# What the kernel says: the network, without keys (`wg` would show them, and is not run).
_DUMPS = {
    "links": ("ip", "-details", "-statistics", "link"),
    "addresses": ("ip", "address"),
    "routes": ("ip", "route", "show", "table", "all"),
    "routes6": ("ip", "-6", "route", "show", "table", "all"),
    "rules": ("ip", "rule"),
    "rules6": ("ip", "-6", "rule"),
    "neighbours": ("ip", "neighbour"),
    "nftables": ("nft", "list", "ruleset"),
    "sockets": ("ss", "-tulpn"),
}
_FILES = ("proc/version", "proc/cmdline", "proc/modules", "proc/net/dev", "etc/resolv.conf")
_SYSCTLS = "proc/sys/net"
_SETTINGS = ("ip_forward", "forwarding", "rp_filter", "disable_ipv6", "accept_ra")
_MOST_LINES = 20_000
_LONGEST_LINE = 4000


def _configuration(surroundings: Surroundings, scrubber: Scrubber) -> Iterator[SupportFile]:
    """The files of the configuration with stars for secrets, and what is wrong with them."""
    files = configuration_files(surroundings)
    for number, path in enumerate(each for file in files for each in expand(file)):
        try:
            text = read_named(path, LARGEST).decode(errors="backslashreplace")
        except OSError as error:
            yield SupportFile(f"configuration/{number}-{path.name}", f"this file cannot be read: {error.strerror}\n")
            continue
        scrubber.add(text)
        for secret in secret_texts(text):
            scrubber.add(secret)
        is_understood = not read_and_load(path).errors
        yield SupportFile(f"configuration/{number}-{path.name}", masked_text(text, is_understood=is_understood))
    if files:
        loaded = read_and_load(*files)
        yield SupportFile("configuration/problems.txt", "".join(f"{problem}\n" for problem in loaded.problems))


def masked_text(text: str, *, is_understood: bool) -> str:
    """A configuration with stars for its secrets."""
    values_masked, is_parsed = mask_values(text)
    lines = [_cut(line) for line in values_masked[:_MOST_LINES]]
    masked = (mask_line(lines, index, understood=is_understood and is_parsed) for index in range(len(lines)))
    return "".join(f"{line}\n" for line in masked)


def _cut(line: str) -> str:
    """The beginning of a long line, up to a blank: what is left of a secret that was cut is not recognised."""
    if len(line) <= _LONGEST_LINE:
        return line
    *words, _ = line[:_LONGEST_LINE].rsplit(maxsplit=1) or [""]
    return "".join(words)


def _kernel(surroundings: Surroundings, _scrubber: Scrubber) -> Iterator[SupportFile]:
    """What the kernel says of the network of this namespace."""
    for name, command in _DUMPS.items():
        output = surroundings.run_program(command)
        failure = f"{' '.join(command)}: not installed, not permitted, or it failed\n"
        yield SupportFile(f"kernel/{name}.txt", failure if output is None else output)
    for file in _FILES:
        yield SupportFile(f"system/{file.replace('/', '-')}.txt", f"{surroundings.read(file)}\n")
    yield SupportFile("system/sysctls.txt", "".join(f"{line}\n" for line in _sysctls(surroundings.root / _SYSCTLS)))


def _sysctls(directory: Path) -> Iterator[str]:
    for parent, _, names in sorted(os.walk(directory)):
        for name in sorted(set(names) & set(_SETTINGS)):
            path = Path(parent, name)
            try:
                value = path.read_text(errors="backslashreplace").strip()
            except OSError as error:
                value = f"({error.strerror})"
            yield f"net.{'.'.join(path.relative_to(directory).parts)} = {value}"


def _state(surroundings: Surroundings, _scrubber: Scrubber) -> Iterator[SupportFile]:
    """Which files the agent keeps, not what is in them."""
    lines = []
    for parent, folders, names in sorted(os.walk(surroundings.state_dir)):
        for name in sorted([*folders, *names]):
            path = Path(parent, name)
            try:
                status = path.lstat()
            except OSError as error:
                lines.append(f"{path}: {error.strerror}")
            else:
                lines.append(f"{status.st_mode:06o} {status.st_uid} {status.st_size:>9} {path}")
    yield SupportFile("state-directory.txt", "".join(f"{line}\n" for line in lines))


# What the entry point stands for.
PARTS = (
    SupportPart(name="configuration", collect=_configuration),
    SupportPart(name="kernel", collect=_kernel),
    SupportPart(name="state", collect=_state),
)
