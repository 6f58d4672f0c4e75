"""What a rule says about a configuration: a place in it, named by keys and positions, and what is wrong there."""

import enum
from collections.abc import Iterable, Iterator

import attrs

from nodespan.controllers.config.masking import key_text

# ("machine", "network", "interfaces", 0, "mtu"), as the keys are written.
Path = tuple[str | int, ...]


class Severity(enum.StrEnum):
    """An error makes the whole configuration unusable, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen
class Span:
    """A place in a text: line and column count from 0, width is the number of characters on that line.

    `source` is the position of the text among those that are read together.
    """

    line: int
    column: int
    width: int = 1
    source: int = 0


@attrs.frozen(kw_only=True)
class Finding:
    """`path` need not exist: what is missing is found at the nearest thing that is there.

    `on_key` says that the key is the mistake, not its value; `choice` that a value is none of those to choose from.
    `hides_value` says that what is written there may be a secret. `place` is where to look if the path does not tell,
    as for the second of two equal keys. `beside` is a key next to it that the rule reads too.
    """

    path: Path
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    on_key: bool = False
    choice: bool = False
    hides_value: bool = False
    place: Span | None = None
    beside: str = ""


def at(*path: str | int, message: str, hint: str = "", beside: str = "") -> Finding:
    """An error at a path."""
    return Finding(path=path, message=message, hint=hint, beside=beside)


def warn(*path: str | int, message: str, hint: str = "") -> Finding:
    """A warning at a path."""
    return Finding(path=path, message=message, hint=hint, severity=Severity.WARNING)


def under(prefix: Path, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings about a part, as findings about the whole in which the part stands at `prefix`."""
    for finding in findings:
        yield attrs.evolve(finding, path=(*prefix, *finding.path))


def path_text(path: Path) -> str:
    """`machine.network.interfaces[0].mtu`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{key_text(part)}" if text else key_text(part)
    return text
